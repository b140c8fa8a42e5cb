//! Makes a data folder of an archive: all of it or nothing.
//!
//! The archive is unpacked into a folder inside the data folder and checked there, before anything
//! is changed. One rename then says that it holds; from there on whoever opens the data folder goes
//! on with what is left to be done, step by step, each of which may be repeated:
//!
//! 1. what is in the way moves out, to `replaced`;
//! 2. what was unpacked moves in.
//!
//! Everything happens inside the data folder, so that it may be a mount point and so that its lock
//! keeps others out.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use dhow_disk::durable::{Steps, System, make_private};
use dhow_disk::is_full;

use dhow_core::digest::Digest;

use super::archive::{self, Archive, ArchiveError};
use super::{BLOBS, Check, is_state};
use crate::catalog;
use crate::folder::{DataFolder, OpenError};

/// Where an archive is unpacked. What is left here counts for nothing.
pub(super) const BEGUN: &str = "restore-begun";
/// The archive holds; what is in its way moves out.
pub(super) const MAKING_ROOM: &str = "restore-making-room";
/// Nothing is in its way; it moves in.
pub(super) const MOVING_IN: &str = "restore-moving-in";
/// Where that goes which was there before.
pub(super) const REPLACED: &str = "replaced";

/// Why nothing was restored. Nothing was changed, either.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The data folder can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The archive is not taken.
    #[error("the backup is not taken: {0}")]
    Archive(ArchiveError),
    /// There is something already.
    #[error("{} holds something already ({})", folder.display(), found.join(", "))]
    Occupied {
        /// Which folder.
        folder: PathBuf,
        /// Some of what is there.
        found: Vec<String>,
    },
    /// What an earlier restore replaced is still there.
    #[error("{} holds what an earlier restore replaced", _0.display())]
    Replaced(PathBuf),
    /// The catalog in it can't be used.
    #[error("the backup is not taken, since in it {0}")]
    Catalog(OpenError),
    /// The file of another store in it can't be used.
    #[error("the backup is not taken, since in it {0}")]
    Damaged(String),
    /// Modules that the catalog needs are not in the archive.
    #[error("the backup is not taken: it lacks {0} modules that its catalog needs")]
    Lacking(usize),
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// Of what.
    pub archive: Archive,
    /// Where that is which was there before, if anything was.
    pub replaced: Option<PathBuf>,
}

/// Makes the folder at `path` what the archive in `from` says. One that holds something is left
/// alone, unless it is to `replace` that. `checks` look through what is not known here.
///
/// # Errors
/// When the folder is in use or holds something, or the archive is not whole. Nothing was changed.
pub fn restore(
    from: impl BufRead,
    path: &Path,
    replace: bool,
    checks: &[Check],
) -> Result<Restored, RestoreError> {
    let owned = DataFolder::open(path)?;
    let path = owned.path();
    let unusable = |error| RestoreError::Open(OpenError::from_io(path, error));
    let found = state(path).map_err(unusable)?;
    let replaced = path.join(REPLACED);
    if !found.is_empty() && !replace {
        let found = found.iter().take(5).map(|name| name.to_string_lossy().into_owned());
        return Err(RestoreError::Occupied { folder: path.to_owned(), found: found.collect() });
    }
    if !found.is_empty() && replaced.exists() {
        return Err(RestoreError::Replaced(replaced));
    }
    let begun = path.join(BEGUN);
    let unpacked = unpack(from, &begun, checks);
    if unpacked.is_err() {
        // It counts for nothing, and goes at the next start if it can't go now.
        drop(fs::remove_dir_all(&begun));
    }
    let archive = unpacked?;
    rename(&System, path, BEGUN, MAKING_ROOM).map_err(unusable)?;
    finish(&System, path).map_err(unusable)?;
    Ok(Restored { archive, replaced: (!found.is_empty()).then_some(replaced) })
}

/// Goes on with a restore that was broken off, if there is one. The folder is this process' own.
pub(crate) fn finish(steps: &dyn Steps, path: &Path) -> io::Result<()> {
    if path.join(BEGUN).exists() {
        fs::remove_dir_all(path.join(BEGUN))?;
    }
    if path.join(MAKING_ROOM).exists() {
        let in_the_way = state(path)?;
        if !in_the_way.is_empty() {
            make_private(steps, &path.join(REPLACED))?;
        }
        for name in in_the_way {
            steps.rename(&path.join(&name), &path.join(REPLACED).join(&name))?;
        }
        if path.join(REPLACED).exists() {
            steps.sync_folder(&path.join(REPLACED))?;
        }
        rename(steps, path, MAKING_ROOM, MOVING_IN)?;
    }
    let moving = path.join(MOVING_IN);
    if moving.exists() {
        for entry in fs::read_dir(&moving)? {
            let entry = entry?;
            steps.rename(&entry.path(), &path.join(entry.file_name()))?;
        }
        steps.sync_folder(path)?;
        fs::remove_dir(&moving)?;
    }
    Ok(())
}

fn rename(steps: &dyn Steps, path: &Path, from: &str, to: &str) -> io::Result<()> {
    steps.rename(&path.join(from), &path.join(to))?;
    steps.sync_folder(path)
}

/// The entries of the data folder that are state.
fn state(path: &Path) -> io::Result<Vec<OsString>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if is_state(&name) {
            found.push(name);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Unpacks an archive into `begun`, durably, and checks that it is a data folder whole.
pub(super) fn unpack(
    from: impl BufRead,
    begun: &Path,
    checks: &[Check],
) -> Result<Archive, RestoreError> {
    let unusable = |error| RestoreError::Open(OpenError::from_io(begun, error));
    make_private(&System, begun).map_err(unusable)?;
    let unpacked = archive::read(from, |path, file| keep(file, &begun.join(path)));
    let archive = unpacked.map_err(|error| match error {
        ArchiveError::Keep(error) if is_full(&error) => {
            RestoreError::Open(OpenError::Full { path: begun.to_owned() })
        }
        error => RestoreError::Archive(error),
    })?;
    let needed = catalog::check(&begun.join(catalog::FILE), Path::new(catalog::FILE))
        .map_err(RestoreError::Catalog)?;
    let held = |digest: &Digest| {
        let blob = archive.files.get(&Path::new(BLOBS).join(digest.hex()));
        blob.is_some_and(|sum| sum.digest == *digest)
    };
    match needed.iter().filter(|digest| !held(digest)).count() {
        0 => {}
        lacking => return Err(RestoreError::Lacking(lacking)),
    }
    let files = archive.files.keys().map(|file| (file.as_path(), begun.join(file)));
    Check::all(checks, files, Path::to_owned).map_err(RestoreError::Damaged)?;
    for folder in folders(begun).map_err(unusable)? {
        System.sync_folder(&folder).map_err(unusable)?;
    }
    Ok(archive)
}

fn keep(file: &mut dyn Read, place: &Path) -> io::Result<()> {
    if let Some(folder) = place.parent() {
        make_private(&System, folder)?;
    }
    let mut kept: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(place)?;
    io::copy(file, &mut kept)?;
    kept.sync_all()
}

/// `root` and all folders below it, each after those in it.
fn folders(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![root.to_owned()];
    let mut next = 0;
    while let Some(folder) = found.get(next).cloned() {
        next += 1;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.push(entry.path());
            }
        }
    }
    found.reverse();
    Ok(found)
}
