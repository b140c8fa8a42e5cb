//! Listeners, worker threads, connections, and their end.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use dhow_core::outcome::Failure;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::connection;
use crate::link::Link;

/// How often it is looked whether connections that were told to end have heard of it. Each hears
/// when its task runs next.
const HUSH: Duration = Duration::from_millis(1);

/// Answers requests.
pub trait Service: Send + Sync + 'static {
    /// The body of its answers. One that ends in an error cuts the connection.
    type Body: Body<Data = Bytes, Error = Failure> + Send + Unpin + 'static;

    /// Answers one request. Dropped when the client goes away before the answer's head.
    fn answer(
        &self,
        request: Request<Incoming>,
        connection: Connection,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// The client's.
    pub peer: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
    /// Whether it is inside TLS.
    pub tls: bool,
}

/// A front that serves.
pub struct Server {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    acceptors: Vec<tokio::task::JoinHandle<()>>,
}

struct Shared {
    config: Config,
    /// No further connections; those that live end with their next answer.
    retiring: CancellationToken,
    /// Connections end.
    closing: CancellationToken,
    /// Connections that still live are cut.
    cut: CancellationToken,
    /// Connections over all workers.
    connections: AtomicUsize,
    places: Arc<Semaphore>,
    /// Workers on which no call can begin any more.
    quiet: watch::Sender<usize>,
}

/// A worker as the acceptor sees it.
#[derive(Clone)]
struct Lane {
    connections: mpsc::UnboundedSender<Accepted>,
    live: Arc<AtomicUsize>,
}

struct Accepted {
    stream: StdStream,
    peer: SocketAddr,
    place: tokio::sync::OwnedSemaphorePermit,
    live: Live,
}

/// Counts a connection, of its worker and of the server, while it lives.
struct Live(Arc<AtomicUsize>, Arc<Shared>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
        self.1.connections.fetch_sub(1, Relaxed);
    }
}

impl Server {
    /// Serves `service` on `listeners`, with acceptors on the current runtime and connections on
    /// threads of their own.
    ///
    /// # Errors
    /// When a thread or a listener can't be set up.
    pub fn start<S: Service>(
        listeners: Vec<StdListener>,
        service: Arc<S>,
        config: Config,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            places: Arc::new(Semaphore::new(config.connections.max(1))),
            retiring: CancellationToken::new(),
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
            connections: AtomicUsize::new(0),
            quiet: watch::Sender::new(0),
            config,
        });
        let (mut lanes, mut workers) = (Vec::new(), Vec::new());
        for index in 0..shared.config.workers.max(1) {
            let (connections, receiver) = mpsc::unbounded_channel();
            lanes.push(Lane { connections, live: Arc::default() });
            workers.push(worker(index, receiver, service.clone(), shared.clone())?);
        }
        let mut acceptors = Vec::new();
        for listener in listeners {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            acceptors.push(tokio::spawn(accept(listener, lanes.clone(), shared.clone())));
        }
        Ok(Self { shared, workers, acceptors })
    }

    /// Says, whenever it is called, how many connections live.
    pub fn connections(&self) -> impl Fn() -> usize + Send + 'static {
        let shared = self.shared.clone();
        move || shared.connections.load(Relaxed)
    }

    /// Makes way for somebody else who listens at the same addresses, without a request lost: takes
    /// no more connections, and ends those that live with the answer to their next request, or after
    /// `grace` without one. Returns when no call can begin here any more; those that have begun go
    /// on. Call [`Self::finish`] next.
    pub async fn retire(&mut self, grace: Duration) {
        self.shared.retiring.cancel();
        self.join_acceptors().await;
        tokio::time::sleep(grace).await;
        self.shared.closing.cancel();
        let workers = self.workers.len();
        let mut quiet = self.shared.quiet.subscribe();
        // The sender is ours.
        drop(quiet.wait_for(|quiet| *quiet == workers).await);
    }

    /// Ends politely: serves on for `drain_delay`, in which whoever watches over it can look
    /// elsewhere; then takes no new connections and requests; then [finishes](Self::finish).
    pub async fn stop(mut self) {
        tokio::time::sleep(self.shared.config.drain_delay).await;
        self.shared.retiring.cancel();
        self.join_acceptors().await;
        self.shared.closing.cancel();
        self.finish().await;
    }

    /// Gives calls in flight up to `drain_timeout`; what is left is cut.
    pub async fn finish(self) {
        self.shared.closing.cancel();
        let (shared, workers) = (self.shared.clone(), self.workers);
        let joined = tokio::task::spawn_blocking(move || {
            workers.into_iter().for_each(|worker| drop(worker.join()));
        });
        let timeout = tokio::time::sleep(shared.config.drain_timeout);
        tokio::pin!(joined, timeout);
        tokio::select! {
            _ = &mut joined => return,
            () = &mut timeout => shared.cut.cancel(),
        }
        drop(joined.await);
    }

    async fn join_acceptors(&mut self) {
        for acceptor in self.acceptors.drain(..) {
            // Cancelled or ended, it has nothing to report.
            drop(acceptor.await);
        }
    }
}

