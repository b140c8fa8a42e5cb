//! One namespace's file while it is used: opened at need, written by one thread at a time, which
//! takes all that has come meanwhile.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

use dhow_core::key_value::{Change, Changed, KeyValueError, Room};
use parking_lot::{Mutex, RwLock};
use redb::Database;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::disk::{self, Batch, Failed, Place};

/// Bytes of changes in one transaction, but for its last ask.
const BATCH: usize = 8 << 20;
/// How long another process is waited for that has the file: it has it for moments.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is tried meanwhile, and for how long one that shares a file leaves it alone.
const AGAIN: Duration = Duration::from_millis(1);
const LEAVES: Duration = Duration::from_millis(4);

/// How all files are used now.
pub(super) struct Manner {
    /// Read by whoever works on a file; written where all must stand still.
    moving: RwLock<()>,
    shared: AtomicBool,
    /// Where the files are.
    folder: Option<PathBuf>,
}

/// Changes that are to be made together.
pub(super) struct Ask {
    pub(super) scope: String,
    pub(super) room: Room,
    pub(super) changes: Vec<Change>,
    pub(super) reply: oneshot::Sender<Result<Vec<Changed>, KeyValueError>>,
    /// Its share of the memory for changes on their way.
    pub(super) _memory: OwnedSemaphorePermit,
}

/// One file.
pub(super) struct NamespaceFile {
    place: Box<dyn Place>,
    manner: Arc<Manner>,
    database: RwLock<Option<Database>>,
    used: Mutex<Instant>,
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    asks: Vec<Ask>,
    /// Somebody has the turn, and will see what comes.
    has_writer: bool,
}

/// The turn to write. Whoever has it writes until nothing is left.
pub(super) struct Turn {
    file: Arc<NamespaceFile>,
    is_over: bool,
}

impl Manner {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self { moving: RwLock::new(()), shared: AtomicBool::new(false), folder }
    }

    /// Has files shared from now on, after `close` has closed those that are open.
    pub(super) fn share(&self, close: impl FnOnce()) {
        let _nothing_moves = self.moving.write();
        self.shared.store(true, Relaxed);
        close();
    }

    pub(super) fn own(&self) {
        let _nothing_moves = self.moving.write();
        self.shared.store(false, Relaxed);
    }

    /// Runs `copy` while nothing is written, by nobody.
    pub(super) fn paused(&self, copy: &mut dyn FnMut()) {
        let _nothing_moves = self.moving.write();
        // What another process might have open is held against it.
        let held = match self.shared.load(Relaxed) {
            true => self.hold_all(),
            false => vec![],
        };
        copy();
        drop(held);
    }

    fn hold_all(&self) -> Vec<Database> {
        let Some(folder) = &self.folder else { return vec![] };
        let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let paths = files.map(|file| file.path());
        let stores = paths.filter(|path| path.extension().is_some_and(|kind| kind == "redb"));
        // One that can't be opened is written by nobody.
        stores.filter_map(|path| open_patiently(&path).ok()).collect()
    }
}

impl NamespaceFile {
    pub(super) fn new(place: Box<dyn Place>, manner: Arc<Manner>) -> Self {
        Self {
            place,
            manner,
            database: RwLock::new(None),
            used: Mutex::new(Instant::now()),
            inbox: Mutex::default(),
        }
    }

