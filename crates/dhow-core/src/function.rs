//! Functions and their revisions.

use std::sync::Arc;
use std::time::Duration;

use crate::abi::{Abi, Io};
use crate::access::Access;
use crate::digest::Digest;
use crate::grant::Grants;
use crate::key_value::StoreGrant;
use crate::limits::{self, Limits};
use crate::metadata::Metadata;
use crate::name::{FunctionName, Label};
use crate::queue::AsyncPolicy;
use crate::route::Route;
use crate::traffic::Weighted;

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
    /// What stands before it.
    pub access: Access,
    /// What is noted about it.
    pub metadata: Metadata,
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
    /// An image or artifact of a registry; the server pulls it.
    Image(ImageSource),
}

/// Where in which registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ImageSource {
    /// `HOST/PATH:TAG`, as people write it. What is recorded ends with `@` and the digest of the
    /// manifest that the tag led to.
    pub reference: String,
    /// Secrets of the function's namespace with credentials for the registry, in the order in
    /// which they are tried; those of the server come after them.
    pub pull_secrets: Vec<Label>,
    /// The module's path in an image of files, and arguments before every other, in the place of
    /// what the image itself starts. Empty: the image's own.
    pub command: Vec<String>,
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
    /// The key-value stores that it may use; names are unique.
    pub stores: Vec<StoreGrant>,
    /// What a call may do beyond computing.
    pub grants: Grants,
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
    /// The image that the module came from, pinned to its digest.
    pub image: Option<ImageSource>,
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
    /// The revision in force. It answers, unless there is a split.
    pub revision: Arc<Revision>,
    /// The revisions that answer by weight, by ascending number; empty is no split.
    pub split: Vec<Weighted>,
    /// Where the revision in force came from, when not from a deploy.
    pub rolled_back: Option<RolledBack>,
    /// Ways to it besides `/function/NAME`.
    pub routes: Vec<Route>,
    /// What stands before it, if anything does. The function's, not the revision's.
    pub access: Option<Arc<Access>>,
    /// What is noted about it, if anything is.
    pub metadata: Option<Arc<Metadata>>,
    /// Changes with every write of this record; opaque to readers.
    pub version: u64,
    /// When the revision came to be, milliseconds since 1970; 0 when that is not known.
    pub deployed_ms: u64,
}

impl Template {
    /// Adds what an image says about its module: the words of its entry point before everything
    /// else; and where nothing else was said, its arguments, and variables of other names, before
    /// those that are there. Kubernetes' rule.
    pub fn complete(
        &mut self,
        mut words: Vec<String>,
        args: Vec<String>,
        env: Vec<(String, String)>,
    ) {
        words.extend(if self.args.is_empty() { args } else { std::mem::take(&mut self.args) });
        self.args = words;
        let is_said = |name: &str| self.env.iter().any(|(said, _)| said == name);
        let mut all: Vec<_> = env.into_iter().filter(|(name, _)| !is_said(name)).collect();
        all.append(&mut self.env);
        self.env = all;
    }
}

/// A change of the revision in force to one that was deployed earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RolledBack {
    /// The number of the revision that was in force before.
    pub from: u64,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
}

/// A revision that is kept, in force or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub revision: Arc<Revision>,
    /// When it was deployed, milliseconds since 1970; `None` when that was not written down.
    pub deployed_ms: Option<u64>,
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
