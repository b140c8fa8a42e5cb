//! A server that answers as a test says: whole, in part, wrongly, or not at all.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::sync::Barrier;

type Body = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;
pub(crate) type Answer = Response<Body>;
/// Makes the same answer again and again.
pub(crate) type Answering = Box<dyn Fn() -> Answer + Send + Sync>;
type Answerer = dyn Fn(&Asked) -> Answer + Send + Sync;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A running server; gone when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Answers the greeting itself, the rest by `answer`.
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, log): (Arc<Answerer>, _) = (Arc::new(answer), asked.clone());
        let task = tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let (answer, log) = (answer.clone(), log.clone());
                let service = hyper::service::service_fn(move |request| {
                    respond(request, answer.clone(), log.clone())
                });
                tokio::spawn(async move {
                    let served = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(connection), service);
                    // Broken connections are what these tests are about.
                    drop(served.await);
                });
            }
        });
        Self { address, asked, task }
    }

    /// HOST:PORT.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// An image at this server.
    pub(crate) fn image(&self) -> String {
        format!("{}/team/x:v1", self.address)
    }

    /// What was asked, but for the greeting.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn respond(
    request: Request<Incoming>,
    answer: Arc<Answerer>,
    log: Arc<Mutex<Vec<Asked>>>,
) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/v2/" {
        return Ok(status(200));
    }
    let body = body.collect().await;
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: body.map(|body| body.to_bytes()).unwrap_or_default(),
    };
    log.lock().push(asked.clone());
    Ok(answer(&asked))
}

/// An answer without a body.
pub(crate) fn status(code: u16) -> Answer {
    whole(code, Bytes::new())
}

/// A whole answer.
pub(crate) fn whole(code: u16, body: impl Into<Bytes>) -> Answer {
    let body = body.into();
    let length = body.len();
    with_length(code, length, stream::iter([Ok(Frame::data(body))]).boxed())
}

/// An answer that promises `body` and breaks after `sent` bytes of it.
pub(crate) fn broken(code: u16, body: &Bytes, sent: usize) -> Answer {
    let end = stream::once(async {
        // Lets the first part out before the connection goes.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(io::Error::other("broken on purpose"))
    });
    let first = stream::iter([Ok(Frame::data(body.slice(..sent)))]);
    with_length(code, body.len(), first.chain(end).boxed())
}

/// An answer that never comes to its end.
pub(crate) fn stalling(code: u16, body: &Bytes, sent: usize) -> Answer {
    let first = stream::iter([Ok(Frame::data(body.slice(..sent)))]);
    with_length(code, body.len(), first.chain(stream::pending()).boxed())
}

/// An answer in two parts, of which the second waits for as many others as meet at `together`; `done`
/// runs before it.
pub(crate) fn meeting(
    body: &Bytes,
    together: Arc<Barrier>,
    done: impl FnOnce() + Send + 'static,
) -> Answer {
    let rest = body.slice(1..);
    let end = stream::once(async move {
        together.wait().await;
        done();
        Ok(Frame::data(rest))
    });
    let first = stream::iter([Ok(Frame::data(body.slice(..1)))]);
    with_length(200, body.len(), first.chain(end).boxed())
}

/// An answer whose length is not stated, from pieces; `repeat` makes it endless.
pub(crate) fn unstated(code: u16, piece: Bytes, repeat: bool) -> Answer {
    let times = if repeat { usize::MAX } else { 1 };
    let frames = stream::repeat(piece).take(times).map(|piece| Ok(Frame::data(piece)));
    let mut response = Response::new(StreamBody::new(frames.boxed()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

/// Adds a header.
pub(crate) fn with(mut response: Answer, name: &'static str, value: &str) -> Answer {
    response.headers_mut().append(name, value.parse().unwrap());
    response
}

fn with_length(
    code: u16,
    length: usize,
    frames: BoxStream<'static, io::Result<Frame<Bytes>>>,
) -> Answer {
    let mut response = Response::new(StreamBody::new(frames));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response.headers_mut().insert("content-length", length.into());
    response
}
