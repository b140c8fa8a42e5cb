//! Functions and their revisions.

use std::sync::Arc;
use std::time::Duration;

use crate::abi::{Abi, Io};
use crate::digest::Digest;
use crate::limits::{self, Limits};
use crate::name::FunctionName;
use crate::queue::AsyncPolicy;
use crate::route::Route;

/// What a user deploys: a name, what answers under it, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its full name.
    pub name: FunctionName,
    /// Where its code comes from.
    pub source: Source,
    /// How the code is called; `None` is found out from the module.
    pub abi: Option<Abi>,
    /// How code and limits are put together for a call.
    pub template: Template,
    /// Ways to it besides `/function/NAME`.
    pub routes: Vec<Route>,
}

/// Where a function's code comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file beside the manifest; the client sends its bytes and says [`Source::Blob`] instead.
    Path(String),
    /// A blob that the server already holds.
    Blob {
        /// Which.
        digest: Digest,
        /// The file name that the code came under, where somebody knows it.
        program: Option<String>,
    },
}

/// The part of a function that a call depends on, except the code.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    /// How a command is called.
    pub io: Io,
    /// Arguments of a command, after its own name.
    pub args: Vec<String>,
    /// Environment variables, in the order given; names are unique.
    pub env: Vec<(String, String)>,
    /// What a call may use.
    pub limits: Limits,
    /// Whether an instance answers more than one call.
    pub reuse: Reuse,
    /// How asynchronous calls wait and are tried again.
    pub asynchronous: AsyncPolicy,
}

/// How many calls one instance may answer. Fresh for every call unless a user says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reuse {
    /// Calls that one instance answers before it is dropped, at least 1.
    pub calls: u32,
    /// Calls that it answers at the same time, at least 1; over 1 needs `wasi:http@0.3`.
    pub concurrent: u32,
    /// How long it is kept without a call.
    pub idle: Duration,
}

/// What is in force for a function from one deploy to the next. It never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Whose revision it is.
    pub function: FunctionName,
    /// Counted from 1, never used twice.
    pub number: u64,
    /// The module.
    pub digest: Digest,
    /// The file name the module came under: a command's `argv[0]`.
    pub program: String,
    /// How it is called, as found or as told.
    pub abi: Abi,
    /// The rest.
    pub template: Template,
}

/// A function as the catalog holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// Its full name.
    pub name: FunctionName,
    /// The revision that answers.
    pub revision: Arc<Revision>,
    /// Ways to it besides `/function/NAME`.
    pub routes: Vec<Route>,
    /// Changes with every write of this record; opaque to readers.
    pub version: u64,
    /// When the revision came to be, milliseconds since 1970.
    pub deployed_ms: u64,
}

impl Reuse {
    /// Whether every call has an instance of its own.
    pub fn is_fresh(&self) -> bool {
        self.calls == 1
    }
}

impl Default for Reuse {
    fn default() -> Self {
        Self {
            calls: limits::REUSE_CALLS.default,
            concurrent: limits::REUSE_CONCURRENT.default,
            idle: limits::REUSE_IDLE.default,
        }
    }
}
