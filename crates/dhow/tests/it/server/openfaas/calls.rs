//! What callers of OpenFaaS' functions see, and what these wrote.

use std::io::{BufRead as _, BufReader};

use serde_json::{Value, json};

use super::super::rig::wait_for;
use super::{Stack, header};

#[test]
fn answers_have_the_headers_of_a_gateway_and_a_watchdog() {
    let stack = Stack::new(&["hello", "exit"]);
    stack.deployed("hello", json!({}));
    stack.server.deploy_as("native", "hello", &[]);
    let answer = stack.server.get("/function/hello");
    assert_eq!(header(&answer, "x-call-id").len(), 32);
    assert!(header(&answer, "x-start-time").parse::<u64>().unwrap() > 1_700_000_000_000_000_000);
    assert!(header(&answer, "x-duration-seconds").parse::<f64>().unwrap() < 120.0);
    assert_eq!(header(&answer, "x-served-by"), "dhow");
    let native = stack.server.get("/function/native");
    assert_eq!(header(&native, "x-start-time"), "", "others pay nothing for it");
    assert_eq!(stack.server.call("TRACE", "/function/hello", &[], b"").status, 405);

    stack.deployed("exit", json!({}));
    let failed = stack.server.post("/function/exit", b"7");
    assert_eq!((failed.status, failed.reason()), (500, "guest-exit"));
    assert_eq!(header(&failed, "x-openfaas-internal"), "", "that is the function's own");

    let later = stack.server.post("/async-function/hello", b"");
    assert_eq!((later.status, header(&later, "x-call-id").len()), (202, 32));
    let later = stack.server.post("/async-function/hello.openfaas-fn/x", b"");
    assert_eq!(later.status, 202);
    assert_eq!(stack.server.post("/async-function/nobody", b"").status, 404);
}

#[test]
fn a_call_that_takes_too_long_is_408() {
    let stack = Stack::new(&["sleep", "burn"]);
    for guest in ["sleep", "burn"] {
        stack.deployed(guest, json!({"envVars": {"exec_timeout": "300ms"}}));
        let late = stack.server.post(&format!("/function/{guest}"), b"60000");
        assert_eq!((late.status, late.text().as_str()), (408, "Killed process.\n"), "{guest}");
    }
}

#[test]
fn a_function_that_may_have_one_call_refuses_the_next() {
    let stack = Stack::new(&["sleep"]);
    let one = json!({"envVars": {"max_inflight": "1"}, "labels": {"com.openfaas.scale.max": "1"}});
    stack.deployed("sleep", one);
    let busy = "dhow_calls_in_flight{function=\"sleep\",namespace=\"default\"}";
    std::thread::scope(|scope| {
        let first = scope.spawn(|| stack.server.post("/function/sleep", b"10000"));
        wait_for(|| (stack.server.metric(busy) == Some(1.0)).then_some(()));
        let second = stack.server.post("/function/sleep", b"1");
        assert_eq!((second.status, second.reason()), (429, "concurrency"));
        assert_eq!(header(&second, "x-openfaas-internal"), "dhow");
        assert_eq!(first.join().expect("an answer").status, 200);
    });
}

#[test]
fn logs_are_lines_of_json_and_are_followed() {
    let stack = Stack::new(&["http-kit"]);
    stack.deployed("http-kit", json!({}));
    stack.server.get("/function/http-kit/log");
    let read =
        |query: &str| stack.system("GET", &format!("logs?name=http-kit{query}"), &Value::Null);
    let lines = wait_for(|| {
        let lines = read("&tail=-1").text();
        (lines.lines().count() >= 2).then_some(lines)
    });
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!([&line["name"], &line["namespace"]], ["http-kit", "openfaas-fn"]);
    assert_eq!(line["instance"], "http-kit-1");
    assert!(line["text"].is_string() && line["timestamp"].is_string(), "{line}");
    assert_eq!(header(&read(""), "content-type"), "application/x-ndjson");
    assert_eq!(read("&tail=1").text().lines().count(), 1);
    assert_eq!(read("&since=2100-01-02T03:04:05%2B01:00").text(), "");
    assert_eq!([read("&since=soon").status, read("&tail=x").status], [422, 422]);
    assert_eq!(stack.system("GET", "logs", &Value::Null).status, 422);
    assert_eq!(stack.system("GET", "logs?name=nobody", &Value::Null).status, 404);

    let url = format!("{}/system/logs?name=http-kit&tail=0&follow=true", stack.server.gateway);
    let agent = ureq::Agent::new_with_defaults();
    let answer = agent.get(&url).call().unwrap();
    stack.server.get("/function/http-kit/log");
    let line = BufReader::new(answer.into_body().into_reader()).lines().next().unwrap().unwrap();
    assert!(line.contains("\"http-kit-1\""), "{line}");
}
