//! The queue of one machine: a file of its own in the data folder, and a folder for large bodies.
//!
//! A ledger in memory says where each call stands; one thread ([`writer`](self)) writes, and the
//! ledger follows what is on disk. A lease is held in memory: it ends with the process, and its
//! call is due again at the next start, under the name that was acknowledged.

mod body;
mod check;
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
mod space;
mod state;
mod take;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use dhow_core::call::CallId;
use dhow_core::name::FunctionName;
use dhow_core::ports::{BoxFuture, CallQueue, Pause};
use dhow_core::queue::{
    Accepted, Answer, CallBody, CallCursor, CallFilter, CallPage, CallView, EnqueueError, Lane,
    Lease, LeaseId, NewCall, QueueError, QueueFigures, Settle,
};
use dhow_disk::durable::{Steps, System};
use http::HeaderMap;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::spawn_blocking;

use self::disk::{Disk, OpenDatabase, Rows};
use self::ledger::Ledger;
use self::recover::{Recovery, remove_strays};
use self::space::Reserved;
use self::state::{Ages, State, millis};
use self::writer::{Ask, NewAnswer, Writer};

pub use self::check::check;
pub use self::error::OpenError;

/// The queue's file in its folder.
pub const FILE: &str = "calls.redb";
/// The folder of large bodies.
const BODIES: &str = "calls";
/// The folder of those that are on their way; nothing in it belongs to a call.
const BEGUN: &str = "bodies.begun";
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
    /// Bytes of memory for bodies on their way to the disk, each of which has [`body::ROW`] at
    /// most; over it, calls are refused for now.
    pub memory: u64,
    /// How old a call may be that is tried again, counted from its acknowledgement or from when
    /// somebody last asked for it; an attempt that fails later gives it up.
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
    asks: mpsc::Sender<Ask>,
    /// Taken at the end.
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer and everybody else look at.
struct Shared {
    disk: Disk,
    ledger: Mutex<Ledger>,
    /// Bytes that count against the space and are not in the ledger yet.
    reserved: AtomicU64,
    /// Sent to whenever something may have become due.
    changes: watch::Sender<()>,
    clock: Clock,
    config: Config,
    /// Held while the file and the bodies' folder change.
    writing: Mutex<()>,
    /// How bodies come to stay.
    steps: Arc<dyn Steps>,
    bodies: PathBuf,
    begun: PathBuf,
    /// Of [`PERMIT`] bytes each.
    memory: Arc<Semaphore>,
    enqueued: AtomicU64,
    repeats: AtomicU64,
    commits: AtomicU64,
}

