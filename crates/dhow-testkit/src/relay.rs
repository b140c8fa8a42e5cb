//! Stands before an admin API and holds every answer against the [`Contract`]. Whoever a test lets
//! speak to the API, also the real command line, speaks through it.
//!
//! It listens on another address of loopback with the API's own port, so that `Host` and `Origin`
//! go through as they came. Requests and answers are streamed; whoever goes away is gone for the
//! other side too.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::contract::{Contract, Exchange};

/// Addresses where relays listen, the last byte of `127.0.0.…`. One may have the port already: an
/// API that takes the place of another has a relay of its own.
const ADDRESSES: RangeInclusive<u8> = 2..=254;

/// A relay that runs.
pub struct Relay {
    address: SocketAddr,
    found: Arc<Found>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What was found.
#[derive(Default)]
struct Found {
    violations: Mutex<Vec<String>>,
}

impl Relay {
    /// Starts to relay to `server`, on another address with the same port.
    ///
    /// # Errors
    /// When it is taken at every one.
    pub fn before(server: SocketAddr, contract: &'static Contract) -> io::Result<Self> {
        let at = |last| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), server.port()));
        let listener = StdListener::bind(&ADDRESSES.map(at).collect::<Vec<_>>()[..])?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let found = Arc::new(Found::default());
        let way = Way { server, contract, found: found.clone() };
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || run(listener, &way, stopped));
        Ok(Self { address, found, stop: Some(stop), thread: Some(thread) })
    }

    /// Where to speak to it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it. What the contract does not allow, of all that went through.
    pub fn finish(mut self) -> Vec<String> {
        self.end();
        std::mem::take(&mut *self.found.violations.lock())
    }

    fn end(&mut self) {
        // Answers under way are looked at when the thread drops them.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the relay does not panic");
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.end();
        }
    }
}

/// Where requests go, and what answers are held against.
#[derive(Clone)]
struct Way {
    server: SocketAddr,
    contract: &'static Contract,
    found: Arc<Found>,
}

fn run(listener: StdListener, way: &Way, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let listener = TcpListener::from_std(listener).expect("a listener");
        tokio::select! {
            () = accept(&listener, way) => {}
            _ = stopped => {}
        }
    });
}

async fn accept(listener: &TcpListener, way: &Way) {
    while let Ok((stream, _)) = listener.accept().await {
        let way = way.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| relay(way.clone(), request));
            let http = hyper::server::conn::http1::Builder::new();
            // An error is a side that went away, and the other hears of it.
            drop(http.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

/// Has one request answered. An error cuts the connection, as the server's end did.
async fn relay(way: Way, request: Request<Incoming>) -> Result<Response<Seen>, BoxError> {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let stream = TcpStream::connect(way.server).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into());
    let status = response.status().as_u16();
    let exchange = Exchange { method, path, status, content_type, ..Exchange::default() };
    Ok(response.map(|body| Seen { body, exchange, way }))
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An answer's body on its way. When it is over, or given up, what was sent is looked at.
struct Seen {
    body: Incoming,
    exchange: Exchange,
    way: Way,
}

impl Body for Seen {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.exchange.body.extend_from_slice(data);
                }
            }
            Some(Err(_)) => {}
            None => self.exchange.whole = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.exchange.whole |= self.body.is_end_stream();
        if let Err(violation) = self.way.contract.check(&self.exchange) {
            self.way.found.violations.lock().push(violation);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream as StdStream;

    use super::*;

    /// A server that answers each request with the next of `answers`, and what a client of the
    /// relay before it gets for `request`.
    fn through(request: &str, answer: &'static str) -> (String, Vec<String>) {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = vec![];
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(head).unwrap()
        });
        let relay = Relay::before(server, Contract::of_dhow()).unwrap();
        let mut client = StdStream::connect(relay.address()).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut got = String::new();
        client.read_to_string(&mut got).unwrap();
        let head = serving.join().unwrap();
        assert!(head.contains("evil.example"), "the server was told another host: {head}");
        (got, relay.finish())
    }

    #[test]
    fn an_answer_goes_through_as_it_is_and_an_undescribed_status_is_caught() {
        let request = "GET /healthz HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n";
        let (got, violations) = through(request, answer);
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("\r\n\r\nok\n"), "{got}");
        assert_eq!(violations, [""; 0]);

        let answer = "HTTP/1.1 418 Teapot\r\ncontent-length: 0\r\n\r\n";
        let (got, violations) = through(request, answer);
        assert!(got.starts_with("HTTP/1.1 418"), "{got}");
        assert_eq!(violations.len(), 1, "{violations:?}");
        assert!(violations[0].contains("the status 418 is not described"), "{violations:?}");
    }

    #[test]
    fn an_answer_that_breaks_off_breaks_off_and_its_lines_were_looked_at() {
        let request = "GET /api/v1/namespaces/n/functions/f/logs HTTP/1.1\r\n\
                       host: evil.example\r\nconnection: close\r\n\r\n";
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\
                      transfer-encoding: chunked\r\n\r\n3\r\n{}\n\r\n2\r\n{\"";
        let (got, violations) = through(request, answer);
        assert!(!got.ends_with("0\r\n\r\n"), "{got}");
        assert_eq!(violations.len(), 1, "{violations:?}");
        assert!(violations[0].contains("line 1: "), "{violations:?}");
    }
}
