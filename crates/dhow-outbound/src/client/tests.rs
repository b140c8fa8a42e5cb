use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use dhow_core::outbound::BODY;
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Empty};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use super::*;
use crate::resolve::Resolve;
use crate::tls::Trust;

/// Names with the answers to one question after the other; the last is given again.
#[derive(Default)]
struct Names {
    answers: Mutex<HashMap<String, Vec<&'static str>>>,
    asked: AtomicUsize,
}

impl Resolve for Names {
    fn resolve<'a>(
        &'a self,
        name: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.asked.fetch_add(1, Relaxed);
        let mut answers = self.answers.lock();
        let found = answers.get_mut(name).map(|answers| match answers.len() {
            1 => answers[0],
            _ => answers.remove(0),
        });
        let found = found.ok_or_else(|| io::Error::other("no such name"));
        Box::pin(async move {
            let address = |text: &str| SocketAddr::new(text.parse().unwrap(), port);
            Ok(found?.split(' ').map(address).collect())
        })
    }
}

fn names(names: &[(&str, &[&'static str])]) -> Arc<Names> {
    let answers = names.iter().map(|(name, answers)| ((*name).to_owned(), answers.to_vec()));
    Arc::new(Names { answers: Mutex::new(answers.collect()), asked: AtomicUsize::new(0) })
}

fn client(names: Arc<Names>, allow: &[&str]) -> Client {
    let shared =
        Shared { resolve: names, trust: Trust::with(&[]).unwrap(), runtime: Handle::current() };
    let allow = allow.iter().map(|rule| rule.parse().unwrap()).collect();
    Client::new(Arc::new(shared), Outbound { allow, own: Arc::new([]) })
}

fn empty() -> OutboundBody {
    Box::pin(Empty::new().map_err(|never| match never {}))
}

async fn get(client: &Client, url: &str) -> Result<String, OutboundError> {
    ask(client, "GET", url, Patience::default(), empty()).await
}

async fn ask(
    client: &Client,
    method: &str,
    url: &str,
    patience: Patience,
    body: OutboundBody,
) -> Result<String, OutboundError> {
    let request = Request::builder().method(method).uri(url).body(body).unwrap();
    let answer = client.send(request, patience).await?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(format!("{status} {}", String::from_utf8_lossy(&body)))
}

/// A server that answers each request with what `answer` makes of the client's port, until that is
/// nothing: then it keeps the connection and says no more.
async fn server(at: &str, answer: fn(u16) -> Option<String>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(at).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(AtomicUsize::new(0));
    let connections = seen.clone();
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            connections.fetch_add(1, Relaxed);
            tokio::spawn(serve(stream, peer.port(), answer));
        }
    });
    (port, seen)
}

