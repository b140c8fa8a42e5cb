//! A blob on its way into the staging folder: counted and hashed while it is written, so that
//! nothing but what its descriptor says gets a name there.

use std::fs::TryLockError;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dhow_core::digest::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use super::descriptor::Descriptor;
use super::error::PullError;

/// Hears how many bytes of which blob have come, all together. What is heard first of a blob was
/// there before.
pub type Hear = dyn Fn(&Descriptor, u64) + Send + Sync;

/// A blob that is being written. Dropped unfinished, it leaves nothing behind, unless its source
/// asked for that with [`Incoming::resume`].
pub struct Incoming {
    blob: Descriptor,
    folder: PathBuf,
    path: TempPath,
    file: File,
    hash: Sha256,
    received: u64,
    /// What comes stays for a later pull.
    lasting: bool,
    /// It was told where this began.
    told: bool,
    hear: Arc<Hear>,
}

impl Incoming {
    /// Makes a place for `blob` in `folder`, private to this user.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn create(
        blob: &Descriptor,
        folder: &Path,
        hear: Arc<Hear>,
    ) -> Result<Self, PullError> {
        let named = tempfile::Builder::new()
            .prefix(".incoming-")
            .tempfile_in(folder)
            .map_err(PullError::io("the blob can't be written"))?;
        let (file, path) = named.into_parts();
        Ok(Self {
            blob: blob.clone(),
            folder: folder.to_owned(),
            path,
            file: File::from_std(file),
            hash: Sha256::new(),
            received: 0,
            lasting: false,
            told: false,
            hear,
        })
    }

    /// Bytes that have come.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Goes on where an earlier pull of the blob into this folder broke off, also one of another
    /// process, and leaves what comes for a later one (as `.partial-` and the digest's hex digits).
    /// Of two pulls at once the second begins by itself. Whether what was left is right is seen at
    /// the end: [`Self::is_right`].
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn resume(&mut self) -> Result<(), PullError> {
        let failed = "a part of a blob can't be read";
        let place = self.folder.join(format!(".partial-{}", self.blob.digest.hex()));
        let most = self.blob.size;
        let opened = tokio::task::spawn_blocking(move || open_partial(place, most)).await;
        let opened = opened.map_err(io::Error::other).and_then(|opened| opened);
        let Some(partial) = opened.map_err(PullError::io(failed))? else { return Ok(()) };
        self.file = File::from_std(partial.file);
        self.path = partial.path;
        self.path.disable_cleanup(partial.length > 0);
        (self.hash, self.received, self.lasting) = (partial.hash, partial.length, true);
        self.tell_beginning();
        Ok(())
    }

    /// Whether the bytes that have come are the whole blob, by size and digest.
    pub fn is_right(&self) -> bool {
        self.received == self.blob.size
            && Digest::from_bytes(self.hash.clone().finalize().into()) == self.blob.digest
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`PullError::WrongSize`] when they are more than the descriptor says: there is no point in
    /// reading on. Otherwise when the disk refuses.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), PullError> {
        let received = self.received + bytes.len() as u64;
        if received > self.blob.size {
            self.path.disable_cleanup(false);
            return Err(self.wrong_size(received));
        }
        self.path.disable_cleanup(self.lasting);
        self.tell_beginning();
        self.file.write_all(bytes).await.map_err(PullError::io("the blob can't be written"))?;
        self.hash.update(bytes);
        self.received = received;
        (self.hear)(&self.blob, received);
        Ok(())
    }

    fn tell_beginning(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            (self.hear)(&self.blob, self.received);
        }
    }

    /// Waits until what has come is in the file, where a later pull may find it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn flush(&mut self) -> Result<(), PullError> {
        self.file.flush().await.map_err(PullError::io("the blob can't be written"))
    }

    /// Forgets what has come, for a source that can't go on where it broke off.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn restart(&mut self) -> Result<(), PullError> {
        let failed = "the blob can't be written anew";
        self.file.flush().await.map_err(PullError::io(failed))?;
        self.file.set_len(0).await.map_err(PullError::io(failed))?;
        self.file.rewind().await.map_err(PullError::io(failed))?;
        self.hash = Sha256::new();
        self.received = 0;
        self.path.disable_cleanup(false);
        (self.hear)(&self.blob, 0);
        Ok(())
    }

    /// Gives the blob its name in the folder: the hex digits of its digest.
    ///
    /// # Errors
    /// [`PullError::WrongSize`] and [`PullError::WrongDigest`] when it is not what its descriptor
    /// says.
    pub async fn finish(mut self) -> Result<PathBuf, PullError> {
        self.path.disable_cleanup(false);
        if self.received != self.blob.size {
            return Err(self.wrong_size(self.received));
        }
        let found = Digest::from_bytes(self.hash.finalize().into());
        if found != self.blob.digest {
            return Err(PullError::WrongDigest {
                what: "a blob".to_owned(),
                expected: self.blob.digest,
                found,
            });
        }
        self.file.flush().await.map_err(PullError::io("the blob can't be written"))?;
        let place = self.folder.join(found.hex());
        self.path
            .persist(&place)
            .map_err(|error| PullError::io("the blob can't be named")(error.error))?;
        Ok(place)
    }

    fn wrong_size(&self, found: u64) -> PullError {
        PullError::WrongSize {
            what: format!("the blob {}", self.blob.digest),
            expected: self.blob.size,
            found,
        }
    }
}

