//! HTTP itself: versions, caps, slow and absurd clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::rig::Server;

pub(super) fn connect(gateway: &str) -> TcpStream {
    let stream = TcpStream::connect(gateway.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Sends a chunked body of so many bytes and reads until the connection's end.
pub(super) fn chunked(gateway: &str, path: &str, bytes: usize) -> String {
    let mut stream = connect(gateway);
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .unwrap();
    let chunk = vec![b'x'; bytes];
    write!(stream, "{bytes:x}\r\n").unwrap();
    // The server may refuse before it has read everything.
    let _ = stream.write_all(&chunk).and_then(|()| stream.write_all(b"\r\n0\r\n\r\n"));
    read(&mut stream)
}

fn read(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn send(server: &Server, request: &str) -> String {
    let mut stream = connect(&server.gateway);
    let _ = stream.write_all(request.as_bytes());
    read(&mut stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn h2c_is_spoken_with_prior_knowledge() {
    let server = tokio::task::spawn_blocking(|| {
        let server = Server::start();
        server.deploy("http-lean", &[]);
        server
    })
    .await
    .unwrap();
    let client: Client<_, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let uri: http::Uri = format!("{}/function/http-lean", server.gateway).parse().unwrap();
    let calls = (0..50).map(|_| client.get(uri.clone()));
    for answer in futures_util::future::join_all(calls).await {
        let answer = answer.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "Hello, world!\n");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start();
    server.deploy("http-kit", &[]);
    let one = |path: &str, end: &str| {
        format!("GET /function/http-kit{path} HTTP/1.1\r\nhost: h\r\n{end}\r\n")
    };
    let all = [
        one("/status/201", ""),
        one("/status/202", ""),
        one("/status/203", "connection: close\r\n"),
    ];
    let answer = send(&server, &all.concat());
    let statuses: Vec<_> = answer.lines().filter(|line| line.starts_with("HTTP/1.1 ")).collect();
    assert_eq!(statuses.len(), 3, "{answer}");
    for (line, status) in statuses.iter().zip(["201", "202", "203"]) {
        assert!(line.contains(status), "{answer}");
    }
}

#[test]
fn absurd_heads_are_refused() {
    let server = Server::start();
    let huge = format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\nhost: h\r\n{}\r\n", "x: y\r\n".repeat(5000));
    for request in [huge, many] {
        let answer = send(&server, &request);
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer:?}");
    }
    assert!(send(&server, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn slow_heads_are_cut_and_slow_bodies_answered_408() {
    let server = Server::with(&["--head-timeout", "1s", "--body-stall", "1s"]);
    server.deploy("echo", &[]);
    for begun in ["", "G", "PRI * HT", "GET / HTTP/1.1\r\nhost: h\r\n"] {
        let began = Instant::now();
        let answer = send(&server, begun);
        assert!(began.elapsed() < Duration::from_secs(50), "{begun:?} was not cut: {answer}");
    }
    let answer =
        send(&server, "POST /function/echo HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nhalf");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("request-timeout"), "{answer}");
}

#[test]
fn an_answer_that_fails_half_way_cuts_the_connection() {
    let server = Server::start();
    server.deploy("http-kit", &["--timeout", "700ms"]);
    let mut stream = connect(&server.gateway);
    write!(stream, "GET /function/http-kit/drip?n=100&ms=100 HTTP/1.1\r\nhost: h\r\n\r\n").unwrap();
    let answer = read(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("chunk 1"), "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "the body ends as if it were whole: {answer}");
    assert_eq!(server.outcome("http-kit")["reason"], "wall-time");
}

#[test]
fn trailers_and_early_answers_pass_through() {
    let server = Server::start();
    server.deploy("http-kit", &[]);
    let mut stream = connect(&server.gateway);
    write!(
        stream,
        "POST /function/http-kit/echo HTTP/1.1\r\nhost: h\r\nte: trailers\r\n\
         transfer-encoding: chunked\r\ntrailer: x-sum\r\nconnection: close\r\n\r\n3\r\none\r\n"
    )
    .unwrap();
    // The first piece comes back before the request has ended.
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("one") {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..read]);
    }
    write!(stream, "3\r\ntwo\r\n0\r\nx-sum: 6\r\n\r\n").unwrap();
    let rest = read(&mut stream);
    assert!(rest.contains("two"), "{rest}");
    assert!(rest.to_lowercase().contains("x-sum: 6"), "{rest}");
}
