//! Blobs of code by digest: `blobs/sha256/HEX` in the data folder.
//!
//! A blob is written beside its place, hashed while it is written, synced and then renamed, so a
//! file under a digest is whole whenever the process or the power ends. What was half written is
//! removed when the store is opened. A blob that would take the store over its budget makes room
//! first, of what no revision needs, or is refused.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use dhow_core::digest::Digest;
use dhow_core::ports::{Blobs, BoxFuture, UploadBody, UploadError, Uploads};
use dhow_disk::durable::{self, Steps, System};
use dhow_disk::is_full;
use http_body::Body;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

use crate::folder::{DataFolder, OpenError};

/// Bytes gathered before they go to the disk.
const CHUNK: usize = 256 << 10;

/// How long a blob that no revision needs is kept all the same when room is short: a deploy uploads
/// first and is recorded a moment later.
const GRACE: Duration = Duration::from_secs(600);

/// The blobs of one data folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BlobStore(Arc<Places>);

#[derive(Debug)]
struct Places {
    /// Blobs under the hex digits of their digests.
    whole: PathBuf,
    /// What is being written; nothing here outlives the process.
    partial: PathBuf,
    /// Held by a collection from its look at the ages on, and by who makes a blob young. How many
    /// there are who need every blob to stay.
    collecting: Mutex<usize>,
    steps: Box<dyn Steps>,
    room: Room,
    _owned: Arc<DataFolder>,
}

/// How much is kept.
pub struct Room {
    /// The most bytes of all blobs together.
    pub most: u64,
    /// What revisions need. It may read the disk.
    pub needed: Box<dyn Fn() -> io::Result<HashSet<Digest>> + Send + Sync>,
}

#[cfg(test)]
impl Room {
    /// For all that comes.
    pub(crate) fn boundless() -> Self {
        Self { most: u64::MAX, needed: Box::new(|| Ok(HashSet::new())) }
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("most", &self.most).finish_non_exhaustive()
    }
}

/// A blob that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stored {
    /// Its identity.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

impl BlobStore {
    /// Opens the store in `folder`, making it if absent, and removes what was half written.
    ///
    /// # Errors
    /// When the folders can't be made or read.
    pub fn open(folder: &Arc<DataFolder>, room: Room) -> Result<Self, OpenError> {
        Self::open_with(folder, room, Box::new(System))
    }

    fn open_with(
        folder: &Arc<DataFolder>,
        room: Room,
        steps: Box<dyn Steps>,
    ) -> Result<Self, OpenError> {
        let blobs = folder.path().join("blobs");
        let places = Places {
            whole: blobs.join("sha256"),
            partial: blobs.join("partial"),
            collecting: Mutex::default(),
            steps,
            room,
            _owned: Arc::clone(folder),
        };
        prepare(&places).map_err(|error| OpenError::from_io(&blobs, error))?;
        Ok(Self(Arc::new(places)))
    }

