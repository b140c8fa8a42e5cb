//! Compiled code on disk: for each module a file `KEY.cwasm` and beside it `KEY.seal`, which says
//! what the code is, how long it is and what its SHA-256 sum is.
//!
//! The seal is written last, after the code is on disk; code without a fitting seal is not used.
//! The length is compared at every load. The sum is compared whenever the file is not, by inode
//! and times, the one that was compared last.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use dhow_core::digest::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::compile::Look;

/// The first field of every seal; another one is another format.
const FORMAT: &str = "dhow-code-1";

/// The folder of compiled code.
pub(crate) struct Cache {
    folder: PathBuf,
    /// wasmtime's version and settings and this CPU's features: part of every key.
    fingerprint: String,
    serial: AtomicU64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Seal {
    format: String,
    length: u64,
    pub(super) sum: String,
    look: Look,
    /// The file as it was when its sum was last compared.
    checked: Stamp,
}

/// Changes whenever a file's bytes may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Code that may be mapped.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) look: Look,
}

/// What a look into the cache found.
#[derive(Debug)]
pub(crate) enum Found {
    Sound(Entry),
    Missing,
    /// There was something, and it was not what was written. It has been removed.
    Damaged,
}

impl Cache {
    /// Opens the folder, making it with mode 0700, and clears what an earlier process left
    /// unfinished. One that lives still, because it hands over to this one, may finish its own.
    pub(crate) fn open(folder: &Path, fingerprint: String) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        for file in fs::read_dir(folder)? {
            let file = file?;
            if is_unfinished(&file.file_name()) {
                fs::remove_file(file.path())?;
            }
        }
        Ok(Self { folder: folder.to_owned(), fingerprint, serial: AtomicU64::new(0) })
    }

    /// A file name for a compiler to write to.
    pub(crate) fn fresh(&self) -> PathBuf {
        let serial = self.serial.fetch_add(1, Relaxed);
        self.folder.join(format!("{}-{serial}.new", std::process::id()))
    }

    /// The code of `module`, if a glance shows that it is here and whole: its file is the one
    /// whose sum was compared.
    pub(crate) fn unchanged(&self, module: &Digest) -> Option<Entry> {
        let (path, seal) = self.paths(module);
        let seal: Seal = serde_json::from_slice(&fs::read(seal).ok()?).ok()?;
        let file = fs::metadata(&path).ok()?;
        let is_same =
            seal.format == FORMAT && seal.length == file.len() && seal.checked == Stamp::of(&file);
        is_same.then_some(Entry { path, look: seal.look })
    }

    /// The code of `module`, if it is here and whole. Where it has to be compared with its sum,
    /// that takes a while.
    pub(crate) fn find(&self, module: &Digest) -> io::Result<Found> {
        let (path, seal_path) = self.paths(module);
        let bytes = match fs::read(&seal_path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
            Err(error) => return Err(error),
        };
        match check(&path, &bytes) {
            Ok((seal, None)) => Ok(Found::Sound(Entry { path, look: seal.look })),
            Ok((seal, Some(stamp))) => {
                let seal = Seal { checked: stamp, ..seal };
                // Only saves the next load the comparison.
                if let Err(error) = self.write_seal(&seal_path, &seal) {
                    tracing::warn!(module = %module, %error, "a seal can't be renewed");
                }
                Ok(Found::Sound(Entry { path, look: seal.look }))
            }
            Err(wrong) => {
                tracing::warn!(module = %module, wrong, "compiled code is damaged; compiling anew");
                self.remove(module)?;
                Ok(Found::Damaged)
            }
        }
    }

    /// Takes `new`, written by a compiler, as the code of `module`.
    pub(crate) fn keep(&self, module: &Digest, new: &Path, look: Look) -> io::Result<Entry> {
        let (path, seal_path) = self.paths(module);
        let mut file = File::open(new)?;
        let (length, sum) = sum(&mut file)?;
        fs::rename(new, &path)?;
        // After the rename, which changes ctime.
        let checked = Stamp::of(&fs::metadata(&path)?);
        let seal = Seal { format: FORMAT.to_owned(), length, sum, look, checked };
        self.write_seal(&seal_path, &seal)?;
        Ok(Entry { path, look: seal.look })
    }

    /// Removes the code of modules that are neither in `keep` nor younger than `least_age` at
    /// `now`; how many files that were.
    pub(crate) fn collect(
        &self,
        keep: &HashSet<Digest>,
        least_age: Duration,
        now: SystemTime,
    ) -> io::Result<usize> {
        let mut removed = 0;
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            let Some((module, fingerprint)) = key_of(&file.file_name()) else { continue };
            // A file from the future, after a clock was set back, is young.
            let age = now.duration_since(file.metadata()?.modified()?).unwrap_or_default();
            // What another version of dhow compiled, this one can't use.
            let needed = keep.contains(&module) && fingerprint == self.fingerprint;
            if !needed && age >= least_age {
                fs::remove_file(file.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn remove(&self, module: &Digest) -> io::Result<()> {
        let (path, seal) = self.paths(module);
        for path in [seal, path] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn paths(&self, module: &Digest) -> (PathBuf, PathBuf) {
        let key = format!("{}-{}", module.hex(), self.fingerprint);
        (self.folder.join(format!("{key}.cwasm")), self.folder.join(format!("{key}.seal")))
    }

    fn write_seal(&self, path: &Path, seal: &Seal) -> io::Result<()> {
        let new = self.fresh();
        let written = write_new(&new, &serde_json::to_vec(seal)?);
        let written = written.and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            // On a full disk every byte counts. What can't be removed is cleared at start.
            drop(fs::remove_file(&new));
        }
        written
    }
}

/// Whether [`Cache::fresh`] gave a file this name, in a process that is no more.
fn is_unfinished(name: &OsStr) -> bool {
    let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".new")) else {
        return false;
    };
    let other = name.split_once('-').map(|(pid, _)| pid).filter(|pid| {
        // A number of this process is of an earlier one that had the same.
        pid.parse().is_ok_and(|pid: u32| pid != std::process::id())
    });
    !other.is_some_and(|pid| Path::new("/proc").join(pid).exists())
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The module and the fingerprint whose code or seal has this file name.
pub(super) fn key_of(name: &OsStr) -> Option<(Digest, String)> {
    let (hex, rest) = name.to_str()?.split_once('-')?;
    let (fingerprint, _) = rest.split_once('.')?;
    Some((format!("sha256:{hex}").parse().ok()?, fingerprint.to_owned()))
}

/// Compares code with its seal. Answers the new stamp where the sum had to be compared.
pub(super) fn check(path: &Path, seal: &[u8]) -> Result<(Seal, Option<Stamp>), &'static str> {
    let seal: Seal = serde_json::from_slice(seal).map_err(|_| "the seal is unreadable")?;
    if seal.format != FORMAT {
        return Err("the seal has another format");
    }
    let mut file = File::open(path).map_err(|_| "the code is missing")?;
    let metadata = file.metadata().map_err(|_| "the code is unreadable")?;
    if metadata.len() != seal.length {
        return Err("the code has another length");
    }
    let stamp = Stamp::of(&metadata);
    if stamp == seal.checked {
        return Ok((seal, None));
    }
    let (_, sum) = sum(&mut file).map_err(|_| "the code is unreadable")?;
    if sum != seal.sum {
        return Err("the code has another sum");
    }
    Ok((seal, Some(stamp)))
}

