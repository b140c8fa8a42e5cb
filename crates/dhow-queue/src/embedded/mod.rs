//! The queue of one machine: a file of its own in the data folder, and a folder for large bodies.
//!
//! A ledger in memory says where each call stands; one thread ([`writer`](self)) writes, and the
//! ledger follows what is on disk. A lease is held in memory: it ends with the process, and its
//! call is due again at the next start, under the name that was acknowledged.

mod body;
mod disk;
mod error;
mod lane;
mod ledger;
mod records;
mod state;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashSet;
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
    Note, QueueError, QueueFigures, Settle, Work,
};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use self::disk::{Contents, Disk, Row, Rows};
use self::ledger::{Drawn, Entry, KeyUse, Ledger};
use self::records::Head;
use self::state::{Ages, Place, Resume, State, millis};
use self::writer::{Ask, Take, Writer};

pub use self::disk::OpenDatabase;
pub use self::error::OpenError;

/// The queue's file in its folder.
const FILE: &str = "calls.redb";
/// The folder of large bodies.
const BODIES: &str = "calls";
/// What a call counts for beside its bytes: rows of several tables, and the ledger's entry.
const CALL_COST: u64 = 512;
/// Why a call is refused for which there is no space, though the disk may have some.
const SPACE_USED: &str = "the space for asynchronous calls is used up";
/// How long a lease lasts unless it is extended.
const LEASE: Duration = Duration::from_secs(60);
/// How many times a process may end while it runs a call, until the call is given up.
const INTERRUPTIONS: u32 = 20;
/// Calls that are looked at while the ledger is locked.
const LOOK: usize = 10_000;
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
    bodies: PathBuf,
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
        let bodies = disk::make_folder(&folder.join(BODIES))
            .map_err(|error| OpenError::from_io(folder, error))?;
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
        remove_strays(&bodies, &ledger).map_err(|error| OpenError::from_io(&bodies, error))?;
        let permits = usize::try_from(config.memory / PERMIT).unwrap_or(usize::MAX);
        let shared = Arc::new(Shared {
            disk,
            ledger: Mutex::new(ledger),
            changes: watch::Sender::new(()),
            clock,
            bodies,
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

    async fn take(&self, call: NewCall, body: CallBody) -> Result<Accepted, EnqueueError> {
        let shared = &self.0.shared;
        // Asked again when it is written; here so that a body is not taken in vain.
        if shared.ledger.lock().bytes() >= shared.config.space {
            return Err(EnqueueError::Full(SPACE_USED));
        }
        let row =
            body.size_hint().upper().map_or(body::ROW as u64, |most| most.min(body::ROW as u64));
        let permits = u32::try_from(row / PERMIT + 1).unwrap_or(u32::MAX);
        let memory = shared.memory.clone().try_acquire_many_owned(permits);
        let memory = memory.map_err(|_| EnqueueError::Busy)?;

        let sum = call.idempotency_key.as_ref().map(|_| request_sum(&call));
        let spooled = body::spool(&shared.bodies, call.id, body, call.most_body, sum).await?;
        let now_ms = shared.clock.now_ms();
        let in_file = matches!(spooled.body, body::Kept::File(_));
        let head = Head::new(&call, now_ms, spooled.length, in_file);
        let state = State::new(now_ms);
        let encode = |bytes: Result<Vec<u8>, String>| bytes.map_err(EnqueueError::Storage);
        let (head_bytes, state_bytes) = (encode(head.encode())?, encode(state.encode())?);
        let cost = cost_of(&head_bytes, spooled.length);
        let wants = head.wants();
        let key = call.idempotency_key.as_deref().zip(spooled.sum).map(|(key, request)| {
            let expires_ms = now_ms.saturating_add(millis(shared.config.keys));
            (key_hash(&call.function, key), KeyUse { call: call.id, expires_ms, request })
        });
        let (reply, accepted) = oneshot::channel();
        self.ask(Ask::Take(Box::new(Take {
            entry: Entry::new(call.id, call.function, call.queue, wants, &state, cost, in_file),
            head: head_bytes,
            state: state_bytes,
            body: spooled.body,
            key,
            reply,
            _memory: memory,
        })));
        let accepted = accepted.await.unwrap_or_else(|_| Err(EnqueueError::Storage(ended())))?;
        if accepted.is_repeat {
            shared.repeats.fetch_add(1, Relaxed);
        }
        Ok(accepted)
    }

    async fn next(&self, room: &(dyn Fn(&Lane, &FunctionName) -> bool + Send + Sync)) -> Lease {
        let shared = &self.0.shared;
        let mut changes = shared.changes.subscribe();
        loop {
            let now_ms = shared.clock.now_ms();
            let (drawn, next_due) = {
                let mut ledger = shared.ledger.lock();
                let ends_ms = now_ms.saturating_add(millis(LEASE));
                (ledger.draw(now_ms, ends_ms, room), ledger.next_due())
            };
            if let Some(drawn) = drawn {
                let held = GiveBack { shared, lease: Some(drawn.lease) };
                if let Some(lease) = self.load(drawn).await {
                    held.keep();
                    return lease;
                }
                continue;
            }
            let wait =
                next_due.map_or(LEASE, |due| Duration::from_millis(due.saturating_sub(now_ms)));
            tokio::select! {
                // The sender lives as long as `self`.
                _ = changes.changed() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Reads what a lease is for. A call that can't be read becomes a dead letter.
    async fn load(&self, drawn: Drawn) -> Option<Lease> {
        let Drawn { number, lease, lane, interruptions, lost } = drawn;
        let read = match self.read(number).await {
            Ok(rows) => self.work(lane.clone(), rows).await,
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok((head, state, work)) => {
                let attempts = state.attempts;
                self.0.shared.ledger.lock().tell(lease, state);
                self.ask(Ask::Lent { number, interruptions: interruptions + 1 });
                let lost = Box::pin(async move {
                    // Nothing is ever sent; the other end is dropped.
                    let _closed = lost.await;
                });
                let (call, function) = (head.call, head.function);
                Some(Lease { id: lease, call, function, lane, attempts, work, lost })
            }
            Err(why) => {
                tracing::error!(number, %why, "a call can't be read");
                let resume = match lane {
                    Lane::Queue(_) => Resume::Run,
                    Lane::Callbacks => Resume::CallBack,
                };
                let now_ms = self.0.shared.clock.now_ms();
                let due_ms = now_ms.saturating_add(millis(self.0.shared.config.dead_letters));
                let note = Some(Note::new("damaged", 0, format!("it can't be read: {why}")));
                let place = Place::Dead(resume);
                // Waits for the disk with the lease held: it is not drawn again meanwhile.
                let buried =
                    self.set(number, State { place, note, due_ms, ..State::new(now_ms) }, None);
                if let Err(error) = buried.await {
                    tracing::error!(number, %error, "a damaged call can't be set aside");
                }
                None
            }
        }
    }

    async fn work(&self, lane: Lane, rows: Rows) -> Result<(Head, State, Work), String> {
        let head = Head::decode(&rows.head)?;
        let state = State::decode(&rows.state)?;
        let work = match lane {
            Lane::Queue(_) => {
                let body = if head.in_file {
                    let path = body::path_of(&self.0.shared.bodies, head.call);
                    let opened = body::of_file(&path, head.length).await;
                    opened.map_err(|error| error.to_string())?
                } else {
                    let row = rows.body.unwrap_or_default();
                    if row.len() as u64 != head.length {
                        return Err("its body has another length".to_owned());
                    }
                    body::of_row(row)
                };
                let wants_answer = head.callback.is_some() || !head.keep_result.is_zero();
                Work::Run { head: Box::new(head.head.clone()), body, wants_answer }
            }
            Lane::Callbacks => {
                let url = head.callback.clone().ok_or("it wants no callback")?;
                let (answer, body) = rows.answer.ok_or("its answer is gone")?;
                Work::CallBack { url, answer: Box::new(records::decode_answer(&answer, body)?) }
            }
        };
        Ok((head, state, work))
    }

    async fn end(&self, lease: LeaseId, settle: Settle) -> Result<(), QueueError> {
        let shared = &self.0.shared;
        let settling = shared.ledger.lock().settling(lease);
        let (number, state, wants) = settling.ok_or(QueueError::LeaseLost)?;
        let is_run = state.place == Place::Run;
        match state.after(&settle, wants, shared.ages(), shared.clock.now_ms()) {
            // Nobody has to wait for what changes nothing.
            Some(next) if matches!(settle, Settle::Release) => {
                let bytes = next.encode().map_err(QueueError::Storage)?;
                let (state, answer, done) = (Box::new(next), None, None);
                self.ask(Ask::Set { number, state, bytes, answer, done });
                Ok(())
            }
            Some(next) => {
                let answer = match settle {
                    Settle::Finished(answer) | Settle::Dead(_, answer) => answer,
                    Settle::Again { .. } | Settle::Release => None,
                };
                let is_wanted = wants.callback || !wants.keep_result.is_zero();
                self.set(number, next, answer.filter(|_| is_run && is_wanted)).await
            }
            None => self.forget(number).await,
        }
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

    async fn view(&self, call: CallId) -> Result<CallView, QueueError> {
        let number = self.number(call)?;
        // It may have been forgotten since.
        let rows = self.read(number).await.map_err(|error| match self.number(call) {
            Ok(_) => error,
            Err(gone) => gone,
        })?;
        let head = Head::decode(&rows.head).map_err(QueueError::Storage)?;
        let state = State::decode(&rows.state).map_err(QueueError::Storage)?;
        let is_leased = self.0.shared.ledger.lock().get(number).is_some_and(Entry::is_leased);
        let answer = match rows.answer {
            Some((answer, body)) => {
                Some(records::decode_answer(&answer, body).map_err(QueueError::Storage)?.status)
            }
            None => None,
        };
        Ok(CallView {
            call,
            function: head.function,
            queue: head.queue,
            state: state.shown(is_leased),
            attempts: state.attempts,
            method: head.head.method,
            path: head.head.full_uri.path().to_owned(),
            body: head.length,
            created_ms: head.created_ms,
            due_ms: state.due_ms,
            callback: head.callback.map(|url| {
                let host = url.authority().map_or("", |authority| authority.as_str());
                format!("{}://{host}{}", url.scheme_str().unwrap_or_default(), url.path())
            }),
            note: state.verdict.or(state.note),
            answer,
        })
    }

    async fn views(
        &self,
        filter: CallFilter,
        after: Option<CallId>,
        limit: usize,
    ) -> Result<Vec<CallView>, QueueError> {
        let mut before = after.map_or(Ok(u64::MAX), |call| self.number(call))?;
        let mut views = Vec::new();
        loop {
            let wanted = limit - views.len();
            let (numbers, next) = self.0.shared.ledger.lock().page(&filter, before, wanted, LOOK);
            for number in numbers {
                let call = self.0.shared.ledger.lock().get(number).map(|entry| entry.call);
                let Some(call) = call else { continue };
                match self.view(call).await {
                    Ok(view) => views.push(view),
                    Err(QueueError::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            match next {
                Some(next) if views.len() < limit => before = next,
                _ => return Ok(views),
            }
        }
    }

    async fn again(&self, call: CallId) -> Result<CallView, QueueError> {
        let number = self.number(call)?;
        let rows = self.read(number).await?;
        let state = State::decode(&rows.state).map_err(QueueError::Storage)?;
        let standing =
            self.0.shared.ledger.lock().get(number).map(|entry| (entry.shown(), entry.is_leased()));
        let (shown, is_leased) = standing.ok_or(QueueError::NotFound(call))?;
        let conflict = |wanted| QueueError::Conflict { call, state: shown, wanted };
        if is_leased {
            return Err(conflict("it is being worked at; wait for its end, or cancel it"));
        }
        let state = state
            .again(self.0.shared.clock.now_ms())
            .ok_or_else(|| conflict("there is nothing to be done again"))?;
        self.set(number, state, None).await?;
        self.view(call).await
    }

    async fn forget_all(&self, filter: CallFilter) -> Result<u64, QueueError> {
        let (mut before, mut forgotten) = (u64::MAX, 0);
        loop {
            let (numbers, next) = self.0.shared.ledger.lock().page(&filter, before, LOOK, LOOK);
            let mut written = Vec::new();
            for number in numbers {
                let is_leased =
                    self.0.shared.ledger.lock().get(number).is_none_or(Entry::is_leased);
                if !is_leased {
                    let (done, waits) = oneshot::channel();
                    self.ask(Ask::Forget { number, done: Some(done) });
                    written.push(waits);
                }
            }
            for written in written {
                written.await.map_err(|_| QueueError::Storage(ended()))?;
                forgotten += 1;
            }
            match next {
                Some(next) => before = next,
                None => return Ok(forgotten),
            }
        }
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
        // Bodies are on the disk before the call that needs them, and go after it.
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

/// Gives back a lease that nobody got to see.
struct GiveBack<'a> {
    shared: &'a Shared,
    lease: Option<LeaseId>,
}

impl GiveBack<'_> {
    fn keep(mut self) {
        self.lease = None;
    }
}

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease {
            self.shared.ledger.lock().give_back(lease);
            self.shared.changed();
        }
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

/// The ledger of what is on disk, and what is to be written of calls that are given up now.
fn recover(contents: Contents, config: &Config, now_ms: u64) -> Result<(Ledger, Vec<Row>), String> {
    let (mut ledger, mut given_up) = (Ledger::default(), Vec::new());
    for stored in contents.calls {
        let named = |error: String| format!("call {}: {error}", stored.number);
        let head = Head::decode(&stored.head).map_err(named)?;
        let mut state = State::decode(&stored.state).map_err(named)?;
        let cost = cost_of(&stored.head, head.length);
        if state.is_open() && stored.interruptions >= INTERRUPTIONS {
            let resume = if state.place == Place::Run { Resume::Run } else { Resume::CallBack };
            let message = format!("the server ended {} times while it ran", stored.interruptions);
            state.place = Place::Dead(resume);
            state.due_ms = now_ms.saturating_add(millis(config.dead_letters));
            state.note = Some(Note::new("interrupted", 0, message));
            let bytes = state.encode().map_err(named)?;
            given_up.push(Row::Set { number: stored.number, state: bytes, answer: None });
        }
        let wants = head.wants();
        let (call, function, queue) = (head.call, head.function, head.queue);
        let mut entry = Entry::new(call, function, queue, wants, &state, cost, head.in_file);
        entry.interruptions = stored.interruptions;
        entry.answer = stored.answer;
        ledger.insert(stored.number, entry);
    }
    for (hash, used) in contents.keys {
        ledger.insert_key(hash, used);
    }
    Ok((ledger, given_up))
}

/// Removes bodies that belong to no call: of calls that were never acknowledged, or that ended.
fn remove_strays(bodies: &Path, ledger: &Ledger) -> std::io::Result<()> {
    let mut strays = HashSet::new();
    for entry in std::fs::read_dir(bodies)? {
        let entry = entry?;
        let call = entry.file_name().to_str().and_then(CallId::parse);
        if call.is_none_or(|call| ledger.number(call).is_none()) {
            strays.insert(entry.path());
        }
    }
    strays.iter().for_each(|path| body::remove(path));
    Ok(())
}

/// What a record and its bytes count for.
fn cost_of(record: &[u8], body: u64) -> u64 {
    CALL_COST + record.len() as u64 + body
}

/// A key is a function's own.
fn key_hash(function: &FunctionName, key: &str) -> [u8; 32] {
    Sha256::digest(format!("{}\0{}\0{key}", function.namespace, function.name)).into()
}

/// The sum of a request, to which its body is still to be added.
fn request_sum(call: &NewCall) -> Sha256 {
    let mut sum = Sha256::new();
    sum.update(format!("{} {}\0", call.head.method, call.head.uri));
    sum
}

fn ended() -> String {
    "the queue has ended".to_owned()
}
