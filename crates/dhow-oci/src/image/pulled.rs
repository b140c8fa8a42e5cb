//! What was pulled.

use std::collections::BTreeMap;

use dhow_core::digest::Digest;

use super::classify::Format;
use super::staged::Staged;

/// An image as it lies in the staging folder, and what runs of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The digest of the manifest: what to record.
    pub manifest: Digest,
    /// Of the index that led to it, the outermost where there were several.
    pub index: Option<Digest>,
    /// What it was.
    pub format: Format,
    /// Its modules; those of a Spin application in the order of its components.
    pub modules: Vec<Module>,
    /// The files of a Spin application.
    pub files: Vec<AppFile>,
    /// What runs.
    pub entry: Entry,
    /// The manifest's annotations and over them the image's labels.
    pub labels: BTreeMap<String, String>,
    /// What a user should hear.
    pub warnings: Vec<String>,
}

/// One module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// A file name, or a Spin component's id (with `/` and the dependency's name behind it, where
    /// it is one).
    pub name: String,
    /// Its bytes.
    pub file: Staged,
}

/// One file of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppFile {
    /// The component that sees it; `None` for a file beside `spin.toml`.
    pub component: Option<String>,
    /// Its path, relative and without `..`.
    pub path: String,
    /// Its bytes.
    pub file: Staged,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The only one of the modules.
    Module(Run),
    /// A Spin application: the locked application, JSON.
    Spin(Staged),
    /// A Spin application: `spin.toml` and what is beside it are the files, the modules among them.
    SpinManifest,
}

/// How a module is started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// What was started, as a command names it: the module's path in an image of files, or the
    /// word that stood for it. Empty where nothing was said.
    pub program: String,
    /// Arguments of the entry point, or of the command in its place, before every other.
    pub words: Vec<String>,
    /// Arguments after them, where a user gives none.
    pub args: Vec<String>,
    /// Environment variables; names are unique.
    pub env: Vec<(String, String)>,
    /// The folder that it starts in, as the image has it.
    pub working_dir: Option<String>,
    /// The export to call, where one is named.
    pub export: Option<String>,
}
