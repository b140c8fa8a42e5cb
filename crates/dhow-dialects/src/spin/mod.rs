//! Spin's formats, to and from [`dhow_core::application::Application`]: `spin.toml` of both versions
//! ([`manifest`]), locked applications ([`locked`]), and the templates in both ([`template`]).
//!
//! What an application says and dhow does not provide (other triggers than HTTP, SQLite, language
//! models, dependencies that are not composed) is refused by name.

pub mod locked;
pub mod manifest;
pub mod template;

mod check;
#[cfg(test)]
mod tests;

use dhow_core::application::{Application, File};
use dhow_core::digest::Digest;

/// An application whose bytes are still where its author has them.
pub type Sources = Application<Source, Mounts>;

/// An application out of an image: a digest stands where the locked application has one.
pub type Locked = Application<Option<Digest>, Vec<File<Option<Digest>>>>;

/// Where a component's module is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file beside `spin.toml`.
    Path {
        /// As the manifest has it.
        path: String,
        /// What builds it, where the manifest says so.
        build: Option<String>,
    },
    /// A file of the web.
    Url {
        /// Where.
        url: String,
        /// What it must be.
        digest: Digest,
    },
}

/// The files of a component, as `spin.toml` names them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mounts {
    /// What is there.
    pub mounts: Vec<Mount>,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
}

/// Some of a component's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// Files beside `spin.toml` that match, at the same place.
    Pattern(String),
    /// A file, or a folder with all that is in it, at another place.
    Placed {
        /// Beside `spin.toml`.
        source: String,
        /// In the component.
        destination: String,
    },
}
