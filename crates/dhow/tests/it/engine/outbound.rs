//! What guests ask of the world over HTTP, from real guests of both generations.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use dhow_core::ports::{BoxFuture, Stream};
use dhow_engine::{Target, World};
use dhow_outbound::Way;
use dhow_outbound::resolve::Resolve;
use dhow_outbound::tls::Trust;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::rig::Rig;

/// The guests, each of which asks for each line of what it is sent.
const ASKERS: [&str; 2] = ["http-ask", "http-ask-p3"];

struct Names(HashMap<&'static str, &'static str>);

impl Resolve for Names {
    fn resolve<'a>(
        &'a self,
        name: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let found = self.0.get(name).ok_or_else(|| io::Error::other("no such name"));
        let found = found.map(|ip| vec![SocketAddr::new(ip.parse().expect("an address"), port)]);
        Box::pin(async move { found })
    }
}

/// An engine whose guests know a few names, and whose host listens at `own`.
fn rig(own: Vec<SocketAddr>) -> Rig {
    let names = [("near.test", "127.0.0.1"), ("meta.test", "169.254.169.254"), ("six.test", "::1")];
    let trust = Trust::with(&[]).expect("no files");
    let way = Way::new(own, Arc::new(Names(names.into())), trust, Handle::current());
    Rig::in_world(World { outbound: Some(Arc::new(way)), ..World::default() })
}

fn allowed(rig: &Rig, guest: &str, rules: &[&str]) -> Target {
    rig.target(guest, |template| {
        template.grants.network = rules.iter().map(|rule| rule.parse().expect("a rule")).collect();
    })
}

async fn asked(rig: &Rig, target: &Target, lines: &str) -> String {
    rig.post(target, "/", lines.to_owned()).await.expect("an answer").text()
}

/// What a server tells.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// Somebody was asked who does not answer.
    Silent,
    /// A connection ended.
    Ended,
}

/// A server that answers by its path.
async fn server(at: &str) -> (u16, mpsc::UnboundedReceiver<Seen>) {
    let listener = TcpListener::bind(at).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                serve(stream, &tell).await;
                // Most tests don't listen.
                drop(tell.send(Seen::Ended));
            });
        }
    });
    (port, told)
}

/// What TLS begins with.
const HANDSHAKE: u8 = 22;

async fn serve(mut stream: TcpStream, tell: &mpsc::UnboundedSender<Seen>) {
    let mut said = Vec::new();
    loop {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(read) => said.extend_from_slice(&piece[..read]),
        }
        if said[0] == HANDSHAKE {
            drop(stream.write_all(b"HTTP/1.1 400 no TLS here\r\n\r\n").await);
            return;
        }
        let text = String::from_utf8_lossy(&said).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        if is_chunked && !body.ends_with("0\r\n\r\n") {
            continue;
        }
        let path = head.split(' ').nth(1).unwrap_or_default();
        let answer = match path.strip_prefix("/to/") {
            Some(to) => {
                format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
            }
            None => match path {
                "/silent" => {
                    drop(tell.send(Seen::Silent));
                    said.clear();
                    continue;
                }
                "/garbage" => "SMTP says hello\r\n\r\n".to_owned(),
                "/cut" => "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut".to_owned(),
                "/body" => whole(body),
                _ => whole(path),
            },
        };
        said.clear();
        let sent = stream.write_all(answer.as_bytes()).await;
        if sent.is_err() || path == "/cut" {
            return;
        }
    }
}

