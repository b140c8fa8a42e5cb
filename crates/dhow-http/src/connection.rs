//! One connection: its protocol, its calls, its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::answer;
use crate::config::Config;
use crate::link::{Link, Wish};
use crate::outgoing::{Outgoing, Streams};
use crate::server::{Connection, Service};
use crate::stall::Stall;
use crate::tls::Transport;

/// A body up to this size comes with its head, mostly; what is left of it is read and forgotten.
const SMALL_BODY: u64 = 16 << 10;

/// Serves one connection to its end.
pub(crate) async fn serve<S: Service>(
    stream: std::net::TcpStream,
    peer: SocketAddr,
    link: Arc<Link>,
    service: Arc<S>,
    config: &Config,
) {
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let Ok(local) = stream.local_addr() else { return };
    let ends = Connection { peer, local, tls: config.tls.is_some() };
    let Some(stream) = transport(stream, peer, &link, config).await else { return };
    let io = Stall::new(stream, link.clone(), config.write_stall, config.head_timeout);
    // One more layer, so that requests count their references away from the other workers.
    let (service, calls) = (Arc::new(service), link.clone());
    let service = service_fn(move |request| {
        let (service, link) = (service.clone(), calls.clone());
        async move { Ok::<_, Infallible>(respond(&**service, request, ends, link).await) }
    });
    let builder = protocol(config);
    let connection = builder.serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    let mut ending = false;
    let ended = poll_fn(|cx| {
        link.register(cx.waker());
        match link.wish() {
            Wish::Cut => return Poll::Ready(Ok(())),
            Wish::End if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
                link.hush();
            }
            // Streams that the client has begun before it hears of this are taken still.
            Wish::Last if !ending && link.is_h2() => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            Wish::End => link.hush(),
            Wish::Last | Wish::GoOn => {}
        }
        connection.as_mut().poll(cx)
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%peer, error, "a connection broke off");
    }
}

/// The connection as it came, or inside TLS once hands are shaken.
async fn transport(
    stream: TcpStream,
    peer: SocketAddr,
    link: &Link,
    config: &Config,
) -> Option<Transport> {
    let Some(tls) = &config.tls else { return Some(Transport::Plain(stream)) };
    let shaken = tokio::select! {
        shaken = timeout(config.head_timeout, tls.accept(stream)) => shaken,
        () = link.asked_to_end() => return None,
    };
    match shaken {
        Ok(Ok(transport)) => Some(transport),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a client speaks no TLS that is spoken here");
            None
        }
        Err(_) => None,
    }
}

/// Has one request answered, and sees to what the connection needs besides.
async fn respond<S: Service>(
    service: &S,
    request: Request<Incoming>,
    ends: Connection,
    link: Arc<Link>,
) -> Response<Outgoing<S::Body>> {
    let is_h2 = request.version() == Version::HTTP_2;
    let bodiless = request.method() == Method::HEAD;
    if is_h2 {
        link.set_h2();
    }
    let may_be_left = !is_h2 && may_be_left(&request);
    if may_be_left {
        link.linger();
    }
    let call = link.clone().begin();
    let mut response = service.answer(request, ends).await;
    // The platform refuses before it has read such a body, or gave up waiting for it: there is no
    // place to go on from.
    let is_left = may_be_left || response.status() == StatusCode::REQUEST_TIMEOUT;
    let is_last = link.is_last() || is_left && response.headers().contains_key(answer::REASON);
    if is_last && !is_h2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.map(|body| Outgoing::new(body, call, is_h2, bodiless))
}

/// Whether more of the body may be to come than is read when nobody wants it.
fn may_be_left(request: &Request<Incoming>) -> bool {
    let body = request.body();
    !body.is_end_stream()
        && (body.size_hint().upper().is_none_or(|size| size > SMALL_BODY)
            || request.headers().contains_key(EXPECT))
}

fn protocol(config: &Config) -> Builder<Streams> {
    let mut builder = Builder::new(Streams { limit: config.write_stall });
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_buf_size(config.head_bytes.max(8192))
        .max_headers(config.head_fields);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.streams)
        .max_header_list_size(u32::try_from(config.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20);
    builder
}
