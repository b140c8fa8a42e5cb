//! Files in the caller's staging folder, by digest.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use dhow_core::digest::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::error::PullError;

/// A file in the staging folder; its name is the hex digits of its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Of its bytes.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// Bytes that are written but have no name yet.
pub(super) struct Unnamed {
    file: NamedTempFile,
    digest: Digest,
    size: u64,
}

impl Unnamed {
    /// Writes what `from` gives into `folder`. `what` is what is read, for errors.
    pub(super) fn write(folder: &Path, what: &str, from: &mut dyn Read) -> Result<Self, PullError> {
        let failed = "a file can't be unpacked";
        let mut file = NamedTempFile::new_in(folder).map_err(PullError::io(failed))?;
        let (mut hash, mut size) = (Sha256::new(), 0);
        let mut chunk = vec![0; 64 << 10];
        loop {
            let read = match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(PullError::reading(what)(error)),
            };
            hash.update(&chunk[..read]);
            file.write_all(&chunk[..read]).map_err(PullError::io(failed))?;
            size += read as u64;
        }
        Ok(Self { file, digest: Digest::from_bytes(hash.finalize().into()), size })
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) fn name(self, folder: &Path) -> Result<Staged, PullError> {
        let path = folder.join(self.digest.hex());
        self.file
            .persist(&path)
            .map_err(|error| PullError::io("a file can't be named")(error.error))?;
        Ok(Staged { digest: self.digest, size: self.size, path })
    }
}
