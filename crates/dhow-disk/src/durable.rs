//! How a file comes to stay, whenever the power goes: written beside its place and synced, then
//! renamed, then its folder synced. Who acknowledges something does so after the last step.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

/// The steps. [`System`] takes them; tests take them too, and make images of what a cut leaves.
///
/// # Errors
/// Each step fails with what the system says.
pub trait Steps: std::fmt::Debug + Send + Sync {
    /// Has the bytes of `file`, which is at `path`, on the disk when it returns.
    fn sync(&self, path: &Path, file: &File) -> io::Result<()>;

    /// Gives what is at `from` the name `to`; what had it is gone.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes one folder, open to its owner alone.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;

    /// Has the names in `folder` on the disk when it returns.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// The system that this process runs on.
#[derive(Debug)]
pub struct System;

impl Steps for System {
    fn sync(&self, _: &Path, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

/// Puts a file that was written at `place`, durably, over one that may be there.
///
/// # Errors
/// When the system refuses; the file may be at either place then.
pub fn keep(steps: &dyn Steps, file: NamedTempFile, place: &Path) -> io::Result<()> {
    steps.sync(file.path(), file.as_file())?;
    steps.rename(file.path(), place)?;
    // Its name is no longer one to be removed.
    file.keep().map_err(|error| error.error)?;
    steps.sync_folder(parent(place))
}

/// Makes `path` and what leads there, if absent, open to the owner alone and durably. A folder that
/// is there keeps its mode: it may be one that others have business in.
///
/// # Errors
/// When the system refuses.
pub fn make_private(steps: &dyn Steps, path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent(path);
    make_private(steps, parent)?;
    match steps.make_folder(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    sync_parent(steps, path)
}

/// Has the name `path` on the disk when it returns, whoever gave it: a process that was killed between
/// the two steps leaves a name that only looks as if it would stay.
///
/// # Errors
/// When the system refuses.
pub fn sync_parent(steps: &dyn Steps, path: &Path) -> io::Result<()> {
    match steps.sync_folder(parent(path)) {
        // One that may be written and not read, which is somebody else's, can't be synced.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}
