//! The queue of one machine: a file of its own in the data folder, and a folder for large bodies.
//!
//! A ledger in memory says where each call stands; one thread ([`writer`](self)) writes, and the
//! ledger follows what is on disk. A lease is held in memory: it ends with the process, and its
//! call is due again at the next start, under the name that was acknowledged.

mod body;
mod disk;
mod error;
mod lane;
mod lease;
mod ledger;
#[cfg(test)]
mod power;
mod records;
mod recover;
mod show;
mod state;
mod take;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dhow_core::call::CallId;
use dhow_core::name::FunctionName;
use dhow_core::ports::{BoxFuture, CallQueue, Pause};
use dhow_core::queue::{
    Accepted, Answer, CallBody, CallFilter, CallView, EnqueueError, Lane, Lease, LeaseId, NewCall,
    QueueError, QueueFigures, Settle,
};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::spawn_blocking;

use self::disk::{Disk, Rows};
use self::ledger::Ledger;
use self::recover::{recover, remove_strays};
use self::state::{Ages, State, millis};
use self::writer::{Ask, Writer};

pub use self::disk::OpenDatabase;
pub use self::error::OpenError;

/// The queue's file in its folder.
const FILE: &str = "calls.redb";
/// The folder of large bodies.
const BODIES: &str = "calls";
/// The folder of those that are on their way; nothing in it belongs to a call.
const BEGUN: &str = "bodies.begun";
/// What a call counts for beside its bytes: rows of several tables, and the ledger's entry.
const CALL_COST: u64 = 512;
/// Why a call is refused for which there is no space, though the disk may have some.
const SPACE_USED: &str = "the space for asynchronous calls is used up";
/// How long a lease lasts unless it is extended.
const LEASE: Duration = Duration::from_secs(60);
/// Bytes that one permit for memory stands for.
const PERMIT: u64 = 1 << 10;

/// How much is kept, and for how long.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of all calls together, with their answers and what is kept about them.
    pub space: u64,
    /// Bytes of memory for bodies on their way to the disk; over it, calls are refused for now.
    pub memory: u64,
    /// How long a call may wait before it is given up.
    pub waiting: Duration,
    /// How long a dead letter is kept.
    pub dead_letters: Duration,
    /// How long an `Idempotency-Key` counts.
    pub keys: Duration,
    /// Bytes of one transaction, but for its last change: what comes while the disk is waited for
    /// is written together. With 1, every change has a sync of its own.
    pub batch: u64,
}

/// The queue of one machine. Cheap to clone.
#[derive(Clone)]
pub struct EmbeddedQueue(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    /// Taken at the end, which tells the writer.
    asks: Option<mpsc::Sender<Ask>>,
    writer: Option<JoinHandle<()>>,
}

/// What the writer and everybody else look at.
struct Shared {
    disk: Disk,
    ledger: Mutex<Ledger>,
    /// Sent to whenever something may have become due.
    changes: watch::Sender<()>,
    clock: Clock,
    config: Config,
    /// Held while the file and the bodies' folder change.
    writing: Mutex<()>,
    bodies: PathBuf,
    begun: PathBuf,
    /// Of [`PERMIT`] bytes each.
    memory: Arc<Semaphore>,
    enqueued: AtomicU64,
    repeats: AtomicU64,
    commits: AtomicU64,
}

/// Milliseconds since 1970 that never go back while the process runs.
#[derive(Debug, Clone, Copy)]
struct Clock {
    begun_ms: u64,
    begun: Instant,
}

impl Default for Config {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            space: 1 << 30,
            memory: 64 << 20,
            waiting: 7 * DAY,
            dead_letters: 30 * DAY,
            keys: DAY,
            batch: 8 << 20,
        }
    }
}

impl EmbeddedQueue {
    /// Opens the queue in `folder`, which must be there and belong to this process alone. Leases
    /// of a process that ended are given back.
    ///
    /// # Errors
    /// When the folder can't be used, or the file is of another format or is damaged.
    pub fn open(folder: &Path, config: Config) -> Result<Self, OpenError> {
        let path = folder.join(FILE);
        Self::open_with(folder, config, Box::new(move || disk::open_file(&path)))
    }