async fn serve(mut stream: TcpStream, peer: u16, answer: fn(u16) -> Option<String>) {
    let mut heads = Vec::new();
    loop {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(read) => heads.extend_from_slice(&piece[..read]),
        }
        if !heads.ends_with(b"\r\n\r\n") {
            continue;
        }
        heads.clear();
        let Some(answer) = answer(peer) else { continue };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn whole(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn closing(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_name_is_resolved_once_and_what_was_checked_is_connected_to() {
    let (port, _) = server("127.0.0.2:0", |_| Some(closing("two"))).await;
    let rebound = names(&[("rebound.test", &["127.0.0.2", "127.0.0.1"])]);
    let two = format!("http://127.0.0.2:{port}");
    let client = client(rebound.clone(), &[&format!("http://rebound.test:{port}"), &two]);
    let url = format!("http://rebound.test:{port}/");
    assert_eq!(get(&client, &url).await.as_deref(), Ok("200 two"));
    assert_eq!(rebound.asked.load(Relaxed), 1);
    // The next answer is another, which no rule names.
    let refused = get(&client, &url).await.unwrap_err();
    assert!(matches!(refused, OutboundError::Denied { is_address: true, .. }), "{refused}");
    assert_eq!(rebound.asked.load(Relaxed), 2);
}

#[tokio::test]
async fn of_several_addresses_only_those_that_are_open_are_tried() {
    let (port, _) = server("[::1]:0", |_| Some(whole("six"))).await;
    let several =
        names(&[("several.test", &["10.0.0.1 127.0.0.9 ::1"]), ("closed.test", &["10.0.0.1"])]);
    let rules = [format!("http://*.test:{port}"), format!("http://[::1]:{port}")];
    let client = client(several, &rules.each_ref().map(String::as_str));
    let answer = get(&client, &format!("http://several.test:{port}/")).await;
    assert_eq!(answer.as_deref(), Ok("200 six"));
    assert_eq!(get(&client, &format!("http://[::1]:{port}/")).await.as_deref(), Ok("200 six"));
    let refused = get(&client, &format!("http://closed.test:{port}/")).await.unwrap_err();
    assert!(matches!(refused, OutboundError::Denied { is_address: true, .. }), "{refused}");
    let unknown = get(&client, &format!("http://unknown.test:{port}/")).await.unwrap_err();
    assert!(matches!(unknown, OutboundError::Name(_)), "{unknown}");
}

#[tokio::test]
async fn connections_are_kept_and_never_shared() {
    let (port, connections) = server("127.0.0.1:0", |peer| Some(whole(&peer.to_string()))).await;
    let url = format!("http://127.0.0.1:{port}/");
    let rule = format!("http://127.0.0.1:{port}");
    let (one, two) = (client(names(&[]), &[&rule]), client(names(&[]), &[&rule]));
    let first = get(&one, &url).await.unwrap();
    // A connection comes back to the pool a moment after its answer's end.
    while get(&one, &url).await.unwrap() != first {}
    let before = connections.load(Relaxed);
    assert_ne!(get(&two, &url).await.unwrap(), first);
    assert_eq!(connections.load(Relaxed), before + 1);
}

#[tokio::test]
async fn a_connection_for_one_method_is_not_used_for_another() {
    let (port, _) = server("127.0.0.1:0", |_| Some(whole("here"))).await;
    let name = names(&[("near.test", &["127.0.0.1"])]);
    let rules = [format!("http://near.test:{port}"), format!("GET http://127.0.0.1:{port}")];
    let client = client(name, &rules.each_ref().map(String::as_str));
    let url = format!("http://near.test:{port}/");
    assert_eq!(get(&client, &url).await.as_deref(), Ok("200 here"));
    let refused = ask(&client, "POST", &url, Patience::default(), empty()).await.unwrap_err();
    assert!(matches!(refused, OutboundError::Denied { is_address: true, .. }), "{refused}");
}

#[tokio::test]
async fn what_is_no_request_is_not_made() {
    let client = client(names(&[]), &["*://*:*"]);
    for url in ["ftp://a.test/", "/path", "http://user:secret@a.test/", "http://a.test:99999/"] {
        let Ok(request) = Request::builder().uri(url).body(empty()) else { continue };
        let refused = client.send(request, Patience::default()).await.err().unwrap();
        assert_eq!(refused, OutboundError::Url, "{url}");
    }
    let tunnel = ask(&client, "CONNECT", "http://a.test/", Patience::default(), empty()).await;
    assert_eq!(tunnel, Err(OutboundError::Url));
    // A path may hold a secret; what is denied is told without it.
    let denied = get(&client, "http://10.0.0.1/?token=hunter2").await.unwrap_err();
    assert!(!denied.to_string().contains("hunter2"), "{denied}");
}

#[tokio::test]
async fn patience_ends() {
    let soon = Some(Duration::from_millis(50));
    let (silent, _) = server("127.0.0.1:0", |_| None).await;
    let (half, _) = server("127.0.0.1:0", |_| {
        Some("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_owned())
    })
    .await;
    let client = client(names(&[]), &["http://127.0.0.1:*"]);
    let patience = Patience { connect: soon, first_byte: soon, between_bytes: soon };
    for port in [silent, half] {
        let url = format!("http://127.0.0.1:{port}/");
        let late = ask(&client, "GET", &url, patience, empty()).await;
        assert_eq!(late, Err(OutboundError::ReadTimeout));
    }
}

#[tokio::test]
async fn a_function_has_so_many_requests_under_way_and_no_more() {
    let (port, connections) = server("127.0.0.1:0", |_| None).await;
    let client = client(names(&[]), &[&format!("http://127.0.0.1:{port}")]);
    let url = format!("http://127.0.0.1:{port}/");
    let under_way: Vec<_> = (0..REQUESTS)
        .map(|_| {
            let (client, url) = (client.clone(), url.clone());
            tokio::spawn(async move { get(&client, &url).await })
        })
        .collect();
    while connections.load(Relaxed) < REQUESTS {
        tokio::task::yield_now().await;
    }
    let hasty = Patience { connect: Some(Duration::from_millis(20)), ..Patience::default() };
    let one_more = ask(&client, "GET", &url, hasty, empty()).await;
    assert_eq!(one_more, Err(OutboundError::Limit));
    for request in under_way {
        request.abort();
    }
    // Their places are free again, and a connection is made.
    let next = {
        let (client, url) = (client.clone(), url.clone());
        tokio::spawn(async move { get(&client, &url).await })
    };
    while connections.load(Relaxed) <= REQUESTS {
        tokio::task::yield_now().await;
    }
    next.abort();
}

#[tokio::test]
async fn who_no_longer_waits_ends_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = client(names(&[]), &[&format!("http://127.0.0.1:{port}")]);
    let url = format!("http://127.0.0.1:{port}/");
    let asked = tokio::spawn(async move { get(&client, &url).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = [0; 4096];
    assert_ne!(stream.read(&mut head).await.unwrap(), 0);
    asked.abort();
    while stream.read(&mut head).await.unwrap_or(0) != 0 {}
}

/// A body of so many times one MiB.
struct Large(u64);

impl Body for Large {
    type Data = Bytes;
    type Error = OutboundError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OutboundError>>> {
        static PIECE: [u8; 1 << 20] = [0; 1 << 20];
        Poll::Ready(self.0.checked_sub(1).map(|left| {
            self.0 = left;
            Ok(Frame::data(Bytes::from_static(&PIECE)))
        }))
    }
}

#[tokio::test]
async fn a_body_ends_at_its_bound() {
    let whole = Sent::new(Box::pin(Large(BODY >> 20)));
    let (mut whole, mut bytes) = (Box::pin(whole), 0);
    while let Some(frame) = whole.frame().await {
        bytes += frame.unwrap().data_ref().unwrap().len() as u64;
    }
    assert_eq!(bytes, BODY);
    let mut more = Box::pin(Sent::new(Box::pin(Large((BODY >> 20) + 1))));
    let ended = loop {
        match more.frame().await.unwrap() {
            Ok(_) => continue,
            Err(error) => break error,
        }
    };
    assert_eq!(ended, OutboundError::RequestBody);
}

#[test]
fn authorities_are_in_files_of_certificates() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let files = [file.path().to_owned()];
    let wrong = Trust::with(&files).err().unwrap().to_string();
    assert!(wrong.contains("no certificate"), "{wrong}");
    assert!(Trust::with(&["/nowhere/ca.pem".into()]).is_err());
}