    /// Takes `body`, of at most `most` bytes, and returns once it is durable. A blob that is held
    /// already counts as new again for [`Self::collect`].
    ///
    /// # Errors
    /// See [`UploadError`]. A future that is dropped leaves nothing behind either.
    pub async fn put<B>(&self, body: B, most: u64) -> Result<Stored, UploadError>
    where
        B: Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        let mut body = std::pin::pin!(body);
        let places = Arc::clone(&self.0);
        let create = move || Partial::create(&places.partial).map_err(refused);
        let mut partial = blocking(create).await?;
        let mut gathered = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| UploadError::Body(error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            if partial.size + (gathered.len() + data.len()) as u64 > most {
                return Err(UploadError::TooLarge { most });
            }
            gathered.extend_from_slice(&data);
            if gathered.len() >= CHUNK {
                let chunk = gathered.split().freeze();
                partial = blocking(move || partial.write(&chunk).map_err(refused)).await?;
            }
        }
        let store = self.clone();
        blocking(move || store.take(partial.write(&gathered).map_err(refused)?)).await
    }

    /// Makes room for what has come, and names it.
    fn take(&self, partial: Partial) -> Result<Stored, UploadError> {
        let digest = Digest::from_bytes(partial.hash.clone().finalize().into());
        let stored = Stored { digest, size: partial.size };
        let (steps, file) = (&*self.0.steps, partial.file);
        // What takes long, before anybody has to wait for it.
        steps.sync(file.path(), file.as_file()).map_err(refused)?;
        let collecting = self.0.collecting.lock();
        self.make_room(&stored, *collecting > 0)?;
        // Over one that is held, too: its bytes may be damaged.
        durable::keep(steps, file, &self.place(&digest)).map_err(refused)?;
        Ok(stored)
    }

    /// Removes what no revision needs, oldest first, until `coming` fits into the budget. What is
    /// younger than [`GRACE`] may be about to be deployed; while `all_stay`, nothing goes. Called
    /// while no other collects.
    fn make_room(&self, coming: &Stored, all_stay: bool) -> Result<(), UploadError> {
        let Room { most, needed } = &self.0.room;
        let mut others = self.entries().map_err(refused)?;
        others.retain(|(stored, _)| stored.digest != coming.digest);
        let mut total = others.iter().map(|(stored, _)| stored.size).sum::<u64>() + coming.size;
        if total <= *most {
            return Ok(());
        }
        let (needed, now) = (needed().map_err(refused)?, SystemTime::now());
        others.retain(|(stored, modified)| {
            let age = now.duration_since(*modified).unwrap_or_default();
            !all_stay && !needed.contains(&stored.digest) && age >= GRACE
        });
        let least = total - others.iter().map(|(stored, _)| stored.size).sum::<u64>();
        if least > *most {
            return Err(UploadError::OverBudget { needed: least, most: *most });
        }
        others.sort_by_key(|(_, modified)| *modified);
        for (stored, _) in others {
            if total <= *most {
                break;
            }
            self.remove(&stored.digest).map_err(refused)?;
            total -= stored.size;
        }
        Ok(())
    }

    /// Forgets the blob. One that is not held is none to forget.
    fn remove(&self, digest: &Digest) -> io::Result<()> {
        match fs::remove_file(self.place(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Keeps every blob that is held, until the answer is dropped.
    pub(crate) fn hold(&self) -> Held {
        *self.0.collecting.lock() += 1;
        Held(Arc::clone(&self.0))
    }

    /// Removes what is neither in `keep` nor younger than `least_age` at `now`, and says what that
    /// was. The age gives an upload the time to be deployed. While a backup is made, nothing is.
    ///
    /// # Errors
    /// When the system refuses; what was removed until then is removed.
    pub fn collect(
        &self,
        keep: &HashSet<Digest>,
        least_age: Duration,
        now: SystemTime,
    ) -> io::Result<Vec<Stored>> {
        let collecting = self.0.collecting.lock();
        let mut removed = Vec::new();
        if *collecting > 0 {
            return Ok(removed);
        }
        for (stored, modified) in self.entries()? {
            // A file from the future, after a clock was set back, is young.
            let age = now.duration_since(modified).unwrap_or_default();
            if !keep.contains(&stored.digest) && age >= least_age {
                self.remove(&stored.digest)?;
                removed.push(stored);
            }
        }
        Ok(removed)
    }

    fn entries(&self) -> io::Result<Vec<(Stored, SystemTime)>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.0.whole)? {
            let entry = entry?;
            // Nothing but blobs is put here by dhow; what somebody else put here is not touched.
            let Some(digest) = digest_of(&entry.file_name()) else { continue };
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            entries.push((Stored { digest, size: metadata.len() }, metadata.modified()?));
        }
        Ok(entries)
    }

    /// What is wrong with a blob that should be held: a phrase, or nothing. Reads all of it.
    pub fn flaw(&self, digest: &Digest) -> Option<String> {
        let read = File::open(self.place(digest)).and_then(|mut blob| {
            let mut hash = Sha256::new();
            io::copy(&mut blob, &mut hash)?;
            Ok(Digest::from_bytes(hash.finalize().into()))
        });
        match read {
            Ok(found) if found == *digest => None,
            Ok(_) => Some("is damaged".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some("is missing".to_owned()),
            Err(error) => Some(format!("can't be read ({error})")),
        }
    }

    /// Where a blob is, or would be.
    pub fn place(&self, digest: &Digest) -> PathBuf {
        self.0.whole.join(digest.hex())
    }
}

impl Uploads for BlobStore {
    fn put(&self, body: UploadBody, most: u64) -> BoxFuture<'_, Result<Digest, UploadError>> {
        Box::pin(async move { Ok(Self::put(self, body, most).await?.digest) })
    }
}

