//! The API's connections, and how they end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Router, middleware};
use dhow_http::tls::{Tls, Transport};
use http::header::CONNECTION;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tower_http::timeout::RequestBodyTimeoutLayer;

use super::audit::Peer;

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest pause inside a request's body.
const BODY_STALL: Duration = Duration::from_secs(30);
/// Connections at a time; the next waits in the kernel's queue.
const CONNECTIONS: usize = 1024;
/// The pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a client has to make use of a connection that it has just made, when the server ends
/// politely.
const GRACE: Duration = Duration::from_secs(2);

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// How long connections stay open without a request. A client that keeps one hears with its
    /// next answer that it is the last, rather than send a request in vain.
    pub grace: Duration,
    /// How long requests may then go on; what is left is cut.
    pub drain: Duration,
}

impl Ending {
    /// Nobody serves afterwards.
    pub const PROMPT: Self = Self { grace: Duration::ZERO, drain: Duration::from_secs(10) };
    /// Somebody else goes on at the same address, and no request shall be lost. Longer than the
    /// longest compilation.
    pub const POLITE: Self = Self { grace: GRACE, drain: Duration::from_secs(330) };
}

/// Serves `router` over HTTP/1.1, inside TLS where that is given, until `shutdown`, which says how
/// to end: then takes no more connections, lets requests end, and cuts those that take too long.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
    shutdown: impl Future<Output = Ending>,
) {
    let mut shutdown = pin!(shutdown);
    let (drain, draining) = watch::channel(false);
    let router = router
        .layer(middleware::map_response_with_state(draining.clone(), say_last))
        .layer(Extension(Draining(draining.clone())))
        .layer(RequestBodyTimeoutLayer::new(BODY_STALL));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let (cut, _) = watch::channel(());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let connections = GracefulShutdown::new();
    let ending = loop {
        let accepted = tokio::select! {
            biased;
            ending = &mut shutdown => break ending,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let service = TowerToHyperService::new(router.clone());
                let service = service_fn(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(Peer(peer));
                    service.call(request)
                });
                let (http, tls, watcher) = (http.clone(), tls.clone(), connections.watcher());
                let (mut cut, draining) = (cut.subscribe(), Draining(draining.clone()));
                tokio::spawn(async move {
                    let Some(stream) = shake_hands(tls, stream, draining).await else { return };
                    let connection =
                        watcher.watch(http.serve_connection(TokioIo::new(stream), service));
                    tokio::select! {
                        ended = connection => {
                            if let Err(error) = ended {
                                tracing::debug!(%error, "a connection to the admin API broke off");
                            }
                        }
                        // The sender is dropped, never sent to.
                        _ = cut.changed() => {}
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin API can't accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    };
    drop(listener);
    drain.send_replace(true);
    sleep(ending.grace).await;
    if timeout(ending.drain, connections.shutdown()).await.is_err() {
        tracing::warn!("requests to the admin API were cut at the end");
    }
    drop(cut);
}

/// The connection as it came, or inside TLS.
async fn shake_hands(tls: Option<Tls>, stream: TcpStream, draining: Draining) -> Option<Transport> {
    let Some(tls) = tls else { return Some(Transport::Plain(stream)) };
    tokio::select! {
        shaken = timeout(HEAD_TIMEOUT, tls.accept(stream)) => match shaken.ok()? {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::debug!(%error, "a client speaks no TLS that is spoken here");
                None
            }
        },
        // One that had begun may be of a client that sends a request at once.
        () = async { draining.begins().await; sleep(GRACE).await } => None,
    }
}

/// Has the connection end with this answer when the server is about to.
async fn say_last(State(draining): State<watch::Receiver<bool>>, mut answer: Response) -> Response {
    if *draining.borrow() {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// The next connection, once there is a place for one.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

/// Whether the server is about to end. Every request has it as an extension.
#[derive(Debug, Clone)]
pub(crate) struct Draining(watch::Receiver<bool>);

impl Draining {
    /// What `sender` says once it is so.
    pub(crate) fn new(draining: watch::Receiver<bool>) -> Self {
        Self(draining)
    }

    /// Resolves when the server is about to end.
    pub(super) async fn begins(mut self) {
        // An error says that the server has ended.
        let _ended = self.0.wait_for(|begun| *begun).await;
    }
}
