//! The catalog of one machine, in `catalog.redb` of the data folder.
//!
//! Readers see a snapshot in memory; a write goes to the disk first, and the snapshot is replaced
//! once it is durable.

mod disk;
mod format;
mod quotas;
mod records;
mod revisions;
mod secrets;
mod tokens;

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use dhow_core::digest::Digest;
use dhow_core::function::{Deployed, Function, Kept, Revision, Source};
use dhow_core::name::{FunctionName, Label};
use dhow_core::plan::routes;
use dhow_core::ports::{BoxFuture, Catalog, CatalogError, NewRevision, Pause, Snapshot};
use dhow_core::quota::{self, Quota};
use dhow_core::token::Token;
use dhow_core::traffic::{Share, Traffic, Weighted};
use dhow_disk::is_full;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use self::disk::{Contents, Disk};
use self::records::FunctionRecord;
use crate::folder::{DataFolder, OpenError};

/// The name of the catalog's file in the data folder.
pub(crate) const FILE: &str = "catalog.redb";
/// Revisions that are kept of one function, unless told otherwise.
pub const KEPT_REVISIONS: NonZeroUsize = NonZeroUsize::new(20).expect("20 is not 0");

/// The catalog of one data folder. Cheap to clone.
#[derive(Clone)]
pub struct EmbeddedCatalog(Arc<Inner>);

struct Inner {
    /// Held while something is written, until readers see it.
    disk: Mutex<Disk>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    tokens: Mutex<Arc<Vec<Token>>>,
    owned: Arc<DataFolder>,
    /// Revisions that are kept of one function, besides those in force or weighted.
    most_revisions: NonZeroUsize,
}

impl EmbeddedCatalog {
    /// Opens the catalog in `folder`, making it if absent. It keeps [`KEPT_REVISIONS`].
    ///
    /// # Errors
    /// When the file can't be used, is of another format or is damaged.
    pub fn open(folder: &Arc<DataFolder>) -> Result<Self, OpenError> {
        Self::open_keeping(folder, KEPT_REVISIONS)
    }

    /// Opens the catalog as [`Self::open`] does. A deploy forgets a function's revisions but for
    /// the newest `most_revisions` and those that are in force or weighted.
    ///
    /// # Errors
    /// When the file can't be used, is of another format or is damaged.
    pub fn open_keeping(
        folder: &Arc<DataFolder>,
        most_revisions: NonZeroUsize,
    ) -> Result<Self, OpenError> {
        let path = folder.path().join(FILE);
        Self::read(folder, &path, Disk::open(path.clone()), most_revisions)
    }

    /// The catalog of what was read of its file, at `path`.
    fn read(
        folder: &Arc<DataFolder>,
        path: &Path,
        opened: Result<(Disk, Contents), redb::Error>,
        most_revisions: NonZeroUsize,
    ) -> Result<Self, OpenError> {
        let (disk, contents) = opened.map_err(|error| open_error(path, error))?;
        let (snapshot, tokens) = in_force(path, &contents)?;
        Ok(Self(Arc::new(Inner {
            disk: Mutex::new(disk),
            snapshot: watch::Sender::new(Arc::new(snapshot)),
            tokens: Mutex::new(Arc::new(tokens)),
            owned: Arc::clone(folder),
            most_revisions,
        })))
    }

    /// Closes the file, so that another process may open it. Readers see the last snapshot; nothing
    /// can be written. Waits for the disk.
    pub fn let_go(&self) {
        self.0.disk.lock().let_go();
    }