fn whole(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn without_a_grant_all_is_denied_and_the_log_says_what_to_do() {
    let rig = rig(vec![]);
    let (port, _ends) = server("127.0.0.1:0").await;
    for guest in ASKERS {
        let target = rig.target(guest, |_| ());
        let answer = asked(&rig, &target, &format!("GET http://127.0.0.1:{port}/a")).await;
        assert_eq!(answer, "ErrorCode::HttpRequestDenied\n", "{guest}");
        let lines = rig.heard.lines.lock();
        let (_, stream, line) = lines.last().expect("a line");
        let hint = format!("--allow-host http://127.0.0.1:{port}");
        assert!(*stream == Stream::Stderr && line.contains(&hint), "{line}");
    }
}

#[tokio::test]
async fn what_is_granted_is_answered_and_nothing_else() {
    let rig = rig(vec![]);
    let (port, _ends) = server("127.0.0.1:0").await;
    let (other, _other) = server("127.0.0.1:0").await;
    for guest in ASKERS {
        let target = allowed(&rig, guest, &[&format!("GET http://127.0.0.1:{port}")]);
        let lines = format!(
            "GET http://127.0.0.1:{port}/a\nPOST http://127.0.0.1:{port}/a\n\
             GET https://127.0.0.1:{port}/a\nGET http://127.0.0.1:{other}/a\n\
             GET http://127.0.0.2:{port}/a"
        );
        let denied = "ErrorCode::HttpRequestDenied\n".repeat(4);
        assert_eq!(asked(&rig, &target, &lines).await, format!("200 /a\n{denied}"), "{guest}");
    }
    let target = allowed(&rig, "http-ask", &[&format!("http://localhost:{port}")]);
    let lines = format!("POST http://localhost:{port}/body sent");
    let answer = asked(&rig, &target, &lines).await;
    assert!(answer.starts_with("200 ") && answer.contains("sent"), "{answer}");
}

#[tokio::test]
async fn a_name_opens_no_address_that_is_closed() {
    let rig = rig(vec![]);
    let (port, _ends) = server("127.0.0.1:0").await;
    let (six, _six) = server("[::1]:0").await;
    let lines = format!(
        "GET http://near.test:{port}/a\nGET http://meta.test/latest\nGET http://six.test:{six}/a\n\
         GET http://127.0.0.1:{port}/a\nGET http://169.254.169.254/latest\nGET http://nowhere.test/"
    );
    let prohibited = "ErrorCode::DestinationIpProhibited\n";
    for guest in ASKERS {
        let target = allowed(&rig, guest, &["http://*:*"]);
        let answer = asked(&rig, &target, &lines).await;
        assert!(answer.starts_with(&prohibited.repeat(5)), "{guest}: {answer}");
        assert!(answer.contains("DnsError"), "{guest}: {answer}");
        let rules =
            ["http://*:*", &format!("http://127.0.0.0/8:{port}"), &format!("http://[::1]:{six}")];
        let target = allowed(&rig, guest, &rules);
        let answer = asked(&rig, &target, &lines).await;
        let wanted = format!("200 /a\n{prohibited}200 /a\n200 /a\n{prohibited}");
        assert!(answer.starts_with(&wanted), "{guest}: {answer}");
    }
}

#[tokio::test]
async fn a_redirect_leads_nowhere_that_is_not_granted() {
    let rig = rig(vec![]);
    let (port, _ends) = server("127.0.0.1:0").await;
    let (other, _other) = server("127.0.0.1:0").await;
    let target = allowed(&rig, "http-ask", &[&format!("http://127.0.0.1:{port}"), "http://*"]);
    let here = format!("http://127.0.0.1:{port}");
    let lines = format!(
        "GET {here}/to/{here}/b\nFOLLOW GET {here}/to/{here}/b\n\
         FOLLOW GET {here}/to/http://127.0.0.1:{other}/b\n\
         FOLLOW GET {here}/to/http://169.254.169.254/latest\n\
         FOLLOW GET {here}/to/http://meta.test/latest"
    );
    assert_eq!(
        asked(&rig, &target, &lines).await,
        "302 \n200 /b\nErrorCode::HttpRequestDenied\nErrorCode::DestinationIpProhibited\n\
         ErrorCode::DestinationIpProhibited\n"
    );
}

#[tokio::test]
async fn dhows_own_ports_are_open_to_a_rule_for_that_very_port_alone() {
    let (port, _ends) = server("127.0.0.1:0").await;
    let rig = rig(vec![SocketAddr::from(([0, 0, 0, 0], port))]);
    let lines = format!("GET http://127.0.0.1:{port}/a\nGET http://localhost:{port}/a");
    let target = allowed(&rig, "http-ask", &["http://127.0.0.0/8:*", "http://localhost:*"]);
    let prohibited = "ErrorCode::DestinationIpProhibited\n";
    assert_eq!(asked(&rig, &target, &lines).await, prohibited.repeat(2));
    let target = allowed(&rig, "http-ask", &[&format!("http://localhost:{port}")]);
    assert_eq!(asked(&rig, &target, &lines).await, "200 /a\n200 /a\n");
}

#[tokio::test]
async fn every_failure_has_its_name() {
    let rig = rig(vec![]);
    let (port, _ends) = server("127.0.0.1:0").await;
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("bound").port()
    };
    let target = allowed(&rig, "http-ask", &["http://127.0.0.1:*", "https://127.0.0.1:*"]);
    let here = format!("127.0.0.1:{port}");
    for (line, wanted) in [
        (format!("GET http://127.0.0.1:{nobody}/"), "ErrorCode::ConnectionRefused"),
        (format!("GET http://{here}/garbage"), "ErrorCode::HttpProtocolError"),
        (format!("GET http://{here}/cut"), "broken off"),
        (format!("WAIT=50 GET http://{here}/silent"), "ErrorCode::HttpResponseTimeout"),
        (format!("GET https://{here}/"), "ErrorCode::TlsProtocolError"),
    ] {
        assert_eq!(asked(&rig, &target, &line).await.trim_end(), wanted, "{line}");
    }
}

#[tokio::test]
async fn a_caller_who_goes_takes_the_guests_requests_along() {
    let rig = Arc::new(rig(vec![]));
    let (port, mut seen) = server("127.0.0.1:0").await;
    for guest in ASKERS {
        let target = allowed(&rig, guest, &[&format!("http://127.0.0.1:{port}")]);
        let (rig, line) = (rig.clone(), format!("GET http://127.0.0.1:{port}/silent"));
        let call = tokio::spawn(async move { rig.post(&target, "/", line).await.map(drop) });
        assert_eq!(seen.recv().await, Some(Seen::Silent));
        call.abort();
        assert_eq!(seen.recv().await, Some(Seen::Ended));
    }
}
