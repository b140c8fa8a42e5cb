//! The queue's file: bytes by number. A batch of changes is one durable transaction.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use dhow_core::call::CallId;
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
pub type OpenDatabase = Box<dyn Fn() -> Result<Database, redb::Error> + Send + Sync>;

/// The file.
pub(super) struct Disk {
    open: OpenDatabase,
    /// redb refuses everything after a failed write, so then it is closed.
    database: RwLock<Option<Database>>,
    /// Another process may have the file: it is not opened. Changed with `database` locked.
    is_let_go: AtomicBool,
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
    Set { number: u64, state: Vec<u8>, answer: Option<(Vec<u8>, Bytes)> },
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

/// Everything that is read at the start.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) format: u64,
    pub(super) calls: Vec<StoredCall>,
    pub(super) keys: Vec<(KeyHash, KeyUse)>,
}

/// One call, as it is read at the start.
#[derive(Debug)]
pub(super) struct StoredCall {
    pub(super) number: u64,
    pub(super) head: Vec<u8>,
    pub(super) state: Vec<u8>,
    /// Bytes of its answer.
    pub(super) answer: u64,
    /// Leases that ended with their process.
    pub(super) interruptions: u32,
}

impl Disk {
    /// Opens the file and reads what the ledger needs.
    pub(super) fn open(open: OpenDatabase) -> Result<(Self, Contents), redb::Error> {
        let database = open()?;
        prepare(&database)?;
        let contents = load(&database)?;
        let database = RwLock::new(Some(database));
        Ok((Self { open, database, is_let_go: AtomicBool::new(false) }, contents))
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

    /// Works on the file beside others, and not while it is opened again.
    fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let slot = self.database.read();
        if let Some(database) = &*slot {
            return work(database);
        }
        drop(slot);
        let mut slot = self.database.write();
        let database = match slot.take() {
            Some(database) => database,
            None if self.is_let_go.load(Relaxed) => return Err(redb::Error::DatabaseClosed),
            None => (self.open)()?,
        };
        work(slot.insert(database))
    }

    /// Runs `copy` while nothing is written.
    pub(super) fn paused(&self, copy: &mut dyn FnMut()) {
        let _nobody_else = self.database.write();
        copy();
    }

    /// Closes the file, so that another process may open it.
    pub(super) fn let_go(&self) {
        let mut slot = self.database.write();
        *slot = None;
        self.is_let_go.store(true, Relaxed);
    }

    /// Lets the file be opened again, by whoever needs it next.
    pub(super) fn take_again(&self) {
        let _nobody_else = self.database.write();
        self.is_let_go.store(false, Relaxed);
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
            Row::Set { number, state, answer } => {
                states.insert(number, state.as_slice())?;
                leases.remove(number)?;
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

fn load(database: &Database) -> Result<Contents, redb::Error> {
    let read = database.begin_read()?;
    let format = read.open_table(META)?.get(FORMAT_KEY)?.map_or(0, |format| format.value());
    let mut contents = Contents { format, ..Contents::default() };
    // Nothing but the format is known of a format that is not ours.
    if format != FORMAT {
        return Ok(contents);
    }
    let (heads, states) = (read.open_table(HEADS)?, read.open_table(STATES)?);
    let (answers, leases) = (read.open_table(ANSWER_BODIES)?, read.open_table(LEASES)?);
    for entry in states.iter()? {
        let (number, state) = entry?;
        let number = number.value();
        let Some(head) = heads.get(number)? else {
            // Both are written in one transaction.
            return Err(redb::Error::Corrupted(format!("call {number} has lost its head")));
        };
        contents.calls.push(StoredCall {
            number,
            head: head.value().to_vec(),
            state: state.value().to_vec(),
            answer: answers.get(number)?.map_or(0, |body| body.value().len() as u64),
            interruptions: leases.get(number)?.map_or(0, |count| count.value()),
        });
    }
    for entry in read.open_table(KEYS)?.iter()? {
        let (hash, used) = entry?;
        let (call, expires_ms, request) = used.value();
        let used = KeyUse { call: CallId(call), expires_ms, request: *request };
        contents.keys.push((*hash.value(), used));
    }
    Ok(contents)
}

/// Opens `path`, making the file if absent. A new one is made beside its place and then renamed,
/// so that a file which was begun when the power went is none.
pub(super) fn open_file(path: &Path) -> Result<Database, redb::Error> {
    if !path.try_exists()? {
        let begun = path.with_extension("begun");
        if begun.try_exists()? {
            fs::remove_file(&begun)?;
        }
        prepare(&database_in(&begun)?)?;
        fs::rename(&begun, path)?;
        if let Some(folder) = path.parent() {
            sync_folder(folder)?;
        }
    }
    database_in(path)
}

fn database_in(path: &Path) -> Result<Database, redb::Error> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    // A file that was copied here may have come with a wider mode.
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    Ok(Database::builder().set_cache_size(CACHE).create_file(file)?)
}

/// Makes a folder that its owner alone may enter, if absent.
pub(super) fn make_folder(path: &Path) -> io::Result<PathBuf> {
    if !path.is_dir() {
        DirBuilder::new().mode(0o700).create(path)?;
    }
    Ok(path.to_owned())
}

/// Makes the entries of a folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Whether the disk, or the user's share of it, is used up.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
