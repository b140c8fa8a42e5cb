//! The key-value stores of functions, in the folder `kv` of the data folder: one file for each
//! namespace, opened when it is asked for and closed when nobody has asked for a while.
//!
//! What is changed while the disk is waited for goes into one transaction and shares its sync.
//! While one dhow takes over from another, calls go on in both: then each holds a file for moments
//! only, and whoever comes second waits for its turn ([`EmbeddedKeyValue::share`]).

mod disk;
mod file;
#[cfg(test)]
mod power;
mod record;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dhow_core::key_value::{
    Change, Changed, KeyValueError, Room, StoreId, Value, check_changes, check_key, check_keys,
};
use dhow_core::name::Label;
use dhow_core::ports::{BoxFuture, KeyValue, Pause};
use dhow_disk::durable::{Steps as _, System, make_private};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;

use self::disk::Place;
use self::file::{Ask, Manner, NamespaceFile, Turn};
use crate::folder::{DataFolder, OpenError};

/// The folder of the files.
const FOLDER: &str = "kv";
/// Bytes that one permit for memory stands for.
const PERMIT: usize = 1 << 10;
/// Bytes of changes that are on their way to the disk, over all stores; more wait.
const MEMORY: usize = 64 << 20;

/// The stores of one machine. Cheap to clone.
#[derive(Clone)]
pub struct EmbeddedKeyValue(Arc<Inner>);

struct Inner {
    places: Places,
    files: Mutex<HashMap<Label, Arc<NamespaceFile>>>,
    manner: Arc<Manner>,
    /// Of [`PERMIT`] bytes each.
    memory: Arc<Semaphore>,
    now_ms: fn() -> u64,
}

/// Where the file of a namespace is.
type Places = Box<dyn Fn(&Label) -> Box<dyn Place> + Send + Sync>;

impl EmbeddedKeyValue {
    /// The stores in `folder`. No file is opened yet.
    ///
    /// # Errors
    /// When there can't be a folder for them.
    pub fn open(folder: &DataFolder) -> Result<Self, OpenError> {
        let folder = folder.path().join(FOLDER);
        let made = make_private(&System, &folder).and_then(|()| remove_begun(&folder));
        // Also the names that a process gave which was killed before it could see to that.
        let made = made.and_then(|()| System.sync_folder(&folder));
        made.map_err(|error| OpenError::from_io(&folder, error))?;
        let of = folder.clone();
        let places: Places =
            Box::new(move |namespace| Box::new(of.join(format!("{namespace}.redb"))));
        Ok(Self::new(places, Some(folder), now_ms))
    }

    fn new(places: Places, folder: Option<PathBuf>, now_ms: fn() -> u64) -> Self {
        Self(Arc::new(Inner {
            places,
            files: Mutex::default(),
            manner: Arc::new(Manner::new(folder)),
            memory: Arc::new(Semaphore::new(MEMORY / PERMIT)),
            now_ms,
        }))
    }

    /// From now on another process may use the files, too: here each is held while something is
    /// done with it, and not between. Waits for the disk.
    pub fn share(&self) {
        self.0.manner.share(|| self.0.files.lock().values().for_each(|file| file.close()));
    }

    /// Nobody else uses the files any more.
    pub fn own(&self) {
        self.0.manner.own();
    }

    /// Closes the files that nobody has asked for so long. Waits for the disk.
    pub fn let_go_idle(&self, idle: Duration) {
        let files: Vec<_> = self.0.files.lock().values().cloned().collect();
        files.iter().for_each(|file| file.close_if_idle(idle));
        drop(files);
        self.0.files.lock().retain(|_, file| Arc::strong_count(file) > 1 || file.is_open());
    }

    fn file(&self, namespace: &Label) -> Arc<NamespaceFile> {
        let mut files = self.0.files.lock();
        if let Some(file) = files.get(namespace) {
            return file.clone();
        }
        let place = (self.0.places)(namespace);
        let file = Arc::new(NamespaceFile::new(place, self.0.manner.clone()));
        files.insert(namespace.clone(), file.clone());
        file
    }

