//! Sending a module to the server, with its progress.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dhow_core::digest::Digest;
use dhow_core::function::{Function, Source};
use dhow_dialects::native;

use super::client::Client;
use super::error::CommandError;
use super::output::Output;
use super::settings::short_name;
use super::units::length;
use super::wire::{ArtifactEvent, ArtifactStatus, FunctionStatus};

/// A module's file, open: it is there and may be read.
#[derive(Debug)]
pub(super) struct Module {
    path: PathBuf,
    file: File,
    /// What the module is called there, and by its command's `argv[0]`.
    program: String,
}

/// A module that the server has taken.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    digest: Digest,
    program: String,
}

impl Module {
    pub(super) fn open(path: &Path) -> Result<Self, CommandError> {
        let shown = path.display();
        let unreadable = |error| CommandError::file("the module", &shown, &error);
        let file = File::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.is_dir() {
            return Err(CommandError::failure(format!("`{shown}` is a folder"))
                .hint("name a module in it; this version of dhow builds no sources"));
        }
        let program = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
            CommandError::failure(format!("the file name of `{shown}` is not Unicode"))
        })?;
        Ok(Self { path: path.to_owned(), file, program: program.to_owned() })
    }

    /// Sends it and waits until it is compiled.
    pub(super) fn upload(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Taken, CommandError> {
        let Self { path, file, program } = self;
        output.progress(&format!("{program}: sending"), "");
        let mut taken = None;
        for event in client.upload(&program, file)? {
            match event? {
                ArtifactEvent::Artifact { artifact } => taken = Some(artifact),
                ArtifactEvent::Refused(problem) => {
                    let mut error = CommandError::from(problem);
                    error.message = format!("{}: {}", path.display(), error.message);
                    return Err(error);
                }
                step => show(&program, &step, output),
            }
        }
        let ArtifactStatus { digest, .. } = taken.ok_or_else(|| {
            CommandError::failure(format!("the server broke off while it took {}", path.display()))
                .hint("its own log tells why; nothing was deployed")
        })?;
        let digest = digest.parse().map_err(|error| {
            CommandError::failure(format!("the server named the module `{digest}`: {error}"))
        })?;
        Ok(Taken { digest, program })
    }
}

impl Taken {
    /// The module as the source of a function.
    pub(super) fn source(self) -> Source {
        Source::Blob { digest: self.digest, program: Some(self.program) }
    }
}

/// Asks the server whether it would take `function`, whose code it holds.
pub(super) fn rehearse(function: &Function, client: &Client) -> Result<(), CommandError> {
    client.rehearse(&function.name, &native::encode(function))?;
    Ok(())
}

/// Puts `function`, whose code the server holds, in force.
pub(super) fn put_in_force(
    function: &Function,
    client: &Client,
    output: &mut Output,
) -> Result<(), CommandError> {
    let status = client.deploy(&function.name, &native::encode(function))?.read;
    let FunctionStatus { revision, abi, url, .. } = status;
    output.note(format_args!("{}: revision {revision}, {abi}", short_name(&function.name)));
    output.line(url)?;
    Ok(())
}

fn show(program: &str, step: &ArtifactEvent, output: &mut Output) {
    let took = |ms: &u64| length(Duration::from_millis(*ms));
    match step {
        ArtifactEvent::Inspecting => output.progress(&format!("{program}: inspecting"), ""),
        ArtifactEvent::Compiling { ms } => {
            output.progress(&format!("{program}: compiling"), &format!(", {} so far", took(ms)));
        }
        ArtifactEvent::Cached => output.progress(&format!("{program}: compiled before"), ""),
        ArtifactEvent::Compiled { ms } => {
            output.progress(&format!("{program}: compiled in {}", took(ms)), "");
        }
        ArtifactEvent::Artifact { .. } | ArtifactEvent::Refused(_) => {}
    }
}
