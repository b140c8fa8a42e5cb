//! The queue's file: bytes by number. A batch of changes is one durable transaction.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use dhow_core::call::CallId;
use dhow_disk::database;
use parking_lot::RwLock;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};

use super::ledger::{KeyHash, KeyUse};

/// The format of this file that is written and read.
pub(super) const FORMAT: u64 = 1;
/// Memory that redb may use.
const CACHE: usize = 64 << 20;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const HEADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("heads");
const BODIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bodies");
const STATES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("states");
const ANSWER_HEADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("answer-heads");
const ANSWER_BODIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("answer-bodies");
/// Leases that are held, with how many there were before that ended with their process.
const LEASES: TableDefinition<'_, u64, u32> = TableDefinition::new("leases");
/// Call, expiry in milliseconds since 1970, and the sum of the request.
const KEYS: TableDefinition<'_, &[u8; 32], (u128, u64, &[u8; 32])> = TableDefinition::new("keys");
const FORMAT_KEY: &str = "format";

/// How the file is opened, again where that is needed.
pub(super) type OpenDatabase = Box<dyn Fn() -> Result<Database, redb::Error> + Send + Sync>;

/// The file.
pub(super) struct Disk {
    open: OpenDatabase,
    /// redb refuses everything after a failed write, so then it is closed.
    database: RwLock<Option<Database>>,
    /// Another process may have the file: it is not opened. Changed with `database` locked.
    is_closed: AtomicBool,
    /// It was found damaged while it was open.
    is_suspect: AtomicBool,
}

/// One change.
#[derive(Debug)]
pub(super) enum Row {
    /// A new call.
    Take {
        number: u64,
        head: Vec<u8>,
        state: Vec<u8>,
        /// `None` where it is a file.
        body: Option<Bytes>,
        key: Option<(KeyHash, KeyUse)>,
    },
    /// A call now stands elsewhere, and nobody has it.
    Set {
        number: u64,
        state: Vec<u8>,
        answer: Option<(Vec<u8>, Bytes)>,
        /// An answer that is there goes.
        forgets_answer: bool,
    },
    /// A call is no more.
    Forget { number: u64 },
    /// Somebody has a call.
    Lent { number: u64, interruptions: u32 },
    /// A key counts no more.
    ForgetKey { hash: KeyHash },
}

/// What is written of one call.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) head: Vec<u8>,
    pub(super) state: Vec<u8>,
    pub(super) body: Option<Bytes>,
    pub(super) answer: Option<(Vec<u8>, Bytes)>,
}

/// What is shown of one call.
#[derive(Debug)]
pub(super) struct Heads {
    pub(super) head: Vec<u8>,
    pub(super) state: Vec<u8>,
    pub(super) answer: Option<Vec<u8>>,
}

/// Who reads the file at the start.
pub(super) trait Read {
    /// Hears of a call; in the order of their numbers.
    ///
    /// # Errors
    /// Why it is none.
    fn call(&mut self, call: StoredCall<'_>) -> Result<(), String>;

    /// Hears of a key.
    fn key(&mut self, hash: KeyHash, used: KeyUse);
}

/// One call, as it is read at the start.
#[derive(Debug)]
pub(super) struct StoredCall<'a> {
    pub(super) number: u64,
    pub(super) head: &'a [u8],
    pub(super) state: &'a [u8],
    /// Bytes of its answer, where it has one.
    pub(super) answer: Option<u64>,
    /// Leases that ended with their process.
    pub(super) interruptions: u32,
}

impl Disk {
    /// Opens the file, looks it through, and has it read. Also its format.
    pub(super) fn open(
        open: OpenDatabase,
        read: &mut dyn Read,
    ) -> Result<(Self, u64), redb::Error> {
        let (database, format) = database::guarded(|| {
            let mut database = open()?;
            prepare(&database)?;
            database::look_through(&mut database, "the file of asynchronous calls")?;
            let format = load(&database, read)?;
            Ok((database, format))
        })?;
        let database = RwLock::new(Some(database));
        Ok((
            Self {
                open,
                database,
                is_closed: AtomicBool::new(false),
                is_suspect: AtomicBool::new(false),
            },
            format,
        ))
    }