    /// Reads on a thread that may wait for the disk. What is not there is empty.
    async fn read<T: Default + Send + 'static>(
        &self,
        namespace: &Label,
        work: impl FnOnce(&redb::Database, u64) -> Result<T, disk::Failed> + Send + 'static,
    ) -> Result<T, KeyValueError> {
        let (file, now_ms) = (self.file(namespace), (self.0.now_ms)());
        let read = spawn_blocking(move || file.read(|database| work(database, now_ms)));
        read.await.unwrap_or_else(|error| Err(KeyValueError::Storage(error.to_string())))
    }

    async fn make(
        &self,
        store: &StoreId,
        room: Room,
        changes: Vec<Change>,
    ) -> Result<Vec<Changed>, KeyValueError> {
        check_changes(&changes)?;
        if changes.is_empty() {
            return Ok(vec![]);
        }
        let bytes: usize = changes.iter().map(Change::bytes_under_way).sum();
        let permits = u32::try_from(bytes / PERMIT + 1).unwrap_or(u32::MAX);
        let ended = || KeyValueError::Storage("the store has ended".to_owned());
        let memory = self.0.memory.clone().acquire_many_owned(permits).await;
        let (reply, done) = oneshot::channel();
        let ask = Ask {
            scope: disk::scope(&store.owner),
            room,
            changes,
            reply,
            _memory: memory.map_err(|_| ended())?,
        };
        if let Some(turn) = Turn::of(self.file(&store.namespace), ask) {
            let now_ms = self.0.now_ms;
            spawn_blocking(move || turn.write_all(now_ms));
        }
        done.await.unwrap_or_else(|_| Err(ended()))
    }
}

impl KeyValue for EmbeddedKeyValue {
    fn get<'a>(
        &'a self,
        store: &'a StoreId,
        keys: Vec<String>,
    ) -> BoxFuture<'a, Result<Vec<Option<Value>>, KeyValueError>> {
        Box::pin(async move {
            check_keys(&keys)?;
            let (scope, count) = (disk::scope(&store.owner), keys.len());
            let read = move |database: &_, now_ms| disk::get(database, &scope, &keys, now_ms);
            let mut found = self.read(&store.namespace, read).await?;
            // Where there is no file there is nothing.
            found.resize(count, None);
            Ok(found)
        })
    }

    fn exists<'a>(
        &'a self,
        store: &'a StoreId,
        key: String,
    ) -> BoxFuture<'a, Result<bool, KeyValueError>> {
        Box::pin(async move {
            check_key(&key)?;
            let scope = disk::scope(&store.owner);
            let read = move |database: &_, now_ms| disk::exists(database, &scope, &key, now_ms);
            self.read(&store.namespace, read).await
        })
    }

    fn keys<'a>(
        &'a self,
        store: &'a StoreId,
        after: Option<String>,
    ) -> BoxFuture<'a, Result<Vec<String>, KeyValueError>> {
        Box::pin(async move {
            let scope = disk::scope(&store.owner);
            let after = after.unwrap_or_default();
            let read = move |database: &_, now_ms| disk::keys(database, &scope, &after, now_ms);
            self.read(&store.namespace, read).await
        })
    }

    fn change<'a>(
        &'a self,
        store: &'a StoreId,
        room: Room,
        changes: Vec<Change>,
    ) -> BoxFuture<'a, Result<Vec<Changed>, KeyValueError>> {
        Box::pin(self.make(store, room, changes))
    }
}

impl Pause for EmbeddedKeyValue {
    fn paused(&self, copy: &mut dyn FnMut()) {
        self.0.manner.paused(copy);
    }
}

/// Removes files that were on their way to their place when a process ended.
fn remove_begun(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_old = || entry.metadata()?.modified()?.elapsed().map_err(io::Error::other);
        // The dhow before this one may be making one just now.
        if name.as_encoded_bytes().starts_with(disk::BEGUN.as_bytes())
            && is_old().is_ok_and(|age| age > Duration::from_secs(3600))
        {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
