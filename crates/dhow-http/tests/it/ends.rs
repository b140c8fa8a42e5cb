//! The polite end of a front.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::rig::{self, LONG, Rig, SHORT, config, to_end};

#[tokio::test]
async fn calls_in_flight_finish_and_idle_connections_end() {
    let rig = Rig::new(config());
    let mut idle = rig.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("to be read");
    rig::up_to(&mut idle, "\r\n\r\n").await;
    let mut busy = rig.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("to be read");
    let mut client = rig::h2(&rig, 65_535).await;
    let stream = tokio::spawn(client.send_request(rig::request("GET", "/wait", rig::full(""))));
    rig.until(Rig::requests, 3).await;

    let Rig { server, address, heard } = rig;
    let stopping = tokio::spawn(server.stop());
    assert_eq!(to_end(&mut idle).await, "");
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!stopping.is_finished());
    heard.go.notify_waiters();
    let answer = to_end(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    assert_eq!(stream.await.expect("a task").expect("an answer").status(), 200);
    tokio::time::timeout(LONG, stopping).await.expect("an end").expect("an end");
}

#[tokio::test]
async fn serving_goes_on_while_readiness_is_noticed() {
    let rig = Rig::new(dhow_http::Config { drain_delay: SHORT, ..config() });
    let Rig { server, address, .. } = rig;
    let stopping = tokio::spawn(server.stop());
    let mut late = TcpStream::connect(address).await.expect("a connection");
    let asks = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    late.write_all(asks).await.expect("to be read");
    assert!(to_end(&mut late).await.starts_with("HTTP/1.1 200"));
    tokio::time::timeout(LONG, stopping).await.expect("an end").expect("an end");
}

#[tokio::test]
async fn what_takes_too_long_at_the_end_is_cut() {
    let rig = Rig::new(dhow_http::Config { drain_timeout: SHORT, ..config() });
    let mut busy = rig.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("to be read");
    rig.until(Rig::requests, 1).await;
    tokio::time::timeout(LONG, rig.server.stop()).await.expect("an end");
    assert_eq!(to_end(&mut busy).await, "");
}
