//! How what is kept comes to stay, whenever the power goes: the steps of a file ([`durable`]), and
//! databases that are opened whole or not at all ([`database`]).
//!
//! Knows files and redb; knows nothing of what is in them.

pub mod database;
pub mod durable;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Opens `path` for reading and writing, making it if absent; nobody else may read it.
///
/// # Errors
/// When the system refuses.
pub fn open_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    // A file that was copied here may have come with a wider mode.
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Whether the disk, or the user's share of it, is used up.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
