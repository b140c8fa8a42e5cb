//! How a guest is called.

use std::fmt;
use std::str::FromStr;

/// How a guest expects to be called. `docs/` and ARCHITECTURE.md list what each one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Abi {
    /// A component exporting `wasi:http/incoming-handler@0.2` or `wasi:http/handler@0.3`.
    Http,
    /// A Spin application.
    Spin,
    /// A WASI command: `_start` of a core module, or `wasi:cli/run` of a component.
    Command,
    /// A waPC/waSCC actor.
    Actor,
    /// A WASI program that listens on sockets itself.
    Server,
}

/// How a call becomes the input and output of a [`Abi::Command`] guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Io {
    /// Body to stdin, stdout to body, `Http_*` variables: OpenFaaS' classic watchdog.
    #[default]
    Stdio,
    /// JSON `{"args": […]}` to argv, lines of stdout as JSON: WasmFunction's wasmkeeper.
    Keeper,
    /// RFC 3875 as WAGI uses it.
    Cgi,
}

/// A word that names no [`Abi`] or [`Io`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not one of {expected}")]
pub struct UnknownWord {
    /// The word that was given.
    pub found: String,
    /// The words that would have been right.
    pub expected: &'static str,
}

impl Abi {
    /// The name used in manifests, listings and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Spin => "spin",
            Self::Command => "command",
            Self::Actor => "actor",
            Self::Server => "server",
        }
    }
}

impl Io {
    /// The name used in manifests and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdio => "stdio",
            Self::Keeper => "keeper",
            Self::Cgi => "cgi",
        }
    }
}

impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Abi {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        [Self::Http, Self::Spin, Self::Command, Self::Actor, Self::Server]
            .into_iter()
            .find(|abi| abi.as_str() == word)
            .ok_or_else(|| UnknownWord {
                found: word.to_owned(),
                expected: "http, spin, command, actor, server",
            })
    }
}

impl FromStr for Io {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        [Self::Stdio, Self::Keeper, Self::Cgi]
            .into_iter()
            .find(|io| io.as_str() == word)
            .ok_or_else(|| UnknownWord { found: word.to_owned(), expected: "stdio, keeper, cgi" })
    }
}
