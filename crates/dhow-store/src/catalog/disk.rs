//! The catalog's file: bytes by name. Every change is one durable transaction.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use dhow_core::name::FunctionName;
use dhow_core::traffic::Traffic;
use dhow_disk::database;
use dhow_disk::durable::{self, Steps as _, System};
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    TableError, WriteTransaction,
};
use tempfile::NamedTempFile;

use super::format::{self, FORMAT, Found};

/// Memory that redb may use. Readers use the snapshot, so pages are read at the start and when
/// something is written.
const CACHE: usize = 2 << 20;

const VERSION: &str = "version";
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const FUNCTIONS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("functions");
const REVISIONS: TableDefinition<'_, (&str, &str, u64), &[u8]> = TableDefinition::new("revisions");
/// The last number given to a revision of a name. It outlives the function.
const NUMBERS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("revision-numbers");
/// Made with the first token: a file without it has none.
const TOKENS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tokens");
/// By namespace; made with the first quota.
const QUOTAS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("quotas");

/// How the file is opened: as one of the system's, or in tests on a disk whose power goes.
pub(super) type Open = Box<dyn Fn() -> Result<Database, redb::Error> + Send>;

/// The file, open or to be opened again.
pub(super) struct Disk {
    open: Open,
    /// redb refuses everything after a failed write, so then it is closed.
    database: Option<Database>,
    /// Another process may have the file: it is not opened again.
    is_let_go: bool,
}

/// All that the file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) format: Found,
    pub(super) version: u64,
    /// By namespace and name, in this order.
    pub(super) functions: Vec<Vec<u8>>,
    /// By namespace, name and number, in this order.
    pub(super) revisions: Vec<(u64, Vec<u8>)>,
    /// By name.
    pub(super) tokens: Vec<Vec<u8>>,
    /// By namespace.
    pub(super) quotas: Vec<Vec<u8>>,
}

impl Disk {
    /// Opens the file, making it if absent, and reads all of it. One of an older format becomes one
    /// of this; what it was is kept beside it.
    pub(super) fn open(path: PathBuf) -> Result<(Self, Contents), redb::Error> {
        let beside = path.clone();
        let keep = move |format| Ok(keep_older(&beside, format)?);
        Self::open_with(Box::new(move || database::open_or_make(&path, CACHE, initialize)), keep)
    }

    /// The same for a file that is a copy itself.
    pub(super) fn open_copy(path: PathBuf) -> Result<(Self, Contents), redb::Error> {
        Self::open_with(Box::new(move || database::open(&path, CACHE)), |_| Ok(()))
    }

    /// Opens the file in this way. `keep_older` hears of an older format before it is changed.
    pub(super) fn open_with(
        open: Open,
        keep_older: impl FnOnce(u64) -> Result<(), redb::Error>,
    ) -> Result<(Self, Contents), redb::Error> {
        database::guarded(|| Self::try_open(open, keep_older))
    }

    fn try_open(
        open: Open,
        keep_older: impl FnOnce(u64) -> Result<(), redb::Error>,
    ) -> Result<(Self, Contents), redb::Error> {
        let mut database = open()?;
        database::look_through(&mut database, "the catalog")?;
        let mut disk = Self { open, database: Some(database), is_let_go: false };
        let found = disk.with(format::find)?;
        if (format::OLDEST..FORMAT).contains(&found.number) {
            keep_older(found.number)?;
            disk.with(|database| {
                let write = begin(database)?;
                format::lead(&write, found.number)?;
                Ok(write.commit()?)
            })?;
        }
        let contents = disk.with(load)?;
        Ok((disk, contents))
    }

    /// Writes `record` alone.
    pub(super) fn put(
        &mut self,
        name: &FunctionName,
        record: &[u8],
        version: u64,
    ) -> Result<(), redb::Error> {
        self.write(version, |write| {
            write.open_table(FUNCTIONS)?.insert(key(name), record)?;
            Ok(())
        })
    }