    /// [`Self::open`] with another way to the file: for tests that cut its power.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(folder: &Path, config: Config, open: OpenDatabase) -> Result<Self, OpenError> {
        let file = folder.join(FILE);
        let make = |name| {
            let made = disk::make_folder(&folder.join(name));
            made.map_err(|error| OpenError::from_io(folder, error))
        };
        let (bodies, begun) = (make(BODIES)?, make(BEGUN)?);
        let (disk, contents) =
            Disk::open(open).map_err(|error| OpenError::from_redb(&file, error))?;
        error::check_format(&file, contents.format, disk::FORMAT)?;
        let clock = Clock::start();
        let next_number = contents.calls.last().map_or(0, |call| call.number + 1);
        let (ledger, given_up) = recover(contents, &config, clock.now_ms())
            .map_err(|detail| OpenError::Damaged { path: file.clone(), detail })?;
        if !given_up.is_empty() {
            disk.write(&given_up).map_err(|error| OpenError::from_redb(&file, error))?;
        }
        for place in [&bodies, &begun] {
            let removed =
                remove_strays(place, |call| *place == bodies && ledger.number(call).is_some());
            removed.map_err(|error| OpenError::from_io(place, error))?;
        }
        let permits = usize::try_from(config.memory / PERMIT).unwrap_or(usize::MAX);
        let shared = Arc::new(Shared {
            disk,
            ledger: Mutex::new(ledger),
            changes: watch::Sender::new(()),
            clock,
            writing: Mutex::new(()),
            bodies,
            begun,
            memory: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            config,
            enqueued: AtomicU64::new(0),
            repeats: AtomicU64::new(0),
            commits: AtomicU64::new(0),
        });
        let (asks, inbox) = mpsc::channel();
        let writer = Writer::new(shared.clone(), inbox, next_number);
        let writer = std::thread::Builder::new()
            .name("dhow-calls".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| OpenError::from_io(folder, error))?;
        Ok(Self(Arc::new(Inner { shared, asks: Some(asks), writer: Some(writer) })))
    }

    /// Closes the file, so that another process may open it. Nobody may ask for anything any more,
    /// and no lease be held. Waits for the disk.
    pub fn let_go(&self) {
        self.0.shared.disk.let_go();
    }

    /// Goes on after [`Self::let_go`], where the process that was to have the file has changed
    /// nothing in it.
    pub fn take_again(&self) {
        self.0.shared.disk.take_again();
        self.0.shared.changed();
    }

    /// Writes where a call stands, and waits for it.
    async fn set(
        &self,
        number: u64,
        state: State,
        answer: Option<Answer>,
    ) -> Result<(), QueueError> {
        let bytes = state.encode().map_err(QueueError::Storage)?;
        let answer = match answer {
            Some(answer) => {
                let head = records::encode_answer(&answer).map_err(QueueError::Storage)?;
                Some((head, answer.body))
            }
            None => None,
        };
        let (done, written) = oneshot::channel();
        let (state, done) = (Box::new(state), Some(done));
        self.ask(Ask::Set { number, state, bytes, answer, done });
        written.await.map_err(|_| QueueError::Storage(ended()))
    }

    async fn forget(&self, number: u64) -> Result<(), QueueError> {
        let (done, written) = oneshot::channel();
        self.ask(Ask::Forget { number, done: Some(done) });
        written.await.map_err(|_| QueueError::Storage(ended()))
    }

    async fn read(&self, number: u64) -> Result<Rows, QueueError> {
        let shared = self.0.shared.clone();
        let read = spawn_blocking(move || shared.disk.read(number)).await;
        let read = read.map_err(|error| QueueError::Storage(error.to_string()))?;
        let rows = read.map_err(|error| QueueError::Storage(error.to_string()))?;
        rows.ok_or_else(|| QueueError::Storage("it is not in the file".to_owned()))
    }

    fn number(&self, call: CallId) -> Result<u64, QueueError> {
        self.0.shared.ledger.lock().number(call).ok_or(QueueError::NotFound(call))
    }

    fn ask(&self, ask: Ask) {
        if let Some(asks) = &self.0.asks {
            // Where the writer is gone, whoever waits hears of it by the channel's other end.
            drop(asks.send(ask));
        }
    }
}