impl Blobs for BlobStore {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        File::open(self.place(digest))
    }

    fn claim(&self, digest: &Digest) -> io::Result<File> {
        let _not_now = self.0.collecting.lock();
        let blob = self.open(digest)?;
        blob.set_modified(SystemTime::now())?;
        Ok(blob)
    }
}

/// While it lives, no blob is collected.
#[derive(Debug)]
pub(crate) struct Held(Arc<Places>);

impl Drop for Held {
    fn drop(&mut self) {
        *self.0.collecting.lock() -= 1;
    }
}

/// The blobs in a folder of them, by their names alone. None where there is no such folder.
pub(crate) fn names(folder: &Path) -> io::Result<BTreeSet<Digest>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        entries => {
            let names = entries?.map(|entry| Ok(digest_of(&entry?.file_name())));
            names.filter_map(Result::transpose).collect()
        }
    }
}

fn digest_of(name: &OsStr) -> Option<Digest> {
    format!("sha256:{}", name.to_str()?).parse().ok()
}

/// A blob on its way in. The file is removed unless it is finished.
struct Partial {
    file: NamedTempFile,
    hash: Sha256,
    size: u64,
}

impl Partial {
    fn create(folder: &Path) -> io::Result<Self> {
        let file = NamedTempFile::new_in(folder)?;
        Ok(Self { file, hash: Sha256::new(), size: 0 })
    }

    fn write(mut self, chunk: &[u8]) -> io::Result<Self> {
        self.file.write_all(chunk)?;
        self.hash.update(chunk);
        self.size += chunk.len() as u64;
        Ok(self)
    }
}

fn prepare(places: &Places) -> io::Result<()> {
    for folder in [&places.whole, &places.partial] {
        durable::make_private(&*places.steps, folder)?;
        durable::sync_parent(&*places.steps, folder)?;
    }
    for entry in fs::read_dir(&places.partial)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

/// Runs `work`, which waits for the disk, where that holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UploadError> + Send + 'static,
) -> Result<T, UploadError> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(refused(io::Error::other(error))))
}