    /// Writes `record` and the new revision `number`, and forgets all revisions but the newest
    /// `most` and those that are `weighted`.
    pub(super) fn deploy(
        &mut self,
        name: &FunctionName,
        record: &[u8],
        (number, revision): (u64, &[u8]),
        (most, weighted): (NonZeroUsize, &Traffic),
        version: u64,
    ) -> Result<(), redb::Error> {
        let (namespace, name) = key(name);
        self.write(version, |write| {
            write.open_table(FUNCTIONS)?.insert((namespace, name), record)?;
            write.open_table(NUMBERS)?.insert((namespace, name), number)?;
            let mut revisions = write.open_table(REVISIONS)?;
            revisions.insert((namespace, name, number), revision)?;
            let all = (namespace, name, 0)..=(namespace, name, u64::MAX);
            // The last of the newest, which is younger than what is forgotten.
            let Some(last) = revisions.range(all)?.rev().nth(most.get() - 1) else {
                return Ok(());
            };
            let last = last?.0.value().2;
            let older = (namespace, name, 0)..(namespace, name, last);
            revisions.retain_in(older, |(_, _, number), _| weighted.names(number))?;
            Ok(())
        })
    }

    /// What was written last about `name`, which is deployed.
    pub(super) fn function(&mut self, name: &FunctionName) -> Result<Option<Vec<u8>>, redb::Error> {
        self.with(|database| {
            let functions = database.begin_read()?.open_table(FUNCTIONS)?;
            Ok(functions.get(key(name))?.map(|record| record.value().to_vec()))
        })
    }

    /// Forgets a function and its revisions.
    pub(super) fn delete(&mut self, name: &FunctionName, version: u64) -> Result<(), redb::Error> {
        let (namespace, name) = key(name);
        self.write(version, |write| {
            write.open_table(FUNCTIONS)?.remove((namespace, name))?;
            write
                .open_table(REVISIONS)?
                .retain_in((namespace, name, 0)..=(namespace, name, u64::MAX), |_, _| false)?;
            Ok(())
        })
    }

    /// Keeps a namespace's quota, or forgets it.
    pub(super) fn set_quota(
        &mut self,
        namespace: &str,
        record: Option<&[u8]>,
        version: u64,
    ) -> Result<(), redb::Error> {
        self.write(version, |write| {
            let mut quotas = write.open_table(QUOTAS)?;
            match record {
                Some(record) => drop(quotas.insert(namespace, record)?),
                None => drop(quotas.remove(namespace)?),
            }
            Ok(())
        })
    }

    /// Keeps a token's record.
    pub(super) fn put_token(&mut self, name: &str, record: &[u8]) -> Result<(), redb::Error> {
        self.transact(|write| {
            write.open_table(TOKENS)?.insert(name, record)?;
            Ok(())
        })
    }

    /// Forgets a token.
    pub(super) fn remove_token(&mut self, name: &str) -> Result<(), redb::Error> {
        self.transact(|write| {
            write.open_table(TOKENS)?.remove(name)?;
            Ok(())
        })
    }

    /// The number that was given to a revision of `name` last; 0 when none was.
    pub(super) fn last_number(&mut self, name: &FunctionName) -> Result<u64, redb::Error> {
        self.with(|database| {
            let numbers = database.begin_read()?.open_table(NUMBERS)?;
            Ok(numbers.get(key(name))?.map_or(0, |last| last.value()))
        })
    }

    /// The revisions of `name` that are kept, with their numbers, oldest first.
    pub(super) fn revisions(
        &mut self,
        name: &FunctionName,
    ) -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
        let (namespace, name) = key(name);
        self.with(|database| {
            let revisions = database.begin_read()?.open_table(REVISIONS)?;
            let mut found = Vec::new();
            for entry in revisions.range((namespace, name, 0)..=(namespace, name, u64::MAX))? {
                let (key, bytes) = entry?;
                found.push((key.value().2, bytes.value().to_vec()));
            }
            Ok(found)
        })
    }

    /// Every revision of every function that is kept, with its number.
    pub(super) fn all_revisions(&mut self) -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
        self.with(|database| load(database).map(|contents| contents.revisions))
    }

    /// Closes the file for good.
    pub(super) fn let_go(&mut self) {
        self.database = None;
        self.is_let_go = true;
    }

    /// All that is kept.
    #[cfg(test)]
    pub(super) fn contents(&mut self) -> Result<Contents, redb::Error> {
        self.with(load)
    }

    /// One transaction that makes `version` of what is deployed.
    pub(super) fn write(
        &mut self,
        version: u64,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), redb::Error> {
        self.transact(|write| {
            change(write)?;
            write.open_table(META)?.insert(VERSION, version)?;
            Ok(())
        })
    }

    /// One transaction, durable when this returns, or none.
    fn transact(
        &mut self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), redb::Error> {
        self.with(|database| {
            let write = begin(database)?;
            change(&write)?;
            format::set(&write)?;
            write.commit()?;
            Ok(())
        })
    }

    pub(super) fn with<T>(
        &mut self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None if self.is_let_go => return Err(redb::Error::DatabaseClosed),
            None => (self.open)()?,
        };
        let result = work(&database);
        if result.is_ok() {
            self.database = Some(database);
        }
        result
    }
}