    /// Writes everything, durably, or nothing.
    pub(super) fn write(&self, rows: &[Row]) -> Result<(), redb::Error> {
        let written = self.with(|database| transaction(database, rows));
        if written.is_err() {
            // Opened again by whoever needs it next.
            *self.database.write() = None;
        }
        written
    }

    /// What is written of one call; `None` where nothing is.
    pub(super) fn read(&self, number: u64) -> Result<Option<Rows>, redb::Error> {
        self.with(|database| {
            let read = database.begin_read()?;
            let bytes = |table: TableDefinition<'_, u64, &[u8]>| {
                let found = read.open_table(table)?.get(number)?;
                Ok::<_, redb::Error>(found.map(|bytes| bytes.value().to_vec()))
            };
            let (Some(head), Some(state)) = (bytes(HEADS)?, bytes(STATES)?) else {
                return Ok(None);
            };
            let answer = match bytes(ANSWER_HEADS)? {
                Some(head) => Some((head, bytes(ANSWER_BODIES)?.unwrap_or_default().into())),
                None => None,
            };
            Ok(Some(Rows { head, state, body: bytes(BODIES)?.map(Bytes::from), answer }))
        })
    }

    /// What is written of these calls, without bodies and answers: of those of which anything is.
    pub(super) fn heads(&self, numbers: &[u64]) -> Result<Vec<(u64, Heads)>, redb::Error> {
        self.with(|database| {
            let read = database.begin_read()?;
            let (heads, states) = (read.open_table(HEADS)?, read.open_table(STATES)?);
            let answers = read.open_table(ANSWER_HEADS)?;
            let mut found = Vec::with_capacity(numbers.len());
            for &number in numbers {
                let (Some(head), Some(state)) = (heads.get(number)?, states.get(number)?) else {
                    continue;
                };
                let (head, state) = (head.value().to_vec(), state.value().to_vec());
                let answer = answers.get(number)?.map(|answer| answer.value().to_vec());
                found.push((number, Heads { head, state, answer }));
            }
            Ok(found)
        })
    }

    /// Works on the file beside others, and not while it is opened again.
    fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        if self.is_suspect.swap(false, Relaxed) {
            *self.database.write() = None;
        }
        let slot = self.database.read();
        if let Some(database) = &*slot {
            return self.guarded(|| work(database));
        }
        drop(slot);
        let mut slot = self.database.write();
        let database = match slot.take() {
            Some(database) => database,
            None if self.is_closed.load(Relaxed) => return Err(redb::Error::DatabaseClosed),
            None => database::guarded(|| (self.open)())?,
        };
        let database = &*slot.insert(database);
        self.guarded(|| work(database))
    }

    /// Runs `work`, which may find the file damaged; then it is opened again by whoever needs it next.
    fn guarded<T>(&self, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
        let worked = database::guarded(work);
        if matches!(worked, Err(redb::Error::Corrupted(_))) {
            self.is_suspect.store(true, Relaxed);
        }
        worked
    }

    /// Runs `copy` while nothing is written.
    pub(super) fn paused(&self, copy: &mut dyn FnMut()) {
        let _nobody_else = self.database.write();
        copy();
    }

    /// Closes the file for good, so that another process may open it.
    pub(super) fn close(&self) {
        let mut slot = self.database.write();
        *slot = None;
        self.is_closed.store(true, Relaxed);
    }
}

fn transaction(database: &Database, rows: &[Row]) -> Result<(), redb::Error> {
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    // The sums that tell a torn commit from a whole one can be forged by whoever chooses what is
    // written, and that is any caller; the second phase does without them.
    write.set_two_phase_commit(true);
    apply(&write, rows)?;
    write.commit()?;
    Ok(())
}

