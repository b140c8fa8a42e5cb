//! `dhow pull`: an image's module as a file, or its Spin application as a folder, without a server.

use std::fs;
use std::path::{Path, PathBuf};

use dhow_oci::image::pulled::{Entry, Pulled};
use dhow_oci::reference::Reference;

use crate::cli::error::CommandError;
use crate::cli::output::Output;
use crate::images::fetch::{Fetched, fetch};
use crate::images::place::Place;
use crate::images::unpack::unpack;
use crate::images::{RegistryArgs, module_of, pull_failure, warnings};

/// What to pull, and where to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image: HOST/PATH:TAG, or an image layout or archive
    image: String,
    /// The file, or a Spin application's folder, to write [default: the module's or the image's
    /// name, in this folder]
    file: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long, short)]
    force: bool,
    /// The module within the image, and further words that its arguments begin with, instead of what
    /// the image itself starts; may be repeated
    #[arg(long = "command", value_name = "WORD", allow_hyphen_values = true)]
    command: Vec<String>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Pulls it; prints the file's name.
///
/// # Errors
/// When the image can't be had, is no module's, or the file can't be written.
pub fn run(args: &Args, output: &mut Output) -> Result<(), CommandError> {
    let place = Place::of(&args.image)?;
    let fetched =
        crate::run::runtime()?.block_on(fetch(&place, &args.command, &args.registry, output))?;
    let fetched = fetched.ok_or_else(|| {
        CommandError::usage(format!("`{}` is a module already, and no image", args.image))
    })?;
    output.note(described(&fetched.pulled, fetched.reference.as_ref()));
    if !matches!(fetched.pulled.entry, Entry::Module(_)) {
        return application(args, &fetched, output);
    }
    let (module, run) =
        module_of(&fetched.pulled).map_err(|error| pull_failure(&args.image, &error))?;
    let file = args.file.clone().unwrap_or_else(|| PathBuf::from(&module.name));
    place_whole(&module.file.path, &file, args.force)?;
    for warning in warnings(&fetched.pulled, run) {
        output.note(format_args!("warning: {warning}"));
    }
    output.line(file.display())?;
    Ok(())
}

fn application(args: &Args, fetched: &Fetched, output: &mut Output) -> Result<(), CommandError> {
    let name = fetched.reference.as_ref().and_then(|reference| reference.path().rsplit('/').next());
    let folder = args.file.clone().unwrap_or_else(|| PathBuf::from(name.unwrap_or("application")));
    unpack(&fetched.pulled, &folder).map_err(|error| {
        CommandError::failure(format!("{} can't be made: {error}", folder.display()))
            .hint("name another folder; one that holds something is not written over")
    })?;
    output.line(folder.display())?;
    Ok(())
}

fn described(pulled: &Pulled, reference: Option<&Reference>) -> String {
    let from = reference.map_or_else(|| pulled.manifest.to_string(), Reference::to_string);
    format!("{from} ({})", pulled.format.name())
}

/// Copies so that `to` is there whole or not at all, and over another file by `force` alone.
fn place_whole(from: &Path, to: &Path, force: bool) -> Result<(), CommandError> {
    let unwritable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            CommandError::failure(format!("{} is there already", to.display()))
                .hint("name another file, or write over it with --force")
        }
        _ => CommandError::failure(format!("{} can't be written: {error}", to.display())),
    };
    let folder = match to.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut beside = tempfile::Builder::new();
    let mut beside = beside
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(unwritable)?;
    let mut module = fs::File::open(from).map_err(unwritable)?;
    std::io::copy(&mut module, beside.as_file_mut()).map_err(unwritable)?;
    let placed = if force { beside.persist(to) } else { beside.persist_noclobber(to) };
    placed.map(drop).map_err(|error| unwritable(error.error))
}
