//! Whether a copy of the queue's file is one, for backups.

use std::path::Path;

use super::disk::{self, Disk};
use super::error::{OpenError, check_format};
use super::recover::Check;

/// Looks through the copy at `path` of a file that is `named` so, and reads every call in it.
///
/// # Errors
/// What is wrong with it.
pub fn check(path: &Path, named: &Path) -> Result<(), OpenError> {
    let copy = path.to_owned();
    let opened = Disk::open(Box::new(move || disk::open_copy(&copy)), &mut Check);
    let (_, format) = opened.map_err(|error| OpenError::from_redb(named, error))?;
    check_format(named, format, disk::FORMAT)
}
