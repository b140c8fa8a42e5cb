//! Why an image can't be had.

use std::borrow::Cow;
use std::io;

use dhow_core::digest::Digest;

use crate::registry::RegistryError;

/// Why an image is not taken. Nothing of it is kept but what lies in the caller's folder.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// A manifest, index or configuration that can't be read, or contradicts itself.
    #[error("{what} can't be used: {why}")]
    BadManifest {
        /// Which document.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A layer or an archive that can't be read.
    #[error("the archive {what} can't be read: {why}")]
    BadLayer {
        /// Which.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// Bytes that are not what their digest says.
    #[error("{what} should be {expected}, but is {found}")]
    WrongDigest {
        /// Of what.
        what: String,
        /// As stated.
        expected: Digest,
        /// As it came.
        found: Digest,
    },
    /// A blob of another length than stated.
    #[error("{what} should have {expected} bytes, but has {found}")]
    WrongSize {
        /// Of what.
        what: String,
        /// As stated.
        expected: u64,
        /// As it came; more may follow.
        found: u64,
    },
    /// Over a budget.
    #[error("{what} is over the limit of {most}")]
    TooLarge {
        /// What is over it.
        what: String,
        /// The limit, with its unit.
        most: String,
    },
    /// A path or link in an archive that leaves the image, or can't be a file's.
    #[error("the path `{path}` in a layer is refused: {why}")]
    UnsafePath {
        /// As written, made printable.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nothing in it is WebAssembly, or what it starts isn't.
    #[error("it is not WebAssembly: {0}")]
    NotWasm(String),
    /// It has modules, but it is not said which one runs.
    #[error("it does not say which module runs: {0}")]
    NoEntry(String),
    /// An index without an entry for this machine, or with too many.
    #[error("no entry of the index can be chosen: {0}")]
    NoPlatform(String),
    /// A format, or a part of one, that is known and not taken.
    #[error("{0}")]
    Unsupported(String),
    /// What is named is not there.
    #[error("{0} is not there")]
    NotFound(String),
    /// The registry did not give it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Nobody waits for it any more.
    #[error("nobody waits for it any more")]
    Stopped,
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The system refused.
    #[error("{doing}: {error}")]
    Io {
        /// What was done.
        doing: String,
        /// Why it failed.
        error: io::Error,
    },
}

impl PullError {
    /// Its stable short name.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadManifest { .. } => "bad-manifest",
            Self::BadLayer { .. } => "bad-layer",
            Self::WrongDigest { .. } => "wrong-digest",
            Self::WrongSize { .. } => "wrong-size",
            Self::TooLarge { .. } => "too-large",
            Self::UnsafePath { .. } => "unsafe-path",
            Self::NotWasm(_) => "not-wasm",
            Self::NoEntry(_) => "no-entry",
            Self::NoPlatform(_) => "no-platform",
            Self::Unsupported(_) => "unsupported",
            Self::NotFound(_) => "not-found",
            Self::Registry(error) => error.reason(),
            Self::Stopped => "stopped",
            Self::Full => "storage-full",
            Self::Io { .. } => "io",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Registry(error) => return error.hint(),
            Self::BadManifest { .. } | Self::BadLayer { .. } => {
                "push it again with a current tool, or look at it with `skopeo inspect --raw`"
            }
            Self::WrongDigest { .. } | Self::WrongSize { .. } => {
                "it was changed or cut on its way; pull again, and don't trust this source if it stays"
            }
            Self::TooLarge { .. } => {
                "make the image smaller: a function needs its module and little else"
            }
            Self::UnsafePath { .. } => "build the image again with paths inside of it alone",
            Self::NotWasm(_) => "name an image whose entry point is a WebAssembly module",
            Self::NoEntry(_) => {
                "set ENTRYPOINT [\"/path/of.wasm\"], or name the module with --command /path/of.wasm"
            }
            Self::NoPlatform(_) => "build it for wasi/wasm, or name one entry by its digest",
            Self::Unsupported(_) => {
                "push it in another format, such as `dhow push FILE REF` writes"
            }
            Self::NotFound(_) => "check the name, the tag and the path",
            Self::Full => "free some space and try again",
            Self::Stopped => "ask for it again",
            Self::Io { .. } => "see the system's reason, then try again",
        })
    }

    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io { doing, error },
        }
    }

    pub(crate) fn manifest(what: &'static str, why: impl ToString) -> Self {
        Self::BadManifest { what, why: why.to_string() }
    }

    /// Takes an error of reading `what` apart: our own, handed through a reader, or a bad archive.
    pub(crate) fn reading(what: &str) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_owned();
        move |error| match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) => Self::BadLayer { what, why: error.to_string() },
        }
    }
}