pub(super) fn sum(file: &mut File) -> io::Result<(u64, String)> {
    let (mut hasher, mut buffer, mut length) = (Sha256::new(), vec![0; 1 << 16], 0u64);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            let sum = Digest::from_bytes(hasher.finalize().into()).to_string();
            return Ok((length, sum));
        }
        hasher.update(&buffer[..read]);
        length += read as u64;
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn look() -> Look {
        Look {
            kind: "core module".to_owned(),
            abis: vec!["command".to_owned()],
            imports: vec![],
            exports: vec![],
            size: 4,
            profile: "plain".to_owned(),
            component: false,
        }
    }

    fn cache_with(code: &[u8]) -> (tempfile::TempDir, Cache, Digest, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), "f".to_owned()).unwrap();
        let module = Digest::from_bytes([1; 32]);
        let new = cache.fresh();
        fs::write(&new, code).unwrap();
        let entry = cache.keep(&module, &new, look()).unwrap();
        (folder, cache, module, entry.path)
    }

    #[test]
    fn what_was_kept_is_found_also_after_a_touch() {
        let (_folder, cache, module, path) = cache_with(b"code");
        assert!(matches!(cache.find(&module).unwrap(), Found::Sound(_)));
        // Same bytes under a new stamp: compared by sum, and sound.
        fs::write(&path, b"code").unwrap();
        assert!(matches!(cache.find(&module).unwrap(), Found::Sound(_)));
    }

    #[test]
    fn damaged_truncated_and_foreign_code_is_removed() {
        for wrong in [&b"c0de"[..], b"cod", b"", b"code and more"] {
            let (_folder, cache, module, path) = cache_with(b"code");
            fs::write(&path, wrong).unwrap();
            assert!(matches!(cache.find(&module).unwrap(), Found::Damaged), "{wrong:?}");
            assert!(matches!(cache.find(&module).unwrap(), Found::Missing));
            assert!(!path.exists());
        }
    }

    #[test]
    fn code_that_nobody_needs_or_can_use_is_collected() {
        let (folder, cache, module, path) = cache_with(b"code");
        let later = SystemTime::now() + Duration::from_secs(10);
        let age = Duration::from_secs(5);
        let needed = HashSet::from([module]);
        assert_eq!(cache.collect(&needed, age, later).unwrap(), 0);
        assert_eq!(cache.collect(&HashSet::new(), age, SystemTime::now()).unwrap(), 0, "young");
        let next = Cache::open(folder.path(), "g".to_owned()).unwrap();
        assert_eq!(next.collect(&needed, age, later).unwrap(), 2, "of another version");
        assert!(!path.exists() && cache.unchanged(&module).is_none());
    }

    #[test]
    fn code_without_a_seal_is_not_used() {
        let (folder, cache, _, path) = cache_with(b"code");
        let other = Digest::from_bytes([2; 32]);
        fs::copy(&path, folder.path().join(format!("{}-f.cwasm", other.hex()))).unwrap();
        assert!(matches!(cache.find(&other).unwrap(), Found::Missing));
    }

    #[test]
    fn another_engine_does_not_see_the_code() {
        let (folder, _, module, _) = cache_with(b"code");
        let other = Cache::open(folder.path(), "g".to_owned()).unwrap();
        assert!(matches!(other.find(&module).unwrap(), Found::Missing));
    }

    #[test]
    fn unfinished_files_are_cleared_at_start() {
        let (folder, cache, ..) = cache_with(b"code");
        fs::write(cache.fresh(), b"half").unwrap();
        fs::write(folder.path().join("4194305-0.new"), b"of a process that can't be").unwrap();
        let living = folder.path().join(format!("{}-0.new", std::os::unix::process::parent_id()));
        fs::write(&living, b"half").unwrap();
        Cache::open(folder.path(), "f".to_owned()).unwrap();
        let files = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
        let unfinished: Vec<_> = files.filter(|file| file.extension().unwrap() == "new").collect();
        assert_eq!(unfinished, [living]);
    }
}
