//! What the compiling child tells its parent, as JSON.

use std::io;
use std::str::FromStr as _;

use dhow_core::abi::Abi;
use dhow_core::digest::Digest;
use dhow_core::ports::{Artifact, Refusal};
use serde::{Deserialize, Serialize};

use crate::settings::Profile;

/// The child's last word.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Report {
    /// The code was written.
    Compiled(Look),
    /// The module is not taken.
    Refused { reason: String, message: String, hint: String },
}

/// What the module turned out to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Look {
    pub(crate) kind: String,
    pub(crate) abis: Vec<String>,
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
    /// Bytes of the module.
    pub(crate) size: u64,
    /// The engine that the code is for.
    pub(crate) profile: String,
    /// Whether the code is a component's, also where the module was a core module.
    pub(crate) component: bool,
}

impl Look {
    pub(crate) fn profile(&self) -> Option<Profile> {
        Profile::parse(&self.profile)
    }

    pub(crate) fn artifact(&self, digest: Digest) -> Artifact {
        Artifact {
            digest,
            size: self.size,
            kind: if self.kind == "component" { "component" } else { "core module" },
            abis: self.abis.iter().filter_map(|abi| Abi::from_str(abi).ok()).collect(),
            imports: self.imports.clone(),
            exports: self.exports.clone(),
        }
    }
}

/// Reasons a child may give; anything else from it is `internal`.
const REASONS: &[&str] = &[
    "not-wasm",
    "invalid-module",
    "unsupported",
    "unknown-imports",
    "too-large",
    "storage-full",
    "damaged",
];

/// A refusal from the child's words.
pub(crate) fn refusal(reason: &str, message: String, hint: String) -> Refusal {
    let reason = REASONS.iter().find(|known| **known == reason).copied().unwrap_or("internal");
    Refusal { reason, message, hint }
}

/// What the disk or the system kept the compiler from.
pub(crate) fn not_kept(error: io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal {
            reason: "storage-full",
            message: "the disk is full: the compiled code can't be kept".to_owned(),
            hint: "free disk space under the data folder".to_owned(),
        },
        _ => Refusal {
            reason: "internal",
            message: format!("compiled code can't be kept: {error}"),
            hint: "look at the data folder's permissions".to_owned(),
        },
    }
}