impl CallQueue for EmbeddedQueue {
    fn enqueue(
        &self,
        call: NewCall,
        body: CallBody,
    ) -> BoxFuture<'_, Result<Accepted, EnqueueError>> {
        Box::pin(self.take(call, body))
    }

    fn lease<'a>(
        &'a self,
        room: &'a (dyn Fn(&Lane, &FunctionName) -> bool + Send + Sync),
    ) -> BoxFuture<'a, Lease> {
        Box::pin(self.next(room))
    }

    fn extend_every(&self) -> Duration {
        LEASE / 3
    }

    fn extend(&self, lease: LeaseId) -> BoxFuture<'_, bool> {
        let ends_ms = self.0.shared.clock.now_ms().saturating_add(millis(LEASE));
        let held = self.0.shared.ledger.lock().extend(lease, ends_ms);
        Box::pin(async move { held })
    }

    fn settle(&self, lease: LeaseId, settle: Settle) -> BoxFuture<'_, Result<(), QueueError>> {
        Box::pin(self.end(lease, settle))
    }

    fn list(
        &self,
        filter: CallFilter,
        after: Option<CallId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<CallView>, QueueError>> {
        Box::pin(self.views(filter, after, limit))
    }

    fn show(&self, call: CallId) -> BoxFuture<'_, Result<CallView, QueueError>> {
        Box::pin(self.view(call))
    }

    fn answer(&self, call: CallId) -> BoxFuture<'_, Result<Option<Answer>, QueueError>> {
        Box::pin(async move {
            let rows = self.read(self.number(call)?).await?;
            let Some((head, body)) = rows.answer else { return Ok(None) };
            records::decode_answer(&head, body).map(Some).map_err(QueueError::Storage)
        })
    }

    fn retry(&self, call: CallId) -> BoxFuture<'_, Result<CallView, QueueError>> {
        Box::pin(self.again(call))
    }

    fn cancel(&self, call: CallId) -> BoxFuture<'_, Result<(), QueueError>> {
        Box::pin(async move { self.forget(self.number(call)?).await })
    }

    fn purge(&self, filter: CallFilter) -> BoxFuture<'_, Result<u64, QueueError>> {
        Box::pin(self.forget_all(filter))
    }

    fn figures(&self) -> QueueFigures {
        let shared = &self.0.shared;
        let ledger = shared.ledger.lock();
        QueueFigures {
            depths: ledger.depths(),
            bytes: ledger.bytes(),
            enqueued: shared.enqueued.load(Relaxed),
            repeats: shared.repeats.load(Relaxed),
            commits: shared.commits.load(Relaxed),
        }
    }
}

impl Pause for EmbeddedQueue {
    fn paused(&self, copy: &mut dyn FnMut()) {
        // Neither bodies come to their place or go, nor is the file changed or opened again.
        let _writing = self.0.shared.writing.lock();
        self.0.shared.disk.paused(copy);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.asks.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the thread that writes calls had panicked");
        }
    }
}

impl Shared {
    fn ages(&self) -> Ages {
        Ages { waiting: self.config.waiting, dead: self.config.dead_letters }
    }

    /// Tells whoever waits for work.
    fn changed(&self) {
        self.changes.send_replace(());
    }
}

impl Clock {
    fn start() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { begun_ms: millis(since), begun: Instant::now() }
    }

    fn now_ms(&self) -> u64 {
        self.begun_ms.saturating_add(millis(self.begun.elapsed()))
    }
}

/// What a record and its bytes count for.
fn cost_of(record: &[u8], body: u64) -> u64 {
    CALL_COST + record.len() as u64 + body
}

fn ended() -> String {
    "the queue has ended".to_owned()
}