    /// Opens the file again after [`Self::let_go`], where the process that was to have it has ended
    /// before it acknowledged a change. If it had led the file to a newer format, that is undone.
    /// Waits for the disk.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn take_again(&self) -> Result<(), OpenError> {
        let path = self.0.owned.path().join(FILE);
        let mut disk = self.0.disk.lock();
        let again = match Self::open(&self.0.owned) {
            Err(OpenError::Newer { .. })
                if disk::put_back(&path).map_err(|error| OpenError::from_io(&path, error))? =>
            {
                Self::open(&self.0.owned)?
            }
            again => again?,
        };
        std::mem::swap(&mut *disk, &mut *again.0.disk.lock());
        self.0.tokens.lock().clone_from(&again.0.tokens.lock());
        self.0.snapshot.send_replace(again.snapshot());
        Ok(())
    }

    /// Hears of every change; the newest snapshot is all that is kept for a slow reader.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.0.snapshot.subscribe()
    }

    /// The code that some revision needs: what a collection of blobs has to keep. Reads the disk,
    /// so call it where that holds up nobody.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn digests(&self) -> Result<HashSet<Digest>, CatalogError> {
        let revisions = self.0.disk.lock().all_revisions().map_err(storage)?;
        decode_revisions(&revisions).map(|all| all.iter().map(|one| one.digest).collect())
    }

    /// Runs `work`, which waits for the disk, where that holds up nobody. A caller that goes away
    /// does not stop it.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        let inner = Arc::clone(&self.0);
        spawn_blocking(move || work(&inner))
            .await
            .unwrap_or_else(|error| Err(CatalogError::Storage(error.to_string())))
    }
}

impl Catalog for EmbeddedCatalog {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.snapshot.borrow())
    }

    fn deploy(&self, function: NewRevision) -> BoxFuture<'_, Result<Deployed, CatalogError>> {
        Box::pin(self.blocking(move |inner| inner.deploy(function)))
    }

    fn delete(&self, name: FunctionName) -> BoxFuture<'_, Result<(), CatalogError>> {
        Box::pin(self.blocking(move |inner| inner.delete(&name)))
    }

    fn set_quota(
        &self,
        namespace: Label,
        quota: Option<Quota>,
    ) -> BoxFuture<'_, Result<(), CatalogError>> {
        Box::pin(self.blocking(move |inner| inner.set_quota(&namespace, quota)))
    }

    fn roll_back(
        &self,
        name: FunctionName,
        to: u64,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Deployed, CatalogError>> {
        Box::pin(self.blocking(move |inner| inner.roll_back(&name, to, now_ms)))
    }

    fn split(
        &self,
        name: FunctionName,
        traffic: Traffic,
    ) -> BoxFuture<'_, Result<Deployed, CatalogError>> {
        Box::pin(self.blocking(move |inner| inner.split(&name, traffic)))
    }

    fn revisions(&self, name: FunctionName) -> BoxFuture<'_, Result<Vec<Kept>, CatalogError>> {
        Box::pin(self.blocking(move |inner| inner.revisions(name)))
    }
}