    /// Reads; where there is no file, there is nothing.
    pub(super) fn read<T: Default>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Failed>,
    ) -> Result<T, KeyValueError> {
        let read = || match self.place.is_made()? {
            true => self.with(work),
            false => Ok(T::default()),
        };
        read().map_err(Failed::into_error)
    }

    /// Whether it may be open.
    pub(super) fn is_open(&self) -> bool {
        self.database.try_read().is_none_or(|database| database.is_some())
    }

    pub(super) fn close(&self) {
        *self.database.write() = None;
    }

    pub(super) fn close_if_idle(&self, idle: Duration) {
        let Some(_moving) = self.manner.moving.try_read() else { return };
        if self.used.lock().elapsed() >= idle
            && !self.inbox.lock().has_writer
            && let Some(mut database) = self.database.try_write()
        {
            *database = None;
        }
    }

    /// Works on the file beside others, and not while it is opened.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failed>) -> Result<T, Failed> {
        let _moving = self.manner.moving.read();
        *self.used.lock() = Instant::now();
        // redb panics on some damaged files. What it worked on is dropped then.
        let done = catch_unwind(AssertUnwindSafe(|| match self.manner.shared.load(Relaxed) {
            true => self.work_briefly(work),
            false => self.work(work),
        }));
        let done = done.unwrap_or_else(|_| {
            let damaged = "its parts contradict each other".to_owned();
            Err(Failed::File(redb::Error::Corrupted(damaged)))
        });
        if let Err(Failed::File(_)) = done {
            // redb refuses everything after a failed write; whoever comes next opens it again.
            self.close();
        }
        done
    }

    fn work<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failed>) -> Result<T, Failed> {
        let slot = self.database.read();
        if let Some(database) = &*slot {
            return work(database);
        }
        drop(slot);
        let mut slot = self.database.write();
        let database = match slot.take() {
            Some(database) => database,
            None => open_patiently(&*self.place)?,
        };
        work(slot.insert(database))
    }

    fn work_briefly<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let _alone = self.database.write();
        let database = open_patiently(&*self.place)?;
        let done = work(&database);
        drop(database);
        sleep(LEAVES);
        done
    }
}

/// Opens a file that another process may have for a moment.
fn open_patiently(place: &dyn Place) -> Result<Database, redb::Error> {
    let until = Instant::now() + PATIENCE;
    loop {
        match place.open() {
            Err(redb::Error::DatabaseAlreadyOpen) if Instant::now() < until => sleep(AGAIN),
            opened => return opened,
        }
    }
}

impl Turn {
    /// Leaves `ask` at `file`; gives the turn where nobody has it.
    pub(super) fn of(file: Arc<NamespaceFile>, ask: Ask) -> Option<Self> {
        let mut inbox = file.inbox.lock();
        inbox.asks.push(ask);
        let had_writer = std::mem::replace(&mut inbox.has_writer, true);
        drop(inbox);
        (!had_writer).then(|| Self { file, is_over: false })
    }

    /// Writes until nothing is left to be written. Waits for the disk.
    pub(super) fn write_all(mut self, now_ms: fn() -> u64) {
        while let Some(asks) = self.next() {
            let batches: Vec<_> = asks.iter().map(Ask::batch).collect();
            let change = |database: &_| disk::change(database, &batches, now_ms());
            let made = self.file.with(change).map_err(Failed::into_error);
            drop(batches);
            let mut made = made.map(Vec::into_iter);
            for ask in asks {
                let answer = match &mut made {
                    Ok(made) => made.next().unwrap_or(Ok(vec![])),
                    Err(error) => Err(error.clone()),
                };
                // Who asked may have gone; what is written stays.
                drop(ask.reply.send(answer));
            }
        }
    }

    fn next(&mut self) -> Option<Vec<Ask>> {
        let mut inbox = self.file.inbox.lock();
        let mut bytes = 0;
        let mut fits = |ask: &Ask| {
            bytes += ask.changes.iter().map(Change::bytes_under_way).sum::<usize>();
            bytes <= BATCH
        };
        let count = inbox.asks.iter().take_while(|ask| fits(ask)).count();
        if inbox.asks.is_empty() {
            // Under the lock: whoever comes now takes the turn.
            inbox.has_writer = false;
            self.is_over = true;
            return None;
        }
        let count = count.clamp(1, inbox.asks.len());
        let rest = inbox.asks.split_off(count);
        Some(std::mem::replace(&mut inbox.asks, rest))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // It was never begun, or broke off: those who wait hear of it by their replies, which go.
        let mut inbox = self.file.inbox.lock();
        inbox.has_writer = false;
        inbox.asks.clear();
    }
}

impl Ask {
    fn batch(&self) -> Batch<'_> {
        Batch { scope: &self.scope, room: self.room, changes: &self.changes }
    }
}
