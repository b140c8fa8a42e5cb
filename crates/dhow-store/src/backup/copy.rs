//! Makes a copy of a data folder: of one that nobody uses, or of the one that this process owns,
//! while it serves.
//!
//! Stores that change their files in place stand still while these are copied beside their place;
//! the catalog's copy is then opened and checked. Blobs never change, so they are read at leisure:
//! meanwhile none is collected.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dhow_core::digest::Digest;
use dhow_core::ports::Pause;
use tempfile::{NamedTempFile, TempPath};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::archive::{Archive, Sum, Writer};
use super::{BLOBS, Check, is_state};
use crate::blobs::{self, BlobStore, Held};
use crate::catalog;
use crate::folder::{DataFolder, OpenError};

/// Copies the data folder that this process owns. Cheap to clone.
#[derive(Clone)]
pub struct Copier(Arc<Source>);

struct Source {
    folder: Arc<DataFolder>,
    blobs: BlobStore,
    pauses: Vec<Arc<dyn Pause>>,
    checks: &'static [Check],
    /// Held by the one copy that is made.
    turn: Arc<Semaphore>,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The folder, or a file in it, can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is nothing to copy.
    #[error("{} holds nothing that dhow keeps: name its data folder with --data", _0.display())]
    Empty(PathBuf),
    /// A module is not what its name says, or is missing.
    #[error(
        "{} is damaged or missing: deploy the functions that it belongs to again, or restore it \
         from a backup",
        _0.display()
    )]
    Blob(PathBuf),
    /// The file of a store is not what it should be.
    #[error("{0}")]
    Damaged(String),
    /// The archive can't be written.
    #[error("the backup can't be written: {0}")]
    Write(io::Error),
}

/// What is to be archived, as it was at one moment.
pub(super) struct Copy {
    root: PathBuf,
    /// Copies of files that change in place.
    changing: Vec<Changing>,
    /// Those that never change, in order.
    blobs: Vec<Digest>,
    _held: Option<Held>,
}

/// A copy of a file that changes in place. It goes with the value.
struct Changing {
    /// Where the file is in the data folder.
    path: PathBuf,
    copy: TempPath,
}

impl Copier {
    /// Copies `folder` with its `blobs`; `pauses` are all the stores that change files in place, and
    /// `checks` are of those whose files are not known here.
    pub fn new(
        folder: Arc<DataFolder>,
        blobs: BlobStore,
        pauses: Vec<Arc<dyn Pause>>,
        checks: &'static [Check],
    ) -> Self {
        let turn = Arc::new(Semaphore::new(1));
        Self(Arc::new(Source { folder, blobs, pauses, checks, turn }))
    }

    /// The right to make a copy, if nobody has it.
    pub(super) fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.0.turn.clone().try_acquire_owned().ok()
    }

    /// The state as it is now. Waits for the disk.
    pub(super) fn copy(&self) -> Result<Copy, CopyError> {
        let Source { folder, blobs, pauses, checks, turn: _ } = &*self.0;
        let held = blobs.hold();
        let mut changing = Ok(vec![]);
        all_paused(pauses, &mut || changing = copy_changing(folder.path()));
        Copy::checked(folder.path(), changing?, Some(held), checks)
    }
}

/// Archives a data folder that nobody uses, once `checks` have found nothing wrong.
///
/// # Errors
/// When it is in use, damaged or unreadable, or `to` can't be written.
pub fn folder(
    path: &Path,
    to: impl Write,
    now_ms: u64,
    checks: &[Check],
) -> Result<Archive, CopyError> {
    if !path.join(catalog::FILE).is_file() {
        return Err(CopyError::Empty(path.to_owned()));
    }
    let owned = DataFolder::open(path)?;
    let changing = copy_changing(owned.path())?;
    Copy::checked(owned.path(), changing, None, checks)?.write(to, now_ms)
}

impl Copy {
    fn checked(
        root: &Path,
        changing: Vec<Changing>,
        held: Option<Held>,
        checks: &[Check],
    ) -> Result<Self, CopyError> {
        let place = root.join(BLOBS);
        let blobs = blobs::names(&place).map_err(|error| OpenError::from_io(&place, error))?;
        for Changing { path, copy } in &changing {
            if path.as_os_str() == catalog::FILE {
                let needed = catalog::check(copy, &root.join(path))?;
                if let Some(missing) = needed.iter().find(|digest| !blobs.contains(digest)) {
                    return Err(CopyError::Blob(place.join(missing.hex())));
                }
            }
        }
        let copies = changing.iter().map(|one| (&*one.path, one.copy.to_path_buf()));
        Check::all(checks, copies, |file| root.join(file)).map_err(CopyError::Damaged)?;
        let blobs = blobs.into_iter().collect();
        Ok(Self { root: root.to_owned(), changing, blobs, _held: held })
    }

    /// Archives it.
    pub(super) fn write(self, to: impl Write, now_ms: u64) -> Result<Archive, CopyError> {
        let mut writer = Writer::new(to, now_ms).map_err(CopyError::Write)?;
        for Changing { path, copy } in &self.changing {
            // Opened anew: whoever checked it may have changed its length.
            add(&mut writer, copy, path)?;
        }
        for digest in &self.blobs {
            let path = Path::new(BLOBS).join(digest.hex());
            let full = self.root.join(&path);
            if add(&mut writer, &full, &path)?.digest != *digest {
                return Err(CopyError::Blob(full));
            }
        }
        writer.finish().map_err(CopyError::Write)
    }
}

fn add(writer: &mut Writer<impl Write>, from: &Path, path: &Path) -> Result<Sum, CopyError> {
    let unreadable = |error| OpenError::from_io(from, error);
    let file = File::open(from).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    writer.add(path, size, file).map_err(CopyError::Write)
}

/// Runs `work` while all of `pauses` stand still.
fn all_paused(pauses: &[Arc<dyn Pause>], work: &mut dyn FnMut()) {
    match pauses.split_first() {
        Some((first, rest)) => first.paused(&mut || all_paused(rest, work)),
        None => work(),
    }
}

/// Copies every state file of `root` but the blobs.
fn copy_changing(root: &Path) -> Result<Vec<Changing>, OpenError> {
    let mut copies = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        let folder = root.join(&below);
        let unreadable = |error| OpenError::from_io(&folder, error);
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (path, kind) = (below.join(entry.file_name()), entry.file_type());
            let kind = kind.map_err(unreadable)?;
            let is_top = below.as_os_str().is_empty();
            if is_top && (!is_state(&entry.file_name()) || path.as_os_str() == "blobs") {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                match copy_file(root, &entry.path()) {
                    Ok(copy) => copies.push(Changing { path, copy }),
                    // What nothing refers to any more may go at any time.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(OpenError::from_io(&entry.path(), error)),
                }
            }
        }
    }
    copies.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(copies)
}

/// The file as it is now. Databases change in place; any other file is another one when it changes,
/// so that a second name is enough.
fn copy_file(root: &Path, from: &Path) -> io::Result<TempPath> {
    if from.extension().is_none_or(|extension| extension != "redb") {
        let linked = tempfile::Builder::new().make_in(root, |name| fs::hard_link(from, name));
        match linked {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            Ok(linked) => return Ok(linked.into_temp_path()),
            // Not every file system has second names.
            Err(_) => {}
        }
    }
    let mut copy = NamedTempFile::new_in(root)?;
    io::copy(&mut File::open(from)?, copy.as_file_mut())?;
    Ok(copy.into_temp_path())
}