fn refused(error: io::Error) -> UploadError {
    if is_full(&error) { UploadError::Full } else { UploadError::Io(error) }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;
    use http_body_util::Full;
    use tokio::sync::Notify;

    use dhow_testkit::power::Syncs;
    use dhow_testkit::power::files::{Files, Recorded};

    use super::*;
    use crate::small_disk::SmallDisk;

    fn open(path: &Path) -> BlobStore {
        BlobStore::open(&Arc::new(DataFolder::open(path).unwrap()), Room::boundless()).unwrap()
    }

    fn open_with(path: &Path, most: u64, needed: &[Digest]) -> BlobStore {
        let needed: HashSet<_> = needed.iter().copied().collect();
        let room = Room { most, needed: Box::new(move || Ok(needed.clone())) };
        BlobStore::open(&Arc::new(DataFolder::open(path).unwrap()), room).unwrap()
    }

    fn body(bytes: impl Into<Bytes>) -> Full<Bytes> {
        Full::new(bytes.into())
    }

    fn list(store: &BlobStore) -> Vec<Stored> {
        store.entries().unwrap().into_iter().map(|(stored, _)| stored).collect()
    }

    fn partial_files(store: &BlobStore) -> usize {
        fs::read_dir(&store.0.partial).unwrap().count()
    }

    /// A body in pieces, which may break off.
    struct Pieces(Vec<Result<Bytes, &'static str>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Poll::Ready(self.0.pop().map(|piece| piece.map(Frame::data)))
        }
    }

    #[tokio::test]
    async fn what_is_put_is_held_under_its_digest_also_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let stored = store.put(body("hello"), 5).await.unwrap();
        assert_eq!(
            stored.digest.to_string(),
            "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        );
        assert_eq!(store.put(body("hello"), 5).await.unwrap(), stored);
        assert_eq!(list(&store), [stored]);
        drop(store);
        let store = open(folder.path());
        assert!(store.open(&stored.digest).is_ok());
        let mut held = String::new();
        Blobs::open(&store, &stored.digest).unwrap().read_to_string(&mut held).unwrap();
        assert_eq!(held, "hello");
        let mode = fs::metadata(store.place(&stored.digest)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        store.remove(&stored.digest).unwrap();
        store.remove(&stored.digest).unwrap();
        assert_eq!(store.flaw(&stored.digest).as_deref(), Some("is missing"));
        let gone = Blobs::open(&store, &stored.digest).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn what_is_not_needed_makes_room_and_what_is_needed_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let mut held = vec![];
        for (age, text) in [(3, "needed"), (2, "unused"), (1, "unasked")] {
            let stored = store.put(body(text), 100).await.unwrap();
            let old = SystemTime::now() - GRACE * age;
            store.open(&stored.digest).unwrap().set_modified(old).unwrap();
            held.push(stored);
        }
        drop(store);
        let [needed, unused, unasked] = held[..] else { unreachable!() };
        let store = open_with(folder.path(), 25, &[needed.digest]);
        // What is there already costs nothing.
        store.put(body("needed"), 100).await.unwrap();
        assert_eq!(list(&store).len(), 3);
        let new = store.put(body("0123456789"), 100).await.unwrap();
        let mut left = list(&store);
        left.sort_by_key(|stored| stored.size);
        assert_eq!(left, [needed, unasked, new], "{unused:?} was the oldest");
        // The new one is young, so only the unasked one may go.
        let error = store.put(body("0123456789abc"), 100).await.unwrap_err();
        assert!(matches!(error, UploadError::OverBudget { needed: 29, most: 25 }), "{error:?}");
        assert_eq!((partial_files(&store), list(&store).len()), (0, 3));
        store.put(body("012345678"), 100).await.unwrap();
        assert_eq!(list(&store).len(), 3);
    }

    #[tokio::test]
    async fn a_blob_in_many_pieces_is_one_blob() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let bytes: Vec<u8> = (0..CHUNK * 3 + 7).map(|index| (index % 251) as u8).collect();
        let pieces =
            bytes.rchunks(100_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let in_pieces = store.put(Pieces(pieces), u64::MAX).await.unwrap();
        let at_once = store.put(body(bytes), u64::MAX).await.unwrap();
        assert_eq!(in_pieces, at_once);
    }

    #[tokio::test]
    async fn what_is_too_large_or_broken_off_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let large = store.put(body("hello"), 4).await;
        assert!(matches!(large, Err(UploadError::TooLarge { most: 4 })));
        let large_chunks = vec![Ok(Bytes::from(vec![0; CHUNK])), Ok(Bytes::from(vec![0; CHUNK]))];
        let large = store.put(Pieces(large_chunks), CHUNK as u64 + 1).await;
        assert!(matches!(large, Err(UploadError::TooLarge { .. })));
        let broken = vec![Err("gone away"), Ok(Bytes::from(vec![0; CHUNK]))];
        let broken = store.put(Pieces(broken), u64::MAX).await;
        assert!(matches!(broken, Err(UploadError::Body(why)) if why == "gone away"));
        assert_eq!(list(&store), []);
        assert_eq!(partial_files(&store), 0);
    }

    #[tokio::test]
    async fn what_was_half_written_when_the_process_died_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let stored = store.put(body("whole"), 10).await.unwrap();
        fs::write(store.0.partial.join(".tmpAbCdEf"), "half").unwrap();
        drop(store);
        let store = open(folder.path());
        assert_eq!(partial_files(&store), 0);
        assert_eq!(list(&store), [stored]);
    }

    /// Puts a few blobs and cuts the power after every step: what is lost or wrong after a cut.
    async fn lost_with_the_power(syncs: Syncs) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let record = Files::new(folder.path(), syncs);
        let owned = Arc::new(DataFolder::open(folder.path()).unwrap());
        let store =
            BlobStore::open_with(&owned, Room::boundless(), Box::new(Recorded(record.clone())))
                .unwrap();
        let mut acknowledged = Vec::new();
        for bytes in ["one", "two", "one", "three"] {
            acknowledged.push((store.put(body(bytes), 10).await.unwrap(), bytes));
            record.acknowledge();
        }
        let mut lost = Vec::new();
        for image in record.images() {
            let left = tempfile::tempdir().unwrap();
            image.write(left.path()).unwrap();
            let store = open(left.path());
            let held: HashSet<_> = list(&store).into_iter().collect();
            for (stored, bytes) in &acknowledged[..image.acknowledged] {
                let read = fs::read(store.place(&stored.digest)).unwrap_or_default();
                if !held.contains(stored) || read != bytes.as_bytes() {
                    lost.push(format!("{bytes} {}", image.cut));
                }
            }
            // What was not acknowledged may be there, but then it is whole.
            for stored in held {
                let read = fs::read(store.place(&stored.digest)).unwrap();
                if Digest::from_bytes(Sha256::digest(read).into()) != stored.digest {
                    lost.push(format!("{} is not whole {}", stored.digest, image.cut));
                }
            }
        }
        lost
    }

    #[tokio::test]
    async fn no_blob_that_was_acknowledged_goes_with_the_power() {
        assert_eq!(lost_with_the_power(Syncs::Kept).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn without_syncs_blobs_go_with_the_power() {
        assert!(!lost_with_the_power(Syncs::Ignored).await.is_empty());
    }

    #[tokio::test]
    async fn a_damaged_file_under_a_digest_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let stored = store.put(body("whole"), 10).await.unwrap();
        for damaged in ["who", "whale"] {
            fs::write(store.place(&stored.digest), damaged).unwrap();
            assert_eq!(store.flaw(&stored.digest).as_deref(), Some("is damaged"));
            store.put(body("whole"), 10).await.unwrap();
            assert_eq!(fs::read(store.place(&stored.digest)).unwrap(), b"whole");
            assert_eq!(store.flaw(&stored.digest), None);
        }
    }

    #[tokio::test]
    async fn only_what_is_old_and_needed_by_nobody_is_collected() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let hour = Duration::from_secs(3600);
        let needed = store.put(body("needed"), 10).await.unwrap();
        let old = store.put(body("old"), 10).await.unwrap();
        let renewed = store.put(body("renewed"), 10).await.unwrap();
        let claimed = store.put(body("claimed"), 10).await.unwrap();
        let stranger = store.0.whole.join("README");
        fs::write(&stranger, "").unwrap();
        let long_ago = SystemTime::now() - 2 * hour;
        for stored in [needed, old, renewed, claimed] {
            File::open(store.place(&stored.digest)).unwrap().set_modified(long_ago).unwrap();
        }
        let held = store.hold();
        assert_eq!(store.collect(&HashSet::new(), hour, SystemTime::now()).unwrap(), []);
        drop(held);
        store.put(body("renewed"), 10).await.unwrap();
        store.claim(&claimed.digest).unwrap();
        let young = store.put(body("young"), 10).await.unwrap();
        let keep = HashSet::from([needed.digest]);
        let collected = store.collect(&keep, hour, SystemTime::now()).unwrap();
        assert_eq!(collected, [old]);
        let held: HashSet<_> = list(&store).into_iter().map(|stored| stored.digest).collect();
        assert_eq!(
            held,
            HashSet::from([needed, renewed, claimed, young].map(|stored| stored.digest))
        );
        assert!(stranger.exists());
    }

    #[tokio::test]
    async fn a_full_disk_refuses_a_blob_and_keeps_the_others() {
        let disk = SmallDisk::mount(2);
        let store = open(disk.path());
        let before = store.put(body("before"), 10).await.unwrap();
        disk.fill();
        let refused = store.put(body(vec![1; CHUNK]), u64::MAX).await;
        assert!(matches!(refused, Err(UploadError::Full)), "{refused:?}");
        assert_eq!(partial_files(&store), 0);
        assert_eq!(list(&store), [before]);
        disk.clear();
        store.put(body(vec![1; CHUNK]), u64::MAX).await.unwrap();
        drop(store);
    }

    #[tokio::test]
    async fn a_put_that_is_given_up_leaves_nothing() {
        /// Says that it was asked, and then nothing.
        struct Stalled(Arc<Notify>);
        impl Body for Stalled {
            type Data = Bytes;
            type Error = Infallible;

            fn poll_frame(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                self.0.notify_one();
                Poll::Pending
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let asked = Arc::new(Notify::new());
        let put = {
            let (store, body) = (store.clone(), Stalled(Arc::clone(&asked)));
            tokio::spawn(async move { store.put(body, 10).await })
        };
        asked.notified().await;
        assert_eq!(partial_files(&store), 1);
        put.abort();
        assert!(put.await.unwrap_err().is_cancelled());
        assert_eq!(partial_files(&store), 0);
    }
}
