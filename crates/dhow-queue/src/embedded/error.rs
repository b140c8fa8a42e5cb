//! Why the queue can't be opened.

use std::io;
use std::path::{Path, PathBuf};

use dhow_disk::is_full;

/// Why the queue can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It can't be made, read or written.
    #[error("{} can't be used: {source}; name a folder that you may write with --data", path.display())]
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
    /// It was written by another version of dhow.
    #[error(
        "{} has format {found}, and this dhow knows format {known}: use the dhow that wrote it, or \
         name another folder with --data",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The format that is known here.
        known: u64,
    },
    /// It is not what dhow wrote.
    #[error(
        "{} is damaged: {detail}; restore it from a backup, or move it and the folder `calls` \
         away: the asynchronous calls in them are lost then",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

impl OpenError {
    pub(super) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_full(&source) { Self::Full { path } } else { Self::Unusable { path, source } }
    }

    pub(super) fn from_redb(path: &Path, error: redb::Error) -> Self {
        match error {
            // What begins like no redb file is reported in this way.
            // A file that ends too early is damaged, too.
            redb::Error::Io(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                Self::from_io(path, error)
            }
            redb::Error::DatabaseAlreadyOpen => {
                let source = io::Error::other("another process has it open");
                Self::Unusable { path: path.to_owned(), source }
            }
            error => Self::Damaged { path: path.to_owned(), detail: error.to_string() },
        }
    }
}

pub(super) fn check_format(path: &Path, found: u64, known: u64) -> Result<(), OpenError> {
    if found == known {
        Ok(())
    } else {
        Err(OpenError::Format { path: path.to_owned(), found, known })
    }
}
