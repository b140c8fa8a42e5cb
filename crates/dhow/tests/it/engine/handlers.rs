//! Handlers: `wasi:http` 0.2 and 0.3.

use std::time::Duration;

use bytes::Bytes;
use dhow_core::outcome::{Failure, Reason};
use dhow_core::ports::Invoke as _;
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::mpsc;

use super::rig::{Rig, full, read};

#[tokio::test]
async fn every_version_of_handler_answers() {
    let rig = Rig::new();
    for (guest, says) in [
        ("http-lean", "Hello, world!\n"),
        ("http-std", "Hello, world!\n"),
        ("http-lean-p3", "Hello, world!\n"),
        ("http-kit", "hello"),
        ("http-p3", ""),
        ("old-sdk", "Hello from an old SDK!\n"),
    ] {
        let target = rig.target(guest, |_| ());
        let answer = rig.get(&target, "/").await.unwrap_or_else(|f| panic!("{guest}: {f:?}"));
        assert_eq!(answer.status, 200, "{guest}");
        let (text, says) = (answer.text().to_lowercase(), says.to_lowercase());
        assert!(text.contains(&says), "{guest} says {text:?}");
        let outcome = rig.outcome().await;
        assert!(outcome.failure.is_none(), "{guest}: {outcome:?}");
        assert!(outcome.cpu > Duration::ZERO && outcome.peak_memory > 0, "{outcome:?}");
        assert!(outcome.cold, "{guest}");
    }
}

#[tokio::test]
async fn the_request_arrives_as_it_was_sent() {
    let rig = Rig::new();
    let kit = rig.target("http-kit", |_| ());
    let request = Request::put("/headers?q=1")
        .header("host", "example.com:8080")
        .header("x-thing", "of value")
        .body(full(""))
        .unwrap();
    let text = rig.send(&kit, request).await.unwrap().text();
    for line in
        [":path: /headers?q=1", ":authority: example.com:8080", "x-thing: of value", ":scheme:"]
    {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
    assert!(text.to_lowercase().contains("put"), "{text}");
}

#[tokio::test]
async fn bodies_and_trailers_stream_both_ways() {
    let rig = Rig::new();
    for guest in ["http-kit", "http-p3"] {
        let target = rig.target(guest, |_| ());
        let (sender, mut receiver) = mpsc::channel::<Result<Frame<Bytes>, Failure>>(1);
        let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
        let request = Request::post("/echo")
            .header("host", "test")
            .header("trailer", "x-sum")
            .body(StreamBody::new(frames).boxed_unsync())
            .unwrap();
        sender.send(Ok(Frame::data("one".into()))).await.unwrap();
        let call = rig.call(request);
        let response = rig.engine.invoke(&target, call).await.unwrap();
        let mut body = response.into_body();
        // The first piece is back before the second is sent.
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "one", "{guest}");
        sender.send(Ok(Frame::data("two".into()))).await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "6".parse().unwrap());
        sender.send(Ok(Frame::trailers(trailers))).await.unwrap();
        drop(sender);
        let rest = body.collect().await.unwrap_or_else(|f| panic!("{guest}: {f:?}"));
        assert_eq!(rest.trailers().expect("trailers")["x-sum"], "6", "{guest}");
        assert_eq!(rest.to_bytes(), "two", "{guest}");
    }
}

#[tokio::test]
async fn failures_before_the_head_are_named_and_later_ones_cut() {
    let rig = Rig::new();
    let kit = rig.target("http-kit", |_| ());
    let failure = rig.get(&kit, "/panic").await.unwrap_err();
    assert_eq!(failure.reason, Reason::Trap, "{failure:?}");
    let failure = rig.get(&kit, "/noresponse").await.unwrap_err();
    assert_eq!(failure.reason, Reason::BadResponse, "{failure:?}");
    match rig.get(&kit, "/cut").await {
        Ok(answer) => assert_eq!(answer.cut.expect("the answer ends well").reason, Reason::Trap),
        Err(failure) => assert_eq!(failure.reason, Reason::Trap),
    }
    assert_eq!(rig.outcome().await.failure.unwrap().reason, Reason::Trap);
}

#[tokio::test]
async fn nothing_is_reached_that_was_not_granted() {
    let rig = Rig::new();
    let kit = rig.target("http-kit", |_| ());
    let answer = rig.get(&kit, "/outbound?url=http://127.0.0.1:1/").await.unwrap();
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("HttpRequestDenied"), "{}", answer.text());
}

#[tokio::test]
async fn a_caller_who_leaves_ends_the_call() {
    let rig = Rig::new();
    for guest in ["http-kit", "http-p3"] {
        let target = rig.target(guest, |_| ());
        let request =
            Request::get("/sleep?ms=60000").header("host", "test").body(full("")).unwrap();
        let call = rig.engine.invoke(&target, rig.call(request));
        assert!(tokio::time::timeout(Duration::from_secs(2), call).await.is_err());
        let outcome = rig.outcome().await;
        assert_eq!(outcome.failure.unwrap().reason, Reason::Cancelled, "{guest}");
        assert_eq!(outcome.status, 499);
    }
}

#[tokio::test]
async fn a_caller_who_leaves_in_mid_answer_ends_the_call() {
    let rig = Rig::new();
    let kit = rig.target("http-kit", |_| ());
    let request =
        Request::get("/drip?n=1000&ms=100").header("host", "test").body(full("")).unwrap();
    let response = rig.engine.invoke(&kit, rig.call(request)).await.unwrap();
    let mut body = response.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    drop(body);
    let outcome = rig.outcome().await;
    assert_eq!(outcome.failure.unwrap().reason, Reason::Cancelled);
}

#[tokio::test]
async fn a_guest_may_work_on_after_its_answer() {
    let rig = Rig::new();
    let kit = rig.target("http-kit", |_| ());
    let answer = rig.get(&kit, "/late").await.unwrap();
    assert!(answer.cut.is_none());
    let outcome = rig.outcome().await;
    assert!(outcome.failure.is_none(), "{outcome:?}");
    // It works on for 50 ms by the clock.
    assert!(outcome.phases.run >= Duration::from_millis(40), "{outcome:?}");
}

#[tokio::test]
async fn log_lines_carry_their_call() {
    let rig = Rig::new();
    let kit = rig.target("http-kit", |_| ());
    rig.get(&kit, "/log").await.unwrap();
    let id = rig.outcome().await.call;
    let lines = rig.heard.lines.lock();
    let mine: Vec<_> = lines.iter().filter(|(call, ..)| *call == id).collect();
    assert_eq!(mine.len(), 2, "{lines:?}");
}

#[tokio::test]
async fn an_answer_without_a_body_is_still_answered() {
    let rig = Rig::new();
    let kit = rig.target("http-kit", |_| ());
    let request = Request::head("/big?mib=8").header("host", "test").body(full("")).unwrap();
    let response = rig.engine.invoke(&kit, rig.call(request)).await.unwrap();
    drop(read(response).await);
    assert!(rig.outcome().await.failure.is_none());
}
