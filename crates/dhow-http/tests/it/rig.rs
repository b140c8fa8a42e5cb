//! A front with a service that does as the path says, and raw clients.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dhow_core::outcome::{Failure, Reason};
use dhow_http::{Config, Connection, PlatformBody, RequestBody, Server, Service, answer, id};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Far more than anything here takes; what runs into it hangs.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Every timeout that a test waits for.
pub(crate) const SHORT: Duration = Duration::from_millis(300);
/// The most bytes of a body.
pub(crate) const CAP: u64 = 1 << 20;

type AnswerBody = UnsyncBoxBody<Bytes, Failure>;

/// What a service heard.
#[derive(Default)]
pub(crate) struct Heard {
    /// Requests that came in.
    pub(crate) requests: AtomicUsize,
    /// Endless answers that were given up.
    pub(crate) given_up: AtomicUsize,
    /// Why requests failed.
    pub(crate) failures: Mutex<Vec<Reason>>,
    /// Lets `/wait` answer.
    pub(crate) go: Notify,
}

pub(crate) struct Paths(Arc<Heard>);

/// A front, its address and what its service heard.
pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) heard: Arc<Heard>,
}

pub(crate) fn config() -> Config {
    Config { workers: 2, ..Config::default() }
}

impl Rig {
    pub(crate) fn new(config: Config) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let heard = Arc::new(Heard::default());
        let server =
            Server::start(vec![listener], Arc::new(Paths(heard.clone())), config).expect("a front");
        Self { server, address, heard }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// Sends `text` on a connection of its own and reads to the end of the connection.
    pub(crate) async fn raw(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.expect("to be read");
        to_end(&mut stream).await
    }

    /// Waits until `count` is `want`.
    pub(crate) async fn until(&self, count: impl Fn(&Self) -> usize, want: usize) {
        let reached = async {
            while count(self) != want {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, reached).await.expect("the count to be reached");
    }

    pub(crate) fn connections(&self) -> usize {
        (self.server.connections())()
    }

    pub(crate) fn requests(&self) -> usize {
        self.heard.requests.load(SeqCst)
    }

    pub(crate) fn given_up(&self) -> usize {
        self.heard.given_up.load(SeqCst)
    }
}

/// Everything up to the end of the connection.
pub(crate) async fn to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await;
    read.expect("the connection to end").expect("the connection to end well");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Everything up to and with `end`.
pub(crate) async fn up_to(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(end.as_bytes()) {
        let read = tokio::time::timeout(LONG, stream.read_exact(&mut byte)).await;
        read.expect("more to come").expect("more to come");
        answer.push(byte[0]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A client that speaks HTTP/2 from the first byte.
pub(crate) async fn h2(
    rig: &Rig,
    window: u32,
) -> hyper::client::conn::http2::SendRequest<UnsyncBoxBody<Bytes, Infallible>> {
    let io = hyper_util::rt::TokioIo::new(rig.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let mut builder = hyper::client::conn::http2::Builder::new(executor);
    builder.initial_stream_window_size(window);
    let (sender, connection) = builder.handshake(io).await.expect("a handshake");
    tokio::spawn(connection);
    sender
}

pub(crate) fn request(
    method: &str,
    path: &str,
    body: UnsyncBoxBody<Bytes, Infallible>,
) -> Request<UnsyncBoxBody<Bytes, Infallible>> {
    Request::builder()
        .method(method)
        .uri(format!("http://front{path}"))
        .body(body)
        .expect("a request")
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, Infallible> {
    Full::new(bytes.into()).boxed_unsync()
}

impl Service for Paths {
    type Body = PlatformBody<AnswerBody>;

    async fn answer(
        &self,
        request: Request<Incoming>,
        _connection: Connection,
    ) -> Response<Self::Body> {
        self.0.requests.fetch_add(1, SeqCst);
        let id = id::new_call_id();
        let mut response = match self.by_path(request).await {
            Ok(response) => response.map(PlatformBody::Guest),
            Err(failure) => {
                self.0.failures.lock().push(failure.reason);
                answer::failure(&failure, Some(id))
            }
        };
        answer::name_call(&mut response, id);
        response
    }
}

impl Paths {
    async fn by_path(&self, request: Request<Incoming>) -> Result<Response<AnswerBody>, Failure> {
        let (head, body) = request.into_parts();
        match head.uri.path() {
            "/refuse" => return Err(Failure::new(Reason::Concurrency, "no place")),
            "/wait" => self.0.go.notified().await,
            "/endless" => {
                return Ok(Response::new(Endless(self.0.clone()).boxed_unsync()));
            }
            _ => {}
        }
        let body = RequestBody::new(body, CAP, SHORT)?;
        if head.uri.path() == "/ignore" {
            let answer =
                Full::new(Bytes::from_static(b"ignored\n")).map_err(|never| match never {});
            return Ok(Response::new(answer.boxed_unsync()));
        }
        if head.uri.path() == "/stream" {
            let mut response = Response::new(body.boxed_unsync());
            if let Some(names) = head.headers.get("trailer") {
                response.headers_mut().insert("trailer", names.clone());
            }
            return Ok(response);
        }
        let whole = body.collect().await?;
        let echo = Full::new(whole.to_bytes()).map_err(|never| match never {});
        Ok(Response::new(echo.boxed_unsync()))
    }
}

/// Never ends, and notes when it is given up.
struct Endless(Arc<Heard>);

impl Body for Endless {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16 << 10])))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.given_up.fetch_add(1, SeqCst);
    }
}

pub(crate) fn trailers(name: &'static str, value: &'static str) -> HeaderMap {
    let name = http::HeaderName::from_static(name);
    HeaderMap::from_iter([(name, http::HeaderValue::from_static(value))])
}
