//! The data folder and who owns it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use dhow_disk::durable::{Steps as _, System, make_private, sync_parent};
use dhow_disk::is_full;
use parking_lot::Mutex;

use crate::backup::restore;

/// The name of the lock file inside the folder.
const LOCK: &str = "lock";
/// How long a lock is waited for. A child that is just being started has its parent's files until
/// it becomes a program of its own, locks of an owner that is gone by then included.
const PATIENCE: Duration = Duration::from_millis(500);

/// A data folder that this process owns for as long as the value lives, or until it lets go of it.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// Locked, or let go of; the lock goes with the process, however it ends.
    lock: Mutex<Option<File>>,
}

/// Why a data folder, or a store in it, can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the data folder {} is in use by another dhow{}: stop that one, or name another folder \
         with --data",
        folder.display(),
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Owned {
        /// Which folder.
        folder: PathBuf,
        /// Who has it, as far as the lock file tells.
        pid: Option<u32>,
    },
    /// It can't be made, read or written.
    #[error(
        "{} can't be used: {source}; name a folder that you may write with --data",
        path.display()
    )]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The disk is full.
    #[error("the disk that holds {} is full; free some space and start again", path.display())]
    Full {
        /// The file or folder.
        path: PathBuf,
    },
    /// It was written by a later version of dhow.
    #[error(
        "{} has format {found}, written by {}; this one knows formats up to {known}: use that \
         dhow, or name another folder with --data",
        path.display(),
        writer.as_ref().map_or_else(|| "a newer dhow".to_owned(), |version| format!("dhow {version}"))
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format that is known here.
        known: u64,
        /// The version that wrote it, where it can be read.
        writer: Option<String>,
    },
    /// It was written by a version of dhow that is too old.
    #[error(
        "{} has format {found}, written by an older dhow; this one reads formats from {known}: \
         deploy the functions into another folder, named with --data",
        path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The oldest format that is known here.
        known: u64,
    },
    /// The file of the admin secret holds none.
    #[error(
        "{} holds no admin secret: {detail}; remove the file, and the next start makes a new one",
        path.display()
    )]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// It is not what dhow wrote.
    #[error(
        "{} is damaged: {detail}; restore it from a backup, or move it away and deploy the \
         functions again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

impl DataFolder {
    /// Makes the folder if it is absent, with mode 0700, takes its lock, and goes on with a restore
    /// that was broken off.
    ///
    /// # Errors
    /// `Owned`, `Unusable` or `Full`.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let unusable = |error| OpenError::from_io(path, error);
        make_private(&System, path).map_err(unusable)?;
        sync_parent(&System, path).map_err(unusable)?;
        let lock = Mutex::new(Some(take_lock(path)?));
        restore::finish(&System, path).map_err(unusable)?;
        // What a process that was killed had given a name stays from now on.
        System.sync_folder(path).map_err(unusable)?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// Lets another process own the folder. Whoever has stores open in it closes them before.
    ///
    /// # Errors
    /// When the system refuses; then this process owns it still.
    pub fn let_go(&self) -> io::Result<()> {
        let mut lock = self.lock.lock();
        if let Some(file) = &*lock {
            // By name: a child that was begun just now may have the file open for a moment more.
            file.unlock()?;
        }
        *lock = None;
        Ok(())
    }

    /// Owns the folder again after [`Self::let_go`].
    ///
    /// # Errors
    /// `Owned`, `Unusable` or `Full`.
    pub fn take_again(&self) -> Result<(), OpenError> {
        let mut lock = self.lock.lock();
        if lock.is_none() {
            *lock = Some(take_lock(&self.path)?);
        }
        Ok(())
    }

    /// Whether a process owns the folder at `path`, and which, as far as the lock file tells.
    /// Changes nothing.
    ///
    /// # Errors
    /// When the lock file is there and can't be read.
    pub fn owner(path: &Path) -> io::Result<Option<Option<u32>>> {
        let lock = match File::open(path.join(LOCK)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Shared, so that two who only look do not see each other.
        match lock.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read_pid(&lock))),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Takes the lock, within [`PATIENCE`].
fn take(lock: &File) -> Result<(), TryLockError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

impl OpenError {
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        if is_full(&source) {
            Self::Full { path: path.to_owned() }
        } else {
            Self::Unusable { path: path.to_owned(), source }
        }
    }
}

/// Locks the folder for this process.
fn take_lock(folder: &Path) -> Result<File, OpenError> {
    let unusable = |error| OpenError::from_io(folder, error);
    let lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join(LOCK))
        .map_err(unusable)?;
    match take(&lock) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::Owned { folder: folder.to_owned(), pid: read_pid(&lock) });
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    write_pid(&lock).map_err(unusable)?;
    Ok(lock)
}

fn read_pid(mut lock: &File) -> Option<u32> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Always the same number of bytes over the old ones, so that it needs no space on a full disk.
fn write_pid(mut lock: &File) -> io::Result<()> {
    lock.rewind()?;
    lock.write_all(format!("{:10}\n", std::process::id()).as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_folder_has_one_owner_who_is_named_to_the_second() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = DataFolder::open(&path).unwrap();
        let second = DataFolder::open(&path).unwrap_err();
        let pid = std::process::id();
        assert_eq!(DataFolder::owner(&path).unwrap(), Some(Some(pid)));
        assert!(matches!(second, OpenError::Owned { pid: Some(named), .. } if named == pid));
        assert!(second.to_string().contains(&format!("in use by another dhow (process {pid})")));
        drop(first);
        assert_eq!(DataFolder::owner(&path).unwrap(), None);
        DataFolder::open(&path).unwrap();
    }

    #[test]
    fn a_folder_that_was_let_go_of_is_anothers_until_it_is_taken_again() {
        let parent = tempfile::tempdir().unwrap();
        let first = DataFolder::open(parent.path()).unwrap();
        first.take_again().unwrap();
        first.let_go().unwrap();
        let second = DataFolder::open(parent.path()).unwrap();
        assert!(matches!(first.take_again(), Err(OpenError::Owned { .. })));
        drop(second);
        first.take_again().unwrap();
        assert!(DataFolder::open(parent.path()).is_err());
    }

    #[test]
    fn the_folder_and_its_lock_are_private() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let _folder = DataFolder::open(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join(LOCK)), 0o600);
    }

    #[test]
    fn a_place_where_no_folder_can_be_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = DataFolder::open(&path).unwrap_err();
            assert!(matches!(error, OpenError::Unusable { .. }), "{error}");
            assert!(error.to_string().contains("--data"), "{error}");
        }
    }

    #[test]
    fn the_lock_is_free_again_after_its_owner_was_killed() {
        let parent = tempfile::tempdir().unwrap();
        let lock = parent.path().join(LOCK);
        fs::write(&lock, "").unwrap();
        // `flock` holds the same kind of lock from another process.
        let mut owner = Command::new("flock")
            .arg("--no-fork")
            .arg(&lock)
            .args(["sh", "-c", "echo held; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs the command `flock` of util-linux");
        let mut held = [0; 4];
        owner.stdout.take().unwrap().read_exact(&mut held).unwrap();
        assert!(matches!(DataFolder::open(parent.path()), Err(OpenError::Owned { pid: None, .. })));
        owner.kill().unwrap();
        owner.wait().unwrap();
        DataFolder::open(parent.path()).unwrap();
    }
}