/// What an earlier pull left.
struct Partial {
    file: std::fs::File,
    path: TempPath,
    hash: Sha256,
    length: u64,
}

/// Opens and hashes what lies at `place`, of at most `most` bytes; none while another pull has it.
fn open_partial(place: PathBuf, most: u64) -> io::Result<Option<Partial>> {
    let mut options = std::fs::OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&place)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let ours = file.metadata()?;
    // The other pull may have named or removed the file between our opening and our lock.
    if !std::fs::metadata(&place).is_ok_and(|there| there.ino() == ours.ino()) {
        return Ok(None);
    }
    if ours.len() > most {
        file.set_len(0)?;
    }
    let mut hash = Sha256::new();
    let length = io::copy(&mut file, &mut hash)?;
    Ok(Some(Partial { file, path: TempPath::try_from_path(place)?, hash, length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(bytes: &[u8]) -> Descriptor {
        Descriptor {
            media_type: "application/wasm".to_owned(),
            digest: Digest::from_bytes(Sha256::digest(bytes).into()),
            size: bytes.len() as u64,
            platform: None,
            annotations: None,
        }
    }

    async fn incoming(blob: &Descriptor, folder: &Path) -> Incoming {
        Incoming::create(blob, folder, Arc::new(|_, _| {})).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_as_described_gets_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut whole = incoming(&blob(b"hello"), folder.path()).await;
        whole.write(b"hexx").await.unwrap();
        whole.restart().await.unwrap();
        whole.write(b"he").await.unwrap();
        assert_eq!(whole.received(), 2);
        whole.write(b"llo").await.unwrap();
        let path = whole.finish().await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"hello");
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), blob(b"hello").digest.hex());
    }

    #[tokio::test]
    async fn what_is_heard_first_is_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let heard: Arc<parking_lot::Mutex<Vec<u64>>> = Arc::default();
        let blob = blob(b"hello");
        let partial = folder.path().join(format!(".partial-{}", blob.digest.hex()));
        for (left, resumes, wanted) in
            [("", false, [0, 2, 5]), ("", true, [0, 2, 5]), ("hel", true, [3, 4, 5])]
        {
            let hear = heard.clone();
            let hear: Arc<Hear> = Arc::new(move |_, bytes| hear.lock().push(bytes));
            let mut incoming = Incoming::create(&blob, folder.path(), hear).await.unwrap();
            if resumes {
                std::fs::write(&partial, left).unwrap();
                incoming.resume().await.unwrap();
            }
            let middle = wanted[1] as usize;
            incoming.write(&b"hello"[left.len()..middle]).await.unwrap();
            incoming.write(&b"hello"[middle..]).await.unwrap();
            incoming.finish().await.unwrap();
            assert_eq!(std::mem::take(&mut *heard.lock()), wanted);
        }
    }

    #[tokio::test]
    async fn what_is_not_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut long = incoming(&blob(b"hello"), folder.path()).await;
        assert_eq!(long.write(b"hello!").await.unwrap_err().reason(), "wrong-size");
        let mut short = incoming(&blob(b"hello"), folder.path()).await;
        short.write(b"hell").await.unwrap();
        assert_eq!(short.finish().await.unwrap_err().reason(), "wrong-size");
        let mut other = incoming(&blob(b"hello"), folder.path()).await;
        other.write(b"hallo").await.unwrap();
        assert_eq!(other.finish().await.unwrap_err().reason(), "wrong-digest");
        drop(long);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_was_left_is_gone_on_with_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let blob = blob(b"hello");
        let mut first = incoming(&blob, folder.path()).await;
        first.resume().await.unwrap();
        first.write(b"he").await.unwrap();
        let mut beside = incoming(&blob, folder.path()).await;
        beside.resume().await.unwrap();
        assert_eq!(beside.received(), 0);
        first.file.flush().await.unwrap();
        drop((first, beside));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

        let mut second = incoming(&blob, folder.path()).await;
        second.resume().await.unwrap();
        assert_eq!(second.received(), 2);
        second.write(b"llo").await.unwrap();
        assert!(second.is_right());
        second.finish().await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

        let partial = folder.path().join(format!(".partial-{}", blob.digest.hex()));
        for left in ["hello and more", "hxllo"] {
            std::fs::write(&partial, left).unwrap();
            let mut wrong = incoming(&blob, folder.path()).await;
            wrong.resume().await.unwrap();
            assert!(!wrong.is_right());
            wrong.restart().await.unwrap();
            drop(wrong);
            assert!(!partial.exists(), "{left}");
        }
    }
}
