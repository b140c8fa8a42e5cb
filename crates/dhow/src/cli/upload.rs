//! Getting a module to the server, with its progress: sent from here, or pulled over there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dhow_core::digest::Digest;
use dhow_core::function::{Function, ImageSource, Source};
use dhow_dialects::native;
use dhow_oci::image::pulled::Run;

use super::bar::Bar;
use super::client::Client;
use super::error::CommandError;
use super::grants;
use super::output::Output;
use super::settings::short_name;
use super::units::length;
use super::wire::{ArtifactEvent, ArtifactStatus, FunctionStatus};
use crate::images::fetch::{Fetched, fetch};
use crate::images::place::Place;
use crate::images::{RegistryArgs, module_of, pull_failure, warnings};

/// A module's file, open: it is there and may be read.
#[derive(Debug)]
pub(super) struct Module {
    path: PathBuf,
    file: File,
    /// What the module is called there, and by its command's `argv[0]`.
    program: String,
    /// How the image that it came in starts it.
    run: Option<Run>,
    /// The folder that the file is in, where it came in an image.
    _fetched: Option<Fetched>,
}

/// A module that the server has taken.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    digest: Digest,
    program: String,
    run: Option<Run>,
}

impl Module {
    /// The module at `place`; out of an image, where that is one, and by `command`, where that says
    /// which.
    pub(super) fn at(
        place: &Place,
        command: &[String],
        output: &mut Output,
    ) -> Result<Self, CommandError> {
        if let Place::Module(path) = place {
            return Self::open(path);
        }
        let local = RegistryArgs::default();
        let fetched = crate::run::runtime()?.block_on(fetch(place, command, &local, output))?;
        let fetched = fetched.ok_or_else(|| CommandError::failure("there is no image"))?;
        let (module, run) =
            module_of(&fetched.pulled).map_err(|error| pull_failure("the image", &error))?;
        for warning in warnings(&fetched.pulled, run) {
            output.note(format_args!("warning: {warning}"));
        }
        let opened = Self::open(&module.file.path)?;
        let (program, run) = (module.name.clone(), Some(run.clone()));
        Ok(Self { program, run, _fetched: Some(fetched), ..opened })
    }

    fn open(path: &Path) -> Result<Self, CommandError> {
        let shown = path.display();
        let unreadable = |error| CommandError::file("the module", &shown, &error);
        let file = File::open(path).map_err(unreadable)?;
        let program = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
            CommandError::failure(format!("the file name of `{shown}` is not Unicode"))
        })?;
        let (path, program) = (path.to_owned(), program.to_owned());
        Ok(Self { path, file, program, run: None, _fetched: None })
    }

    /// Sends it and waits until it is compiled.
    pub(super) fn upload(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Taken, CommandError> {
        let Self { path, file, program, run, _fetched } = self;
        output.progress(&format!("{program}: sending"), "");
        let events = client.upload(&program, file)?;
        let shown = path.display().to_string();
        let ArtifactStatus { digest, .. } = outcome(&shown, &program, events, output)?;
        let digest = digest.parse().map_err(|error| {
            CommandError::failure(format!("the server named the module `{digest}`: {error}"))
        })?;
        Ok(Taken { digest, program, run })
    }
}

impl Taken {
    /// Makes the module the function's code; what its image says holds where nothing else is said.
    pub(super) fn give(self, function: &mut Function) {
        function.source = Source::Blob { digest: self.digest, program: Some(self.program) };
        if let Some(Run { words, args, env, .. }) = self.run {
            function.template.complete(words, args, env);
        }
    }
}

/// Lets the server pull the function's image, and pins the function to what that was.
pub(super) fn pull(
    function: &mut Function,
    client: &Client,
    output: &mut Output,
) -> Result<(), CommandError> {
    let Source::Image(image) = &function.source else { return Ok(()) };
    let reference = image.reference.clone();
    output.progress(&format!("{reference}: asking its registry"), "");
    let events = client.pull(&function.name.namespace, image)?;
    let artifact = outcome(&reference, &reference, events, output)?;
    if let Some(pulled) = artifact.image {
        let pinned = ImageSource { reference: pulled.reference, ..image.clone() };
        function.source = Source::Image(pinned);
    }
    Ok(())
}

/// What became of a module, whose steps are shown as `name`'s. `shown` is where it came from.
fn outcome(
    shown: &str,
    name: &str,
    events: impl Iterator<Item = Result<ArtifactEvent, CommandError>>,
    output: &mut Output,
) -> Result<ArtifactStatus, CommandError> {
    let mut bar = Bar::new(Instant::now());
    for event in events {
        match event? {
            ArtifactEvent::Artifact { artifact } => return Ok(artifact),
            ArtifactEvent::Refused(problem) => {
                let mut error = CommandError::from(problem);
                if !error.message.contains(shown) {
                    error.message = format!("{shown}: {}", error.message);
                }
                return Err(error);
            }
            ArtifactEvent::Pulling { blob, received, size } => {
                if let Some(text) = bar.hear(&blob, received, size, Instant::now()) {
                    output.progress(&format!("{name}: pulling"), &text);
                }
            }
            ArtifactEvent::Warning { message } => output.note(format_args!("warning: {message}")),
            step => show(name, &step, output),
        }
    }
    Err(CommandError::failure(format!("the server broke off while it took {shown}"))
        .hint("its own log tells why; nothing was deployed"))
}

/// Puts `function`, whose code the server holds, in force.
pub(super) fn put_in_force(
    function: &Function,
    client: &Client,
    output: &mut Output,
) -> Result<(), CommandError> {
    let status = client.deploy(&function.name, &native::encode(function))?.read;
    let FunctionStatus { revision, abi, url, traffic, manifest, .. } = status;
    let shown = short_name(&function.name);
    output.note(format_args!("{shown}: revision {revision}, {abi}"));
    for grant in grants::of(&manifest) {
        output.note(format_args!("{shown}: granted {grant}"));
    }
    if !traffic.is_empty() && traffic.iter().all(|share| share.revision != revision) {
        output.note(format_args!(
            "{shown}: calls are split by weight, and revision {revision} has none: \
             `dhow traffic {shown} {revision}=WEIGHT …` gives it some, --clear all"
        ));
    }
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
        ArtifactEvent::Pulling { .. }
        | ArtifactEvent::Warning { .. }
        | ArtifactEvent::Artifact { .. }
        | ArtifactEvent::Refused(_) => {}
    }
}