impl Inner {
    fn deploy(&self, new: NewRevision) -> Result<Deployed, CatalogError> {
        let mut disk = self.disk.lock();
        let before = Arc::clone(&self.snapshot.borrow());
        let name = new.function.name.clone();
        let current = find(&before, &name).ok().map(|index| &before.functions[index]);

        let mut revision = Revision {
            function: name.clone(),
            number: current.map_or(0, |current| current.revision.number),
            digest: new.digest,
            image: match &new.function.source {
                Source::Image(image) => Some(image.clone()),
                Source::Path(_) | Source::Blob { .. } => None,
            },
            program: new.program,
            abi: new.abi,
            template: new.function.template.clone(),
        };
        let same_revision = current.filter(|current| *current.revision == revision);
        if let Some(current) = same_revision.filter(|same| {
            same.routes == new.function.routes
                && same.access == new.function.access.clone().shared()
                && same.metadata == new.function.metadata.clone().shared()
        }) {
            return Ok(Deployed::clone(current));
        }
        let existing = before.functions.iter().map(|one| (&one.name, one.routes.as_slice()));
        routes::check(existing, &name, &new.function.routes, new.reach)?;
        if current.is_none() {
            quota::check(&before, &name.namespace)?;
        }

        if same_revision.is_none() {
            revision.number = disk.last_number(&name).map_err(storage)? + 1;
        }
        let source = match &revision.image {
            Some(image) => Source::Image(image.clone()),
            None => Source::Blob { digest: new.digest, program: None },
        };
        let record = FunctionRecord {
            revision: revision.number,
            deployed_ms: same_revision.map_or(new.now_ms, |same| same.deployed_ms),
            version: before.version + 1,
            traffic: current.map(|current| traffic(&current.split)).unwrap_or_default(),
            rolled_back: same_revision.and_then(|same| same.rolled_back),
            function: Function { source, ..new.function },
        };
        let revision_bytes =
            records::encode_revision(&revision, record.function.abi, record.deployed_ms);
        check_readable(&record, &revision, &revision_bytes)?;
        let revision = match same_revision {
            Some(same) => {
                disk.put(&name, &record.encode(), record.version).map_err(storage)?;
                Arc::clone(&same.revision)
            }
            None => {
                let new = (revision.number, revision_bytes.as_slice());
                let keep = (self.most_revisions, &record.traffic);
                disk.deploy(&name, &record.encode(), new, keep, record.version).map_err(storage)?;
                Arc::new(revision)
            }
        };

        let split = current.map(|current| current.split.clone()).unwrap_or_default();
        let deployed = record.deployed(revision, split);
        self.publish(&before, &name, Some(deployed.clone()));
        Ok(deployed)
    }

    fn delete(&self, name: &FunctionName) -> Result<(), CatalogError> {
        let mut disk = self.disk.lock();
        let before = Arc::clone(&self.snapshot.borrow());
        if find(&before, name).is_err() {
            return Err(CatalogError::NotFound(name.clone()));
        }
        disk.delete(name, before.version + 1).map_err(storage)?;
        self.publish(&before, name, None);
        Ok(())
    }

    /// Shows readers `before` with `name` replaced or removed. Called with the disk locked.
    fn publish(&self, before: &Snapshot, name: &FunctionName, deployed: Option<Deployed>) {
        let mut functions = before.functions.clone();
        let place = find(before, name);
        match (deployed.map(Arc::new), place) {
            (Some(deployed), Ok(index)) => functions[index] = deployed,
            (Some(deployed), Err(index)) => functions.insert(index, deployed),
            (None, Ok(index)) => drop(functions.remove(index)),
            (None, Err(_)) => {}
        }
        self.snapshot.send_replace(Arc::new(Snapshot {
            version: before.version + 1,
            functions,
            quotas: Arc::clone(&before.quotas),
        }));
    }
}

impl Pause for EmbeddedCatalog {
    fn paused(&self, copy: &mut dyn FnMut()) {
        // What the file holds between two writes is what a killed process leaves: whole.
        let _no_write = self.0.disk.lock();
        copy();
    }
}

/// Reads all of a catalog that nobody uses, at `path`, and says which blobs it needs. `named` is
/// what it is called if something is wrong with it.
pub(crate) fn check(path: &Path, named: &Path) -> Result<HashSet<Digest>, OpenError> {
    let damaged = |detail| OpenError::Damaged { path: named.to_owned(), detail };
    if !path.is_file() {
        return Err(damaged("it is missing".to_owned()));
    }
    let opened = Disk::open_copy(path.to_owned());
    let (_, contents) = opened.map_err(|error| open_error(named, error))?;
    in_force(named, &contents)?;
    let revisions = decode_revisions(&contents.revisions);
    let revisions = revisions.map_err(|error| damaged(error.to_string()))?;
    Ok(revisions.iter().map(|revision| revision.digest).collect())
}

/// Where `name` stands in the snapshot, or would.
fn find(snapshot: &Snapshot, name: &FunctionName) -> Result<usize, usize> {
    snapshot.functions.binary_search_by(|function| function.name.cmp(name))
}

