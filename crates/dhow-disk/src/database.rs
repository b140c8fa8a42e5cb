//! Databases: a new one has its name when it is whole; one that is there is looked through before it
//! is used, and where redb panics over damage, that is an error like any other.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::{Database, Error};

use crate::durable::{Steps as _, System, sync_parent};
use crate::open_private;

/// Opens the file at `path`, whose name is on the disk when this returns. A new one is made beside its
/// place, filled by `fill` and then renamed, so that a file which was begun when the power went is
/// none. redb may use `cache` bytes of memory.
///
/// # Errors
/// When the file can't be used, or is no database.
pub fn open_or_make(
    path: &Path,
    cache: usize,
    fill: impl FnOnce(&Database) -> Result<(), Error>,
) -> Result<Database, Error> {
    if !path.try_exists()? {
        let begun = path.with_extension("begun");
        if begun.try_exists()? {
            fs::remove_file(&begun)?;
        }
        fill(&open(&begun, cache)?)?;
        // Its bytes are on the disk since its first commit.
        System.rename(&begun, path)?;
    }
    sync_parent(&System, path)?;
    open(path, cache)
}

/// Opens the file at `path`, or an empty one, with `cache` bytes of memory for redb.
///
/// # Errors
/// When the file can't be used, or is no database.
pub fn open(path: &Path, cache: usize) -> Result<Database, Error> {
    Ok(Database::builder().set_cache_size(cache).create_file(open_private(path)?)?)
}

/// Looks through a database that was just opened: its sums over all pages are looked at here and
/// nowhere else. What can be repaired of `what` is.
///
/// # Errors
/// When it is damaged beyond that.
pub fn look_through(database: &mut Database, what: &str) -> Result<(), Error> {
    if !database.check_integrity()? {
        tracing::warn!("{what} was damaged and has been repaired");
    }
    Ok(())
}

/// Runs `work` with a database. redb panics on some damaged files; then what it worked on is to be
/// dropped.
///
/// # Errors
/// Those of `work`; `Corrupted` where it panicked.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::Corrupted("its parts contradict each other".to_owned())))
}
