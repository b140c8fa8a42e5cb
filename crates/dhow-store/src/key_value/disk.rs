//! The file of one namespace: entries by store and key. What is asked for together is one durable
//! transaction.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use dhow_core::key_value::{
    Change, Changed, ENTRY_COST, KeyValueError, MOST_BATCH, Owner, PAGE, Room, To, Value,
};
use dhow_disk::durable::{Steps as _, System};
use dhow_disk::{is_full, open_private};
use redb::{
    Database, Durability, ReadableDatabase as _, ReadableTable, Table, TableDefinition, TableError,
    WriteTransaction,
};

use super::record;

/// The format of these files that is written and read.
const FORMAT: u64 = 1;
/// Memory that redb may use for one file.
const CACHE: usize = 8 << 20;
/// What begins the name of a file that is being made.
pub(super) const BEGUN: &str = ".begun-";
/// Entries whose time is over that are removed in one transaction.
const SWEPT: usize = 1000;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const FORMAT_KEY: &str = "format";
/// By store and key.
const ENTRIES: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("entries");
/// How many entries a store has, and bytes of all of them.
const USAGE: TableDefinition<'_, &str, (u64, u64)> = TableDefinition::new("usage");
/// Entries that end, by when: milliseconds since 1970, store, key.
const ENDS: TableDefinition<'_, (u64, &str, &str), ()> = TableDefinition::new("ends");

/// Why nothing came of it.
#[derive(Debug)]
pub(super) enum Failed {
    /// For a reason that a guest may hear.
    Refused(KeyValueError),
    /// The file.
    File(redb::Error),
}

macro_rules! from_file {
    ($($error:ty),*) => {$(
        impl From<$error> for Failed {
            fn from(error: $error) -> Self {
                Self::File(error.into())
            }
        }
    )*};
}

from_file!(
    io::Error,
    redb::Error,
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError
);

impl Failed {
    pub(super) fn into_error(self) -> KeyValueError {
        match self {
            Self::Refused(error) => error,
            Self::File(error) => {
                tracing::error!(%error, "a key-value store can't be read or written");
                match error {
                    redb::Error::Io(error) if is_full(&error) => KeyValueError::DiskFull,
                    error => KeyValueError::Storage(error.to_string()),
                }
            }
        }
    }
}

/// Where a file is, or in tests a disk whose power goes.
pub(super) trait Place: Send + Sync {
    /// Whether there is one.
    fn is_made(&self) -> io::Result<bool>;

    /// Opens it, making it if absent.
    fn open(&self) -> Result<Database, redb::Error>;
}

impl Place for PathBuf {
    fn is_made(&self) -> io::Result<bool> {
        self.try_exists()
    }

    fn open(&self) -> Result<Database, redb::Error> {
        if !self.try_exists()? {
            make(self)?;
        }
        check(open_file(self)?)
    }
}

/// Makes a file beside its place and gives it its name once it is whole; another process may have
/// been faster.
fn make(path: &Path) -> Result<(), redb::Error> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let begun = tempfile::Builder::new().prefix(BEGUN).tempfile_in(folder)?;
    initialize(&open_file(begun.path())?)?;
    match begun.persist_noclobber(path) {
        Ok(_) => Ok(System.sync_folder(folder)?),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error.into()),
    }
}

fn open_file(path: &Path) -> Result<Database, redb::Error> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    Ok(builder.create_file(open_private(path)?)?)
}

/// Makes the tables of a new file.
pub(super) fn initialize(database: &Database) -> Result<(), redb::Error> {
    let write = begin(database)?;
    write.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
    write.open_table(ENTRIES)?;
    write.open_table(USAGE)?;
    write.open_table(ENDS)?;
    Ok(write.commit()?)
}

/// The file, if it is of a format that is known.
pub(super) fn check(database: Database) -> Result<Database, redb::Error> {
    let format = match database.begin_read()?.open_table(META) {
        Err(TableError::TableDoesNotExist(_)) => 0,
        table => table?.get(FORMAT_KEY)?.map_or(0, |format| format.value()),
    };
    match format {
        FORMAT => Ok(database),
        0 => Err(redb::Error::Corrupted("it is no key-value store of dhow's".to_owned())),
        newer => Err(redb::Error::Corrupted(format!(
            "it has format {newer}, written by a newer dhow; this one knows {FORMAT}"
        ))),
    }
}

/// What a store is called in its file.
pub(super) fn scope(owner: &Owner) -> String {
    match owner {
        Owner::Function { function, store } => format!("function/{function}/{store}"),
        Owner::Shared(store) => format!("shared/{store}"),
    }
}

