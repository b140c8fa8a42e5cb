//! Bodies and heads that are large, and those that nobody reads.

use dhow_core::outcome::Reason;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::rig::{CAP, LONG, Rig, config, to_end, up_to};

#[tokio::test]
async fn a_head_over_the_cap_is_431() {
    let rig = Rig::new(config());
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nlong: {}\r\n\r\n", "x".repeat(128 << 10));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "a: b\r\n".repeat(200));
    for head in [long, many] {
        let mut stream = rig.connect().await;
        // It may be cut before all of it is out.
        drop(stream.write_all(head.as_bytes()).await);
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 431");
    }
    assert_eq!(rig.requests(), 0);
}

#[tokio::test]
async fn a_declared_body_over_the_cap_is_413_and_the_answer_arrives() {
    let rig = Rig::new(config());
    for _ in 0..20 {
        let mut stream = rig.connect().await;
        let length = 16 << 20;
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("to be read");
        // The client writes on, as most do, before it looks at the answer.
        let piece = vec![b'x'; 64 << 10];
        for _ in 0..16 {
            if stream.write_all(&piece).await.is_err() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let answer = tokio::time::timeout(LONG, up_to(&mut stream, "}\n")).await;
        let answer = answer.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn who_asks_first_is_told_413_instead_of_go_on() {
    let rig = Rig::new(config());
    let answer = rig
        .raw(&format!(
            "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            CAP + 1
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let mut stream = rig.connect().await;
    let head = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    stream.write_all(head).await.expect("to be read");
    assert!(up_to(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    stream.write_all(b"abc").await.expect("to be read");
    assert!(up_to(&mut stream, "abc").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_undeclared_body_over_the_cap_is_413() {
    let rig = Rig::new(config());
    let mut stream = rig.connect().await;
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head).await.expect("to be read");
    let piece = format!("10000\r\n{}\r\n", "x".repeat(1 << 16));
    for _ in 0..17 {
        if stream.write_all(piece.as_bytes()).await.is_err() {
            break;
        }
    }
    let answer = up_to(&mut stream, "}\n").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_small_body_that_nobody_reads_costs_no_connection() {
    let rig = Rig::new(config());
    let mut stream = rig.connect().await;
    for _ in 0..3 {
        let ask = b"POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc";
        stream.write_all(ask).await.expect("to be read");
        let answer = up_to(&mut stream, "}\n").await;
        assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
        assert!(answer.contains("retry-after: 1"), "{answer}");
    }
}

#[tokio::test]
async fn a_small_body_that_comes_after_its_answer_costs_no_connection() {
    let rig = Rig::new(config());
    let mut stream = rig.connect().await;
    for (head, body) in [
        ("content-length: 3", "abc"),
        ("transfer-encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"),
        ("content-length: 3", "abc"),
    ] {
        let ask = format!("POST /ignore HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.expect("to be read");
        let answer = up_to(&mut stream, "ignored\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        stream.write_all(body.as_bytes()).await.expect("to be read");
    }
    // One that is large does.
    let ask = b"POST /ignore HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
    stream.write_all(ask).await.expect("to be read");
    assert!(to_end(&mut stream).await.ends_with("ignored\n"));
}

#[tokio::test]
async fn a_malformed_body_is_a_bad_request() {
    let rig = Rig::new(config());
    let answer =
        rig.raw("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("x-dhow-reason: bad-request"), "{answer}");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_is_not_a_bad_request() {
    let rig = Rig::new(config());
    let mut stream = rig.connect().await;
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc";
    stream.write_all(head).await.expect("to be read");
    rig.until(Rig::requests, 1).await;
    drop(stream);
    rig.until(|rig| rig.heard.failures.lock().len(), 1).await;
    assert_eq!(*rig.heard.failures.lock(), [Reason::Cancelled]);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let rig = Rig::new(config());
    let mut stream = rig.connect().await;
    let mut text = String::new();
    for body in ["one", "two", "six"] {
        text.push_str(&format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n{body}"));
    }
    text.push_str("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.expect("to be read");
    let answers = to_end(&mut stream).await;
    let places: Vec<_> =
        ["\r\n\r\none", "\r\n\r\ntwo", "\r\n\r\nsix"].map(|body| answers.find(body)).into();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{answers}");
    assert_eq!(answers.matches("x-call-id: ").count(), 4);
}