/// A record that does not read back would make the whole folder unreadable at the next start.
fn check_readable(
    record: &FunctionRecord,
    revision: &Revision,
    revision_bytes: &[u8],
) -> Result<(), CatalogError> {
    let same = FunctionRecord::decode(&record.encode()).as_ref() == Ok(record)
        && records::decode_revision(revision.number, revision_bytes).as_ref() == Ok(revision);
    if same {
        Ok(())
    } else {
        let name = &record.function.name;
        Err(CatalogError::Storage(format!("`{name}` would not read back as what it is")))
    }
}

/// The weights of a split, without its revisions.
fn traffic(split: &[Weighted]) -> Traffic {
    let share = |one: &Weighted| Share { revision: one.revision.number, weight: one.weight };
    Traffic::new(split.iter().map(share).collect()).unwrap_or_default()
}

fn decode_revisions(revisions: &[(u64, Vec<u8>)]) -> Result<Vec<Revision>, CatalogError> {
    revisions
        .iter()
        .map(|(number, bytes)| records::decode_revision(*number, bytes))
        .collect::<Result<_, _>>()
        .map_err(CatalogError::Storage)
}

fn storage(error: redb::Error) -> CatalogError {
    match error {
        redb::Error::Io(error) if is_full(&error) => CatalogError::Full,
        error => CatalogError::Storage(error.to_string()),
    }
}

fn open_error(path: &Path, error: redb::Error) -> OpenError {
    let damaged = |detail| OpenError::Damaged { path: path.to_owned(), detail };
    match error {
        // What begins like no redb file is reported in this way.
        redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            damaged(error.to_string())
        }
        redb::Error::Io(error) => OpenError::from_io(path, error),
        redb::Error::DatabaseAlreadyOpen => {
            let folder = path.parent().unwrap_or(path).to_owned();
            OpenError::Owned { folder, pid: None }
        }
        error => damaged(error.to_string()),
    }
}

/// What is in force, of a file whose format is known.
fn in_force(path: &Path, contents: &Contents) -> Result<(Snapshot, Vec<Token>), OpenError> {
    let (path, found) = (path.to_owned(), contents.format.number);
    match found.cmp(&format::FORMAT) {
        Ordering::Greater => {
            let writer = contents.format.written_by.clone();
            Err(OpenError::Newer { path, found, known: format::FORMAT, writer })
        }
        Ordering::Less => Err(OpenError::Older { path, found, known: format::OLDEST }),
        Ordering::Equal => snapshot(contents)
            .and_then(|snapshot| Ok((snapshot, tokens::read(&contents.tokens)?)))
            .map_err(|detail| OpenError::Damaged { path, detail }),
    }
}

fn snapshot(contents: &Contents) -> Result<Snapshot, String> {
    let mut revisions = HashMap::new();
    for (number, bytes) in &contents.revisions {
        let revision = records::decode_revision(*number, bytes)?;
        revisions.insert((revision.function.clone(), *number), Arc::new(revision));
    }
    let mut functions = Vec::with_capacity(contents.functions.len());
    for bytes in &contents.functions {
        let record = FunctionRecord::decode(bytes)?;
        let named = |number| {
            let key = (record.function.name.clone(), number);
            let lost = || format!("`{}` has lost its revision {number}", key.0);
            revisions.get(&key).cloned().ok_or_else(lost)
        };
        let revision = named(record.revision)?;
        let split =
            record.traffic.shares().iter().map(|share| {
                Ok(Weighted { revision: named(share.revision)?, weight: share.weight })
            });
        let split = split.collect::<Result<_, String>>()?;
        functions.push(Arc::new(record.deployed(revision, split)));
    }
    functions.sort_by(|one, other| one.name.cmp(&other.name));
    let quotas = Arc::new(quotas::read(&contents.quotas)?);
    Ok(Snapshot { version: contents.version, functions, quotas })
}

#[cfg(test)]
mod power;
#[cfg(test)]
pub(crate) mod tests;
