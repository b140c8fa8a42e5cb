//! The folders of pulls on their way: one for each image of a namespace, so that a pull goes on where
//! the last one broke off. What broken pulls leave is bounded in age, bytes and number.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use dhow_core::digest::Digest;
use dhow_core::name::Label;
use dhow_oci::reference::Reference;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedMutexGuard;

/// What is kept of pulls that broke off.
#[derive(Debug, Clone)]
pub(super) struct Left {
    /// How long parts wait for the next pull.
    pub(super) age: Duration,
    /// Bytes of all of them.
    pub(super) bytes: u64,
    /// How many images they may be of.
    pub(super) images: usize,
}

impl Default for Left {
    fn default() -> Self {
        Self { age: Duration::from_secs(24 * 3600), bytes: 4 << 30, images: 256 }
    }
}

/// The folders. Each has a turn, which its pull holds.
pub(super) struct Staging {
    folder: PathBuf,
    left: Left,
    turns: Mutex<HashMap<PathBuf, Weak<Turn>>>,
}

type Turn = tokio::sync::Mutex<()>;

/// A folder that no pull has.
struct Free {
    path: PathBuf,
    modified: SystemTime,
    bytes: u64,
    _turn: OwnedMutexGuard<()>,
}

impl Staging {
    /// In `folder`, which is made, private to this user.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub(super) fn open(folder: PathBuf, left: Left) -> io::Result<Self> {
        make_private(&folder)?;
        Ok(Self { folder, left, turns: Mutex::default() })
    }

    /// The folder for an image of a namespace; it may not be there yet.
    pub(super) fn of(&self, namespace: &Label, reference: &Reference) -> PathBuf {
        let whole = Sha256::digest(format!("{namespace} {reference}"));
        self.folder.join(&Digest::from_bytes(whole.into()).hex()[..32])
    }

    /// Waits until no other pull has the folder.
    pub(super) async fn turn(&self, folder: &Path) -> OwnedMutexGuard<()> {
        self.turn_of(folder).lock_owned().await
    }

    /// Removes what waits for the next pull since too long before `now`, and the oldest of the rest
    /// until it is no more than is kept.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn tidy(&self, now: SystemTime) -> io::Result<()> {
        let mut free = self.free()?;
        free.sort_by_key(|one| std::cmp::Reverse(one.modified));
        let (mut bytes, mut images) = (0_u64, 0);
        for one in free {
            bytes = bytes.saturating_add(one.bytes);
            images += 1;
            let age = now.duration_since(one.modified).unwrap_or_default();
            let is_kept =
                age < self.left.age && bytes <= self.left.bytes && images <= self.left.images;
            if !is_kept {
                gone(fs::remove_dir_all(&one.path))?;
            }
        }
        Ok(())
    }

    fn free(&self) -> io::Result<Vec<Free>> {
        let mut free = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let Ok(turn) = self.turn_of(&path).try_lock_owned() else { continue };
            // A pull that ended meanwhile has removed its own.
            let Some(modified) = gone(fs::metadata(&path).and_then(|folder| folder.modified()))?
            else {
                continue;
            };
            let mut bytes = 0_u64;
            for file in gone(fs::read_dir(&path))?.into_iter().flatten() {
                let length = gone(file?.metadata())?.map_or(0, |file| file.len());
                bytes = bytes.saturating_add(length);
            }
            free.push(Free { path, modified, bytes, _turn: turn });
        }
        Ok(free)
    }

    fn turn_of(&self, folder: &Path) -> Arc<Turn> {
        let mut turns = self.turns.lock();
        turns.retain(|_, turn| turn.strong_count() > 0);
        let known = turns.get(folder).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let turn = Arc::default();
            turns.insert(folder.to_owned(), Arc::downgrade(&turn));
            turn
        })
    }
}

/// Nothing where there is nothing any more.
fn gone<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a folder that is this user's alone.
pub(super) fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A folder with a file of so many bytes that was left so many hours before `now`.
    fn leave(at: &Staging, name: &str, bytes: usize, hours: u32, now: SystemTime) -> PathBuf {
        let folder = at.folder.join(name);
        make_private(&folder).unwrap();
        fs::write(folder.join("part"), vec![0; bytes]).unwrap();
        fs::File::open(&folder).unwrap().set_modified(now - HOUR * hours).unwrap();
        folder
    }

    fn names(at: &Staging) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
        let mut names: Vec<_> =
            fs::read_dir(&at.folder).unwrap().map(|entry| name(entry).unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn the_oldest_that_nobody_has_goes_first() {
        let (folder, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let of = |left| Staging::open(folder.path().join("pulling"), left).unwrap();
        let some = || Left { bytes: 100, images: 3, ..Left::default() };
        let staging = of(some());
        let turn = staging.turn(&leave(&staging, "busy", 1000, 30, now)).await;
        for (name, bytes, hours) in
            [("a", 10, 4), ("b", 10, 3), ("c", 10, 2), ("d", 10, 1), ("old", 1, 25)]
        {
            leave(&staging, name, bytes, hours, now);
        }
        staging.tidy(now).unwrap();
        assert_eq!(names(&staging), ["b", "busy", "c", "d"]);
        leave(&staging, "c", 90, 2, now);
        staging.tidy(now).unwrap();
        assert_eq!(names(&staging), ["busy", "c", "d"]);
        leave(&staging, "c", 91, 2, now);
        staging.tidy(now).unwrap();
        assert_eq!(names(&staging), ["busy", "d"]);
        drop(turn);
        staging.tidy(now).unwrap();
        assert_eq!(names(&staging), ["d"]);
    }
}
