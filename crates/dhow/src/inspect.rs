//! `dhow inspect`: looks at a module or an image as a deploy would, and keeps nothing.

use std::sync::Arc;

use dhow_engine::World;

use crate::cli::error::CommandError;
use crate::cli::inspect::{self, Found};
use crate::cli::output::{Format, Output};
use crate::images::fetch::{Fetched, fetch};
use crate::images::place::Place;
use crate::images::{RegistryArgs, module_of};
use crate::local::Local;
use crate::run::Silent;

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A .wasm or .wat file, an image's reference, or an image layout or archive
    source: String,
    /// How to print what was found
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
    /// The module within the image, and further words that its arguments begin with, instead of what
    /// the image itself starts; may be repeated
    #[arg(long = "command", value_name = "WORD", allow_hyphen_values = true)]
    command: Vec<String>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Compiles the module and prints what it is, and what the image says that it came in.
///
/// # Errors
/// When it can't be read, or is not taken.
pub fn run(args: &Args, output: &mut Output) -> Result<(), CommandError> {
    let runtime = crate::run::runtime()?;
    let place = Place::of(&args.source)?;
    let fetched = runtime.block_on(fetch(&place, &args.command, &args.registry, output))?;
    let image = fetched.as_ref().map(|Fetched { pulled, reference, .. }| (pulled, reference));
    let module = match (&place, &fetched) {
        (Place::Module(path), _) => Some(path.as_path()),
        // An image that runs no single module is shown all the same.
        (_, Some(fetched)) => {
            module_of(&fetched.pulled).ok().map(|(module, _)| module.file.path.as_path())
        }
        (_, None) => None,
    };
    let local = match module {
        Some(path) => {
            Some(runtime.block_on(Local::start(path, Arc::new(Silent), World::default()))?)
        }
        None => None,
    };
    let artifact = local.as_ref().map(|local| &local.artifact);
    let image = image.map(|(pulled, reference)| (pulled, reference.as_ref()));
    inspect::print(&Found { artifact, image }, args.output, output)
}