/// Takes connections and gives each to the worker that has the fewest.
async fn accept(listener: TcpListener, lanes: Vec<Lane>, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            () = shared.retiring.cancelled() => return,
            accepted = next(&listener, &shared.places) => accepted,
        };
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: waiting is all that helps.
                tracing::warn!(%error, "a connection can't be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(lane) = lanes.iter().min_by_key(|lane| lane.live.load(Relaxed)) else { return };
        lane.live.fetch_add(1, Relaxed);
        shared.connections.fetch_add(1, Relaxed);
        let live = Live(lane.live.clone(), shared.clone());
        if let Ok(stream) = stream.into_std() {
            // A worker ends only after the acceptors.
            drop(lane.connections.send(Accepted { stream, peer, place, live }));
        }
    }
}

async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, place))
}

/// A thread with a runtime of its own, which serves the connections it is given.
fn worker<S: Service>(
    index: usize,
    mut connections: mpsc::UnboundedReceiver<Accepted>,
    service: Arc<S>,
    shared: Arc<Shared>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("dhow-worker-{index}")).spawn(move || {
        runtime.block_on(async {
            let tasks = TaskTracker::new();
            let mut links: Vec<Weak<Link>> = Vec::new();
            let idle = shared.config.head_timeout;
            let mut sweep = interval_at(Instant::now() + idle, idle);
            let (mut is_retiring, mut is_open) = (false, true);
            loop {
                let accepted = tokio::select! {
                    // Whatever was accepted is served: this ends after the acceptors.
                    biased;
                    accepted = connections.recv(), if is_open => accepted,
                    () = shared.closing.cancelled() => break,
                    () = shared.retiring.cancelled(), if !is_retiring => {
                        is_retiring = true;
                        links.iter().filter_map(Weak::upgrade).for_each(|link| link.last());
                        continue;
                    }
                    _ = sweep.tick() => {
                        links.retain(|link| link.upgrade().inspect(|link| link.sweep()).is_some());
                        continue;
                    }
                };
                let Some(accepted) = accepted else {
                    is_open = false;
                    continue;
                };
                let Accepted { stream, peer, place, live } = accepted;
                let link = Arc::new(Link::default());
                if is_retiring {
                    link.last();
                }
                if links.len() == links.capacity() {
                    links.retain(|link| link.strong_count() > 0);
                    links.reserve(links.len().max(64));
                }
                links.push(Arc::downgrade(&link));
                let (service, shared) = (service.clone(), shared.clone());
                tasks.spawn(async move {
                    connection::serve(stream, peer, link, service, &shared.config).await;
                    drop((place, live));
                });
            }
            links.iter().filter_map(Weak::upgrade).for_each(|link| link.end());
            tasks.close();
            while links.iter().filter_map(Weak::upgrade).any(|link| !link.is_quiet()) {
                tokio::time::sleep(HUSH).await;
            }
            shared.quiet.send_modify(|quiet| *quiet += 1);
            tokio::select! {
                () = tasks.wait() => {}
                () = shared.cut.cancelled() => {}
            }
        });
        // Guests that outlive their answers end here with their runtime.
        runtime.shutdown_background();
    })
}
