//! The API's connections: who may be listened to, and how they end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tower_http::timeout::RequestBodyTimeoutLayer;

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest pause inside a request's body.
const BODY_STALL: Duration = Duration::from_secs(30);
/// Connections at a time; the next waits in the kernel's queue.
const CONNECTIONS: usize = 1024;
/// How long requests may go on after the shutdown; what is left then is cut.
const DRAIN: Duration = Duration::from_secs(10);
/// The pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why an address is not listened on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// Whoever reaches the API may deploy code, and this version asks nobody who they are.
    #[error(
        "the admin address {0} can be reached from other machines, and this version of dhow has \
         no credentials: whoever reaches it can deploy and delete functions; listen on 127.0.0.1 \
         or [::1], or say --insecure where the network itself keeps strangers out"
    )]
    Open(SocketAddr),
}

/// Whether the API may listen on `listen`.
///
/// # Errors
/// When other machines reach it and nobody said that this is wanted.
pub fn check_listen(listen: SocketAddr, insecure: bool) -> Result<(), ListenError> {
    if insecure || listen.ip().is_loopback() { Ok(()) } else { Err(ListenError::Open(listen)) }
}

/// Serves `router` over HTTP/1.1 until `shutdown`; then takes no more connections, lets requests
/// end, and cuts those that take longer than 10 s.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let mut shutdown = pin!(shutdown);
    let (drain, draining) = watch::channel(false);
    let router =
        router.layer(Extension(Draining(draining))).layer(RequestBodyTimeoutLayer::new(BODY_STALL));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let (cut, _) = watch::channel(());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let service = TowerToHyperService::new(router.clone());
                let connection =
                    connections.watch(http.serve_connection(TokioIo::new(stream), service));
                let mut cut = cut.subscribe();
                tokio::spawn(async move {
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
    }
    drop(listener);
    drain.send_replace(true);
    if timeout(DRAIN, connections.shutdown()).await.is_err() {
        tracing::warn!("requests to the admin API were cut at the end");
    }
    drop(cut);
}

/// The next connection, once there is a place for one.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

/// Whether the server is about to end. Every request has it as an extension.
#[derive(Debug, Clone)]
pub(super) struct Draining(watch::Receiver<bool>);

impl Draining {
    /// Resolves when the server is about to end.
    pub(super) async fn begins(mut self) {
        // An error says that the server has ended.
        let _ended = self.0.wait_for(|begun| *begun).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_let_in_only_on_purpose() {
        for listen in ["127.0.0.1:8081", "127.1.2.3:0", "[::1]:8081"] {
            assert_eq!(check_listen(listen.parse().unwrap(), false), Ok(()));
        }
        for listen in ["0.0.0.0:8081", "[::]:8081", "192.0.2.1:8081"] {
            let listen = listen.parse().unwrap();
            assert_eq!(check_listen(listen, false), Err(ListenError::Open(listen)));
            assert_eq!(check_listen(listen, true), Ok(()));
        }
    }
}