/// A transaction that is durable once it is committed.
fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    // The sums that tell a torn commit from a whole one can be forged by whoever chooses what is
    // written; the second phase does without them.
    write.set_two_phase_commit(true);
    Ok(write)
}

fn key(name: &FunctionName) -> (&str, &str) {
    (name.namespace.as_str(), name.name.as_str())
}

/// Opens the catalog in `backend`, which is empty or holds one.
#[cfg(test)]
pub(super) fn open_backend(backend: impl redb::StorageBackend) -> Result<Database, redb::Error> {
    let is_new = backend.len()? == 0;
    let database = Database::builder().set_cache_size(CACHE).create_with_backend(backend)?;
    if is_new {
        initialize(&database)?;
    }
    Ok(database)
}

fn initialize(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(FUNCTIONS)?;
    write.open_table(REVISIONS)?;
    write.open_table(NUMBERS)?;
    write.open_table(META)?.insert(VERSION, 0)?;
    format::set(&write)?;
    write.commit()?;
    Ok(())
}

fn load(database: &Database) -> Result<Contents, redb::Error> {
    let mut contents = Contents {
        format: format::find(database)?,
        version: 0,
        functions: vec![],
        revisions: vec![],
        tokens: vec![],
        quotas: vec![],
    };
    // Nothing but the format is known of a format that is not ours.
    if contents.format.number != FORMAT {
        return Ok(contents);
    }
    let read = database.begin_read()?;
    contents.version = read.open_table(META)?.get(VERSION)?.map_or(0, |version| version.value());
    for entry in read.open_table(FUNCTIONS)?.iter()? {
        contents.functions.push(entry?.1.value().to_vec());
    }
    for entry in read.open_table(REVISIONS)?.iter()? {
        let (key, bytes) = entry?;
        contents.revisions.push((key.value().2, bytes.value().to_vec()));
    }
    contents.tokens = values(&read, TOKENS)?;
    contents.quotas = values(&read, QUOTAS)?;
    Ok(contents)
}

/// Every record of a table that may not be there yet.
fn values(
    read: &ReadTransaction,
    table: TableDefinition<'_, &str, &[u8]>,
) -> Result<Vec<Vec<u8>>, redb::Error> {
    let table = match read.open_table(table) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(vec![]),
        table => table?,
    };
    table.iter()?.map(|entry| Ok(entry?.1.value().to_vec())).collect()
}

/// Copies the file beside itself, durably, for the dhow that knows the older format.
fn keep_older(path: &Path, format: u64) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut copy = NamedTempFile::new_in(folder)?;
    io::copy(&mut File::open(path)?, copy.as_file_mut())?;
    durable::keep(&System, copy, &older(path, format))
}

/// Puts back what [`keep_older`] kept of this format, over what a newer dhow made of it. Whether
/// there was such a copy.
pub(super) fn put_back(path: &Path) -> io::Result<bool> {
    let kept = older(path, FORMAT);
    if !kept.try_exists()? {
        return Ok(false);
    }
    System.rename(&kept, path)?;
    System.sync_folder(path.parent().unwrap_or_else(|| Path::new(".")))?;
    Ok(true)
}

/// Where the file of an older format is kept.
fn older(path: &Path, format: u64) -> PathBuf {
    path.with_extension(format!("format-{format}.redb"))
}