/// What is under `keys`.
pub(super) fn get(
    database: &Database,
    scope: &str,
    keys: &[String],
    now_ms: u64,
) -> Result<Vec<Option<Value>>, Failed> {
    let entries = database.begin_read()?.open_table(ENTRIES)?;
    let (mut found, mut bytes) = (Vec::with_capacity(keys.len()), 0);
    for key in keys {
        let entry = entries.get((scope, key.as_str()))?;
        let record = entry.as_ref().map(|entry| entry.value());
        let record = record.filter(|record| record::lives(record, now_ms));
        bytes += record.map_or(0, record::size);
        if bytes > MOST_BATCH {
            return Err(Failed::Refused(KeyValueError::Batch));
        }
        found.push(record.map(|record| decode(key, record)).transpose()?);
    }
    Ok(found)
}

/// Whether something is under `key`.
pub(super) fn exists(
    database: &Database,
    scope: &str,
    key: &str,
    now_ms: u64,
) -> Result<bool, Failed> {
    let entries = database.begin_read()?.open_table(ENTRIES)?;
    let entry = entries.get((scope, key))?;
    Ok(entry.is_some_and(|entry| record::lives(entry.value(), now_ms)))
}

/// A page of keys.
pub(super) fn keys(
    database: &Database,
    scope: &str,
    after: &str,
    now_ms: u64,
) -> Result<Vec<String>, Failed> {
    let entries = database.begin_read()?.open_table(ENTRIES)?;
    let from = (Bound::Excluded((scope, after)), Bound::Unbounded);
    let mut keys = Vec::new();
    for entry in entries.range::<(&str, &str)>(from)? {
        let (key, record) = entry?;
        let (store, key) = key.value();
        if store != scope || keys.len() == PAGE {
            break;
        }
        if record::lives(record.value(), now_ms) {
            keys.push(key.to_owned());
        }
    }
    Ok(keys)
}

/// What is asked for of one store: all of it or nothing.
pub(super) struct Batch<'a> {
    pub(super) scope: &'a str,
    pub(super) room: Room,
    pub(super) changes: &'a [Change],
}

/// What came of one batch.
pub(super) type Made = Result<Vec<Changed>, KeyValueError>;

/// Makes each of `batches`, durably; one that is refused leaves the others as they are.
pub(super) fn change(
    database: &Database,
    batches: &[Batch<'_>],
    now_ms: u64,
) -> Result<Vec<Made>, Failed> {
    let write = begin(database)?;
    let made = {
        let mut tables = Tables::open(&write)?;
        tables.sweep(now_ms)?;
        let make = |batch: &Batch<'_>| match tables.make(batch, now_ms) {
            Ok(changed) => Ok(Ok(changed)),
            Err(Failed::Refused(error)) => Ok(Err(error)),
            Err(failed) => Err(failed),
        };
        batches.iter().map(make).collect::<Result<Vec<_>, Failed>>()?
    };
    match made.iter().any(Result::is_ok) {
        true => write.commit()?,
        // Nothing is changed that anybody could see, and no sync needed.
        false => write.abort()?,
    }
    Ok(made)
}

fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    // The sums that tell a torn commit from a whole one can be forged by whoever chooses what is
    // written, and that is any guest; the second phase does without them.
    write.set_two_phase_commit(true);
    Ok(write)
}

/// The tables of one transaction.
struct Tables<'t> {
    entries: Table<'t, (&'static str, &'static str), &'static [u8]>,
    usage: Table<'t, &'static str, (u64, u64)>,
    ends: Table<'t, (u64, &'static str, &'static str), ()>,
}

/// What is to be under a key, and when that ends.
type Entry = Option<(Value, u64)>;

/// What a store holds.
#[derive(Clone, Copy)]
struct Held {
    keys: u64,
    bytes: u64,
}

impl<'t> Tables<'t> {
    fn open(write: &'t WriteTransaction) -> Result<Self, Failed> {
        Ok(Self {
            entries: write.open_table(ENTRIES)?,
            usage: write.open_table(USAGE)?,
            ends: write.open_table(ENDS)?,
        })
    }

    fn make(&mut self, batch: &Batch<'_>, now_ms: u64) -> Result<Vec<Changed>, Failed> {
        let (planned, changed) = self.plan(batch, now_ms)?;
        let before = self.held(batch.scope)?;
        let mut held = before;
        for (key, entry) in &planned {
            let old = self.entries.get((batch.scope, *key))?;
            if let Some(old) = old {
                held.keys -= 1;
                held.bytes -= cost(key, record::size(old.value()));
            }
            if let Some((value, _)) = entry {
                held.keys += 1;
                held.bytes += cost(key, value.size());
            }
        }
        let Room { size, keys } = batch.room;
        if held.keys > before.keys && held.keys > u64::from(keys) {
            return Err(Failed::Refused(KeyValueError::TooManyKeys(keys)));
        }
        if held.bytes > before.bytes && held.bytes > size {
            return Err(Failed::Refused(KeyValueError::TooLarge(size)));
        }
        for (key, entry) in planned {
            self.put(batch.scope, key, entry)?;
        }
        self.set_held(batch.scope, held)?;
        Ok(changed)
    }

