//! `dhow inspect`: looks at a module as a deploy would, and keeps nothing.

use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::error::CommandError;
use crate::cli::inspect;
use crate::cli::output::{Format, Output};
use crate::local::Local;
use crate::run::Silent;

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A .wasm or .wat file
    file: PathBuf,
    /// How to print what was found
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// Compiles the module and prints what it is.
///
/// # Errors
/// When it can't be read, or is not taken.
pub fn run(args: &Args, output: &mut Output) -> Result<(), CommandError> {
    let runtime = crate::run::runtime()?;
    let local = runtime.block_on(Local::start(&args.file, Arc::new(Silent)))?;
    inspect::print(&local.artifact, args.output, output)
}
