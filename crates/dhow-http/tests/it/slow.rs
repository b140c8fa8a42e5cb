//! Clients that take their time.

use tokio::io::AsyncWriteExt as _;

use crate::rig::{self, LONG, Rig, SHORT, config, to_end};

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let rig = Rig::new(dhow_http::Config { head_timeout: SHORT, ..config() });
    for beginning in ["", "PRI * HTTP/2", "G", "GET / HTTP/1.1\r\nhost: a\r\n"] {
        let answer = rig.raw(beginning).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{beginning}: {answer}");
    }
    assert_eq!(rig.requests(), 0);
}

#[tokio::test]
async fn a_head_in_drops_is_bounded_as_a_whole() {
    let rig = Rig::new(dhow_http::Config { head_timeout: SHORT, ..config() });
    let mut stream = rig.connect().await;
    let dripping = async {
        stream.write_all(b"GET / HTTP/1.1\r\n").await.expect("to be read");
        while stream.write_all(b"a: b\r\n").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    tokio::time::timeout(LONG, dripping).await.expect("the connection to be cut");
}

#[tokio::test]
async fn an_idle_connection_ends_in_either_protocol() {
    let rig = Rig::new(dhow_http::Config { head_timeout: SHORT, ..config() });
    let answer = rig.raw("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut client = rig::h2(&rig, 65_535).await;
    let answer = client.send_request(rig::request("GET", "/", rig::full(""))).await;
    assert_eq!(answer.expect("an answer").status(), 200);
    rig.until(Rig::connections, 0).await;
}

#[tokio::test]
async fn a_body_that_pauses_is_a_request_timeout() {
    let rig = Rig::new(config());
    let answer = rig.raw("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("x-dhow-reason: request-timeout"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut() {
    let rig = Rig::new(dhow_http::Config { write_stall: SHORT, ..config() });
    let mut stream = rig.connect().await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("to be read");
    rig.until(Rig::given_up, 1).await;
}

#[tokio::test]
async fn a_stream_that_is_given_no_window_is_cut() {
    let rig = Rig::new(dhow_http::Config { write_stall: SHORT, ..config() });
    let mut client = rig::h2(&rig, 1024).await;
    let answer = client.send_request(rig::request("GET", "/endless", rig::full(""))).await;
    let answer = answer.expect("a head");
    rig.until(Rig::given_up, 1).await;
    drop(answer);
    // The others on the connection live on.
    let other = client.send_request(rig::request("GET", "/", rig::full(""))).await;
    assert_eq!(other.expect("an answer").status(), 200);
}

#[tokio::test]
async fn connections_over_the_cap_wait() {
    let rig = Rig::new(dhow_http::Config { connections: 1, ..config() });
    let mut first = rig.connect().await;
    first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("to be read");
    rig::up_to(&mut first, "\r\n\r\n").await;
    let mut second = rig.connect().await;
    let asks = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    second.write_all(asks).await.expect("the kernel to take it");
    tokio::time::sleep(SHORT).await;
    assert_eq!(rig.requests(), 1);
    drop(first);
    assert!(to_end(&mut second).await.starts_with("HTTP/1.1 200"));
}