/// Tells the time, milliseconds since 1970. It goes on where the system's clock is set back, and
/// follows where that is set forward: a machine may start before it has learned the time.
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
        let open: OpenDatabase = Box::new(move || disk::open_file(&path));
        Self::open_with(folder, config, open, Arc::new(System))
    }

    /// [`Self::open`] with another way to the file, and other steps for bodies: for tests that cut
    /// the power.
    fn open_with(
        folder: &Path,
        config: Config,
        open: OpenDatabase,
        steps: Arc<dyn Steps>,
    ) -> Result<Self, OpenError> {
        let file = folder.join(FILE);
        let (bodies, begun) = (folder.join(BODIES), folder.join(BEGUN));
        for place in [&bodies, &begun] {
            let made = if place.is_dir() { Ok(()) } else { steps.make_folder(place) };
            made.map_err(|error| OpenError::from_io(place, error))?;
        }
        // Also where a process made them that was killed before it could see to that.
        steps.sync_folder(folder).map_err(|error| OpenError::from_io(folder, error))?;
        let clock = Clock::start();
        let mut recovery = Recovery::new(&config, clock.now_ms());
        let (disk, format) =
            Disk::open(open, &mut recovery).map_err(|error| OpenError::from_redb(&file, error))?;
        error::check_format(&file, format, disk::FORMAT)?;
        let Recovery { ledger, given_up, next_number, .. } = recovery;
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
            reserved: AtomicU64::new(0),
            changes: watch::Sender::new(()),
            clock,
            writing: Mutex::new(()),
            steps,
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
        Ok(Self(Arc::new(Inner { shared, asks, writer: Mutex::new(Some(writer)) })))
    }

    /// Writes what is still to be written, as far as the disk takes it, and closes the file for
    /// good, so that another process may open it. Whoever asks for something from then on is
    /// refused. Waits for the disk.
    pub fn close(&self) {
        self.0.end();
        self.0.shared.disk.close();
    }

    /// Writes where a call stands, and waits for it.
    async fn set(
        &self,
        number: u64,
        state: State,
        answer: Option<Answer>,
    ) -> Result<(), QueueError> {
        let bytes = state.encode().map_err(QueueError::Storage)?;
        let answer = answer.map(|answer| self.fit(answer)).transpose()?;
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

    /// The answer as far as there is space for it: without its body else, or without its headers.
    fn fit(&self, answer: Answer) -> Result<NewAnswer, QueueError> {
        let mut reserved = Reserved::none(&self.0.shared);
        let encode = |answer: &Answer| records::encode_answer(answer).map_err(QueueError::Storage);
        let head = encode(&answer)?;
        let cost = space::cost_of_answer((head.len() + answer.body.len()) as u64);
        if reserved.grow_to(cost) {
            return Ok(NewAnswer { head, body: answer.body, cost, _reserved: reserved });
        }
        let cut = Answer { body: Bytes::new(), is_cut: true, ..answer };
        let mut head = encode(&cut)?;
        let mut cost = space::cost_of_answer(head.len() as u64);
        if !reserved.grow_to(cost) {
            head = encode(&Answer { headers: HeaderMap::new(), ..cut })?;
            cost = space::cost_of_answer(head.len() as u64);
        }
        Ok(NewAnswer { head, body: Bytes::new(), cost, _reserved: reserved })
    }

    /// Reads the disk, where that holds up nobody.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Disk) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, QueueError> {
        let shared = self.0.shared.clone();
        let read = spawn_blocking(move || read(&shared.disk)).await;
        let read = read.map_err(|error| QueueError::Storage(error.to_string()))?;
        read.map_err(|error| QueueError::Storage(error.to_string()))
    }

    /// What is written of a call that the ledger has.
    async fn rows(&self, number: u64) -> Result<Option<Rows>, QueueError> {
        self.read(move |disk| disk.read(number)).await
    }

    fn number(&self, call: CallId) -> Result<u64, QueueError> {
        self.0.shared.ledger.lock().number(call).ok_or(QueueError::NotFound(call))
    }

    fn ask(&self, ask: Ask) {
        // Where the writer is gone, whoever waits hears of it by the channel's other end.
        drop(self.0.asks.send(ask));
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
        let ends_ms = self.0.shared.clock.passed_ms().saturating_add(millis(LEASE));
        let held = self.0.shared.ledger.lock().extend(lease, ends_ms);
        Box::pin(async move { held })
    }

    fn settle(&self, lease: LeaseId, settle: Settle) -> BoxFuture<'_, Result<(), QueueError>> {
        Box::pin(self.end(lease, settle))
    }

    fn list(
        &self,
        filter: CallFilter,
        after: Option<CallCursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<CallPage, QueueError>> {
        Box::pin(self.page(filter, after, limit))
    }

    fn show(&self, call: CallId) -> BoxFuture<'_, Result<CallView, QueueError>> {
        Box::pin(self.view(call))
    }

    fn answer(&self, call: CallId) -> BoxFuture<'_, Result<Option<Answer>, QueueError>> {
        Box::pin(async move {
            let rows = self.rows(self.number(call)?).await?;
            let rows = rows.ok_or(QueueError::NotFound(call))?;
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

impl Inner {
    /// Has the writer end, and waits for it.
    fn end(&self) {
        let Some(writer) = self.writer.lock().take() else { return };
        drop(self.asks.send(Ask::End));
        if writer.join().is_err() {
            tracing::error!("the thread that writes calls had panicked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end();
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
        let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.at(self.begun.elapsed(), millis(system))
    }

    /// The time when so much has passed since the beginning, and the system says this.
    fn at(&self, passed: Duration, system_ms: u64) -> u64 {
        self.begun_ms.saturating_add(millis(passed)).max(system_ms)
    }

    /// Milliseconds that have passed: what leases are counted by, whatever the clock is set to.
    fn passed_ms(&self) -> u64 {
        millis(self.begun.elapsed())
    }
}

fn ended() -> String {
    "the queue has ended".to_owned()
}
