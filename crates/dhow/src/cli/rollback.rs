//! `dhow rollback NAME [--to N]`.

use clap_complete::engine::ArgValueCompleter;

use super::client::Client;
use super::complete;
use super::error::CommandError;
use super::output::Output;
use super::settings::{Settings, short_name};

/// What was typed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// The function: NAME or NAME.NAMESPACE
    #[arg(add = ArgValueCompleter::new(complete::functions))]
    pub name: String,
    /// The revision to put in force [default: the kept one before that in force]
    #[arg(long, value_name = "N")]
    pub to: Option<u64>,
}

/// Runs the command. Once it returns, every call is answered by that revision.
///
/// # Errors
/// When there is no such function or revision, or its code is lost, or the server is not there.
pub fn run(args: &Args, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let name = settings.function(&args.name)?;
    let client = Client::new(settings);
    let before = client.function(&name)?.read;
    let after = client.roll_back(&name, args.to)?.read;
    let shown = short_name(&name);
    if before.revision == after.revision {
        output.note(format_args!("{shown}: revision {} was in force already", after.revision));
    } else {
        let (now, was) = (after.revision, before.revision);
        output.note(format_args!("{shown}: revision {now} in place of {was}; routes stay"));
    }
    if !before.traffic.is_empty() {
        output.note(format_args!(
            "{shown}: calls are split by weight no more; all go to revision {}",
            after.revision
        ));
    }
    Ok(())
}