fn apply(write: &WriteTransaction, rows: &[Row]) -> Result<(), redb::Error> {
    let mut heads = write.open_table(HEADS)?;
    let mut bodies = write.open_table(BODIES)?;
    let mut states = write.open_table(STATES)?;
    let mut answer_heads = write.open_table(ANSWER_HEADS)?;
    let mut answer_bodies = write.open_table(ANSWER_BODIES)?;
    let mut leases = write.open_table(LEASES)?;
    let mut keys = write.open_table(KEYS)?;
    for row in rows {
        match row {
            Row::Take { number, head, state, body, key } => {
                heads.insert(number, head.as_slice())?;
                states.insert(number, state.as_slice())?;
                if let Some(body) = body.as_ref().filter(|body| !body.is_empty()) {
                    bodies.insert(number, &body[..])?;
                }
                if let Some((hash, KeyUse { call, expires_ms, request })) = key {
                    keys.insert(hash, (call.0, *expires_ms, request))?;
                }
            }
            Row::Set { number, state, answer, forgets_answer } => {
                states.insert(number, state.as_slice())?;
                leases.remove(number)?;
                if *forgets_answer {
                    answer_heads.remove(number)?;
                    answer_bodies.remove(number)?;
                }
                if let Some((head, body)) = answer {
                    answer_heads.insert(number, head.as_slice())?;
                    answer_bodies.insert(number, &body[..])?;
                }
            }
            Row::Forget { number } => {
                heads.remove(number)?;
                bodies.remove(number)?;
                states.remove(number)?;
                answer_heads.remove(number)?;
                answer_bodies.remove(number)?;
                leases.remove(number)?;
            }
            Row::Lent { number, interruptions } => {
                leases.insert(number, interruptions)?;
            }
            Row::ForgetKey { hash } => {
                keys.remove(hash)?;
            }
        }
    }
    Ok(())
}

/// Makes the tables of a new file.
fn prepare(database: &Database) -> Result<(), redb::Error> {
    let read = database.begin_read()?;
    match read.open_table(META) {
        Ok(_) => return Ok(()),
        Err(redb::TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    drop(read);
    let mut write = database.begin_write()?;
    write.set_two_phase_commit(true);
    write.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
    apply(&write, &[])?;
    write.commit()?;
    Ok(())
}

/// Reads a file of our format, row by row: its calls may be more than fit in memory at once.
fn load(database: &Database, read: &mut dyn Read) -> Result<u64, redb::Error> {
    let stored = database.begin_read()?;
    let format = stored.open_table(META)?.get(FORMAT_KEY)?.map_or(0, |format| format.value());
    // Nothing but the format is known of a format that is not ours.
    if format != FORMAT {
        return Ok(format);
    }
    let (heads, states) = (stored.open_table(HEADS)?, stored.open_table(STATES)?);
    let answer_heads = stored.open_table(ANSWER_HEADS)?;
    let (answers, leases) = (stored.open_table(ANSWER_BODIES)?, stored.open_table(LEASES)?);
    for entry in states.iter()? {
        let (number, state) = entry?;
        let number = number.value();
        let Some(head) = heads.get(number)? else {
            // Both are written in one transaction.
            return Err(redb::Error::Corrupted(format!("call {number} has lost its head")));
        };
        let answer = match answer_heads.get(number)? {
            Some(head) => {
                let body = answers.get(number)?.map_or(0, |body| body.value().len());
                Some((head.value().len() + body) as u64)
            }
            None => None,
        };
        let call = StoredCall {
            number,
            head: head.value(),
            state: state.value(),
            answer,
            interruptions: leases.get(number)?.map_or(0, |count| count.value()),
        };
        read.call(call).map_err(|why| redb::Error::Corrupted(format!("call {number}: {why}")))?;
    }
    for entry in stored.open_table(KEYS)?.iter()? {
        let (hash, used) = entry?;
        let (call, expires_ms, request) = used.value();
        read.key(*hash.value(), KeyUse { call: CallId(call), expires_ms, request: *request });
    }
    Ok(format)
}

/// Opens `path`, making the file if absent.
pub(super) fn open_file(path: &Path) -> Result<Database, redb::Error> {
    database::open_or_make(path, CACHE, prepare)
}

/// Opens `path`, a copy of the file.
pub(super) fn open_copy(path: &Path) -> Result<Database, redb::Error> {
    database::open(path, CACHE)
}
