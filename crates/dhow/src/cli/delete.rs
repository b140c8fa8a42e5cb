//! `dhow delete NAME…` and `dhow delete -f …`.

use std::path::PathBuf;

use clap_complete::engine::ArgValueCompleter;
use dhow_core::name::FunctionName;

use super::apply;
use super::client::Client;
use super::complete;
use super::error::CommandError;
use super::output::Output;
use super::settings::{Settings, short_name};

/// What was typed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// The functions: NAME or NAME.NAMESPACE
    #[arg(required_unless_present = "files", add = ArgValueCompleter::new(complete::functions))]
    pub names: Vec<String>,
    /// Those that a manifest, a folder of them or stdin (-) declares; may be repeated
    #[arg(long = "file", short, value_name = "FILE|DIR|-")]
    pub files: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The first function that could not be deleted, after all others were tried.
pub fn run(args: &Args, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let mut names: Vec<FunctionName> =
        args.names.iter().map(|name| settings.function(name)).collect::<Result<_, _>>()?;
    if !args.files.is_empty() {
        let declared = apply::read(&args.files, &settings.namespace())?;
        names.extend(declared.into_iter().map(|one| one.function.name));
    }
    let client = Client::new(settings);
    let mut failed = Ok(());
    for name in names {
        match client.delete(&name) {
            Ok(()) => output.note(format_args!(
                "{}: deleted, its revisions and weights too",
                short_name(&name)
            )),
            Err(error) if failed.is_ok() => failed = Err(error),
            Err(error) => output.error(&error),
        }
    }
    failed
}
