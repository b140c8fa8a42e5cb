use std::time::Duration;

use dhow_core::abi::Abi;
use dhow_core::call::CallId;
use dhow_core::name::FunctionName;
use dhow_core::outcome::{Failure, Outcome, Phases, Reason};
use dhow_core::ports::{Catalog, Observe, Record, Stream};
use serde_json::{Value, json};

use super::rig::{Lines, Rig, manifest, path};

/// A function `hello`, and what hears its calls.
async fn deploy(rig: &Rig) -> std::sync::Arc<dyn Record> {
    let said = manifest("hello", &rig.module(&[Abi::Http], &[]));
    let (status, function) = rig.put("hello", &said).await;
    assert!(status.is_success(), "{function}");
    rig.observer.record(&rig.catalog.snapshot().functions[0].revision)
}

fn outcome(call: u128, failure: Option<Failure>) -> Outcome {
    Outcome {
        call: CallId(call),
        revision: 1,
        status: 200,
        failure,
        phases: Phases {
            queue: Duration::from_micros(1),
            load: Duration::from_micros(2),
            instantiate: Duration::from_micros(3),
            run: Duration::from_micros(4),
        },
        wall: Duration::from_micros(10),
        cpu: Duration::from_micros(5),
        shared: false,
        peak_memory: 65536,
        cold: true,
        trace: None,
    }
}

#[tokio::test]
async fn outcomes_are_told_newest_first() {
    let rig = Rig::new().await;
    let record = deploy(&rig).await;
    record.started();
    record.ended(outcome(1, Some(Failure::new(Reason::Trap, "it trapped"))));
    record.started();
    record.ended(outcome(2, None));
    record.started();
    let (_, function) = rig.json("GET", &path("hello"), "").await;
    for (field, count) in [("in_flight", 1), ("calls", 2), ("failures", 1)] {
        assert_eq!(function[field], count, "{field}");
    }
    let outcomes = |query: &str| {
        let path = format!("{}/outcomes{query}", path("hello"));
        let rig = &rig;
        async move { rig.json("GET", &path, "").await.1["items"].as_array().unwrap().clone() }
    };
    let all = outcomes("").await;
    assert_eq!(all.len(), 2);
    assert_eq!(all[0]["call_id"], CallId(2).to_string());
    assert_eq!((&all[0]["reason"], &all[0]["error"]), (&Value::Null, &Value::Null));
    let failed = outcomes(&format!("?call={}", CallId(1))).await;
    let mut expected = json!({
        "call_id": CallId(1).to_string(), "status": 200, "reason": "trap", "error": "it trapped",
        "revision": 1, "cold": true, "shared": false, "queue_us": 1, "load_us": 2,
        "instantiate_us": 3, "run_us": 4, "wall_us": 10, "cpu_us": 5, "peak_memory": 65536,
    });
    expected["ended"] = failed[0]["ended"].clone();
    assert_eq!(failed, [expected]);
    assert_eq!(outcomes("?limit=1").await, [all[0].clone()]);
    for wrong in ["?call=1", "?limit=-1", "?last=1"] {
        let (status, problem) =
            rig.json("GET", &format!("{}/outcomes{wrong}", path("hello")), "").await;
        assert_eq!((status.as_u16(), &problem["reason"]), (400, &json!("invalid")), "{wrong}");
    }
}

#[tokio::test]
async fn the_lines_that_are_kept_can_be_asked_for() {
    let rig = Rig::new().await;
    let record = deploy(&rig).await;
    record.line(CallId(1), Stream::Stdout, b"one");
    record.line(CallId(2), Stream::Stderr, b"two");
    record.line(CallId(1), Stream::Stdout, b"three");
    let (only, future) = (format!("?call={}", CallId(1)), "?since=3600&tail=9");
    for (query, expected) in [
        ("", "one two three"),
        ("?follow=false&tail=2", "two three"),
        (only.as_str(), "one three"),
        (future, "one two three"),
    ] {
        let path = format!("{}/logs{query}", path("hello"));
        let lines = Lines::of(rig.send(rig.request("GET", &path), "").await).all().await;
        let texts: Vec<_> = lines.iter().map(|line| line["line"].as_str().unwrap()).collect();
        assert_eq!(texts.join(" "), expected, "{query}");
    }
    let answer = rig.send(rig.request("GET", &format!("{}/logs?tail=2", path("hello"))), "").await;
    let mut line = Lines::of(answer).next().await.unwrap();
    assert!(line["time"].take().as_str().unwrap().ends_with('Z'));
    let call = CallId(2).to_string();
    let expected =
        json!({"time": null, "call_id": call, "revision": 1, "stream": "stderr", "line": "two"});
    assert_eq!(line, expected);
}

#[tokio::test]
async fn a_log_is_followed_until_the_server_ends() {
    let mut rig = Rig::new().await;
    let record = deploy(&rig).await;
    record.line(CallId(1), Stream::Stdout, b"before");
    let path = format!("{}/logs?follow=true&call={}", path("hello"), CallId(1));
    let mut lines = Lines::of(rig.send(rig.request("GET", &path), "").await);
    assert_eq!(lines.next().await.unwrap()["line"], "before");
    record.line(CallId(2), Stream::Stdout, b"another call's");
    record.line(CallId(1), Stream::Stdout, b"after");
    assert_eq!(lines.next().await.unwrap()["line"], "after");
    rig.stop.take().unwrap().send(()).unwrap();
    assert_eq!(lines.next().await, None);
    rig.server.await.unwrap();
}

#[tokio::test]
async fn what_is_deleted_is_gone_with_all_that_it_left() {
    let rig = Rig::new().await;
    let record = deploy(&rig).await;
    record.started();
    record.ended(outcome(1, None));
    record.line(CallId(1), Stream::Stdout, b"one");
    let (status, nothing) = rig.json("DELETE", &path("hello"), "").await;
    assert_eq!((status.as_u16(), nothing), (204, Value::Null));
    assert_eq!(rig.json("GET", &path("hello"), "").await.0, 404);
    assert!(rig.observer.function(&FunctionName::parse("hello").unwrap()).is_none());
    deploy(&rig).await;
    let answer = rig.send(rig.request("GET", &format!("{}/logs", path("hello"))), "").await;
    assert_eq!(Lines::of(answer).all().await, [] as [Value; 0]);
    let (_, outcomes) = rig.json("GET", &format!("{}/outcomes", path("hello")), "").await;
    assert_eq!(outcomes, json!({"items": []}));
}
