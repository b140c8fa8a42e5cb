//! A copy of everything that a data folder keeps, as one archive, and the way back.
//!
//! [`archive`] is the format; [`copy`] makes one of a folder, in use or not; [`restore`] makes a
//! folder of one. What belongs into a copy is decided here: all of the folder, except what can be
//! made again and what is about one process.

pub mod archive;
pub mod copy;
pub mod restore;
mod stream;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// How the file of a store that is not known here is looked through.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its name in the data folder.
    pub file: &'static str,
    /// Looks through the copy at the first path, and names it by the second. Says what is wrong.
    pub look: fn(&Path, &Path) -> Result<(), String>,
}

impl Check {
    /// Looks through each of the files, which stand at `place`, that there is a check for.
    fn all<'f>(
        checks: &[Self],
        files: impl Iterator<Item = (&'f Path, PathBuf)>,
        named: impl Fn(&Path) -> PathBuf,
    ) -> Result<(), String> {
        for (file, place) in files {
            for check in checks.iter().filter(|check| file.as_os_str() == check.file) {
                (check.look)(&place, &named(file))?;
            }
        }
        Ok(())
    }
}

/// Where the blobs are.
const BLOBS: &str = "blobs/sha256";
/// Compiled code, which is made again, guests' logs, which grow and go, and what is on its way from
/// a registry.
const NOT_STATE: [&str; 3] = ["code", "logs", "pulling"];
/// What a running process has there.
const OF_A_PROCESS: [&str; 2] = ["lock", "handover.sock"];
/// What a restore has there; see [`restore`].
const OF_A_RESTORE: [&str; 4] =
    [restore::BEGUN, restore::MAKING_ROOM, restore::MOVING_IN, restore::REPLACED];

/// Whether an entry of the data folder itself is state, which is copied and replaced.
fn is_state(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return true };
    // Files on their way to their place have hidden names.
    let is_begun = name.ends_with(".begun") || name.starts_with('.');
    let is_older = name.starts_with("catalog.format-");
    let others = [&NOT_STATE[..], &OF_A_PROCESS, &OF_A_RESTORE].concat();
    !is_begun && !is_older && !others.contains(&name)
}

#[cfg(test)]
mod tests;