    /// What the batch leaves under each key that it is about, and what each change gives.
    fn plan<'b>(
        &self,
        batch: &Batch<'b>,
        now_ms: u64,
    ) -> Result<(BTreeMap<&'b str, Entry>, Vec<Changed>), Failed> {
        let mut planned = BTreeMap::new();
        let mut changed = Vec::with_capacity(batch.changes.len());
        for change in batch.changes {
            let key = change.key.as_str();
            let current = match planned.remove(key) {
                Some(entry) => entry,
                None => self.entry(batch.scope, key, now_ms)?,
            };
            // Only what is set anew ends at another time than what was there.
            let ends_ms = match &change.to {
                To::Set { lives: Some(lives), .. } => {
                    let lives = u64::try_from(lives.as_millis()).unwrap_or(u64::MAX);
                    now_ms.saturating_add(lives)
                }
                To::Set { lives: None, .. } => 0,
                _ => current.as_ref().map_or(0, |(_, ends_ms)| *ends_ms),
            };
            let value = current.map(|(value, _)| value);
            let (value, gave) = change.apply(value).map_err(Failed::Refused)?;
            planned.insert(key, value.map(|value| (value, ends_ms)));
            changed.push(gave);
        }
        Ok((planned, changed))
    }

    fn entry(&self, scope: &str, key: &str, now_ms: u64) -> Result<Entry, Failed> {
        let Some(entry) = self.entries.get((scope, key))? else { return Ok(None) };
        let record = entry.value();
        match record::lives(record, now_ms) {
            true => Ok(Some((decode(key, record)?, record::expires_ms(record)))),
            false => Ok(None),
        }
    }

    /// Puts `entry` in the place of what is there.
    fn put(&mut self, scope: &str, key: &str, entry: Entry) -> Result<(), Failed> {
        let ended = match &entry {
            Some((value, ends_ms)) => {
                let record = record::encode(value, *ends_ms);
                let old = self.entries.insert((scope, key), record.as_slice())?;
                old.map(|old| record::expires_ms(old.value()))
            }
            None => {
                let old = self.entries.remove((scope, key))?;
                old.map(|old| record::expires_ms(old.value()))
            }
        };
        if let Some(ended @ 1..) = ended {
            self.ends.remove((ended, scope, key))?;
        }
        if let Some((_, ends_ms @ 1..)) = entry {
            self.ends.insert((ends_ms, scope, key), ())?;
        }
        Ok(())
    }

    /// Removes entries whose time is over.
    fn sweep(&mut self, now_ms: u64) -> Result<(), Failed> {
        let mut over = Vec::new();
        for entry in self.ends.range((0, "", "")..)?.take(SWEPT) {
            let (key, ()) = entry.map(|(key, value)| (key, value.value()))?;
            let (ends_ms, scope, key) = key.value();
            if ends_ms > now_ms {
                break;
            }
            over.push((scope.to_owned(), key.to_owned()));
        }
        for (scope, key) in over {
            let mut held = self.held(&scope)?;
            if let Some(old) = self.entries.get((scope.as_str(), key.as_str()))? {
                held.keys -= 1;
                held.bytes -= cost(&key, record::size(old.value()));
            }
            self.put(&scope, &key, None)?;
            self.set_held(&scope, held)?;
        }
        Ok(())
    }

    fn held(&self, scope: &str) -> Result<Held, Failed> {
        let (keys, bytes) = self.usage.get(scope)?.map_or((0, 0), |usage| usage.value());
        Ok(Held { keys, bytes })
    }

    fn set_held(&mut self, scope: &str, Held { keys, bytes }: Held) -> Result<(), Failed> {
        match keys {
            0 => drop(self.usage.remove(scope)?),
            _ => drop(self.usage.insert(scope, (keys, bytes))?),
        }
        Ok(())
    }
}

/// What an entry counts in its store.
fn cost(key: &str, value: usize) -> u64 {
    (ENTRY_COST + key.len() + value) as u64
}

fn decode(key: &str, record: &[u8]) -> Result<Value, Failed> {
    let damaged = || redb::Error::Corrupted(format!("what is under `{key}` is no value"));
    record::decode(record).ok_or_else(|| Failed::File(damaged()))
}
