//! The client side of the command line: commands that talk to a running dhow, one file each.
//!
//! Arguments are read by clap into the `Args` of each command, [`settings`] gives what was left
//! out its meaning, [`client`] speaks the admin API, and [`output`] is the only place that prints
//! (and `top`, where it draws on a terminal).

pub mod apply;
pub mod audit;
pub mod auth;
pub(crate) mod bar;
pub mod calls;
mod changes;
pub mod client;
pub mod colour;
pub mod complete;
pub mod credentials;
pub mod delete;
pub mod deploy;
pub mod describe;
pub mod diff;
pub mod error;
mod grants;
pub mod inspect;
pub mod invoke;
pub mod list;
pub mod logs;
pub mod output;
pub mod quota;
pub mod rollback;
pub mod secret;
pub mod settings;
pub mod token;
pub mod top;
pub mod traffic;
pub mod trust;
mod units;
mod upload;
pub mod version;
pub mod versions;
pub mod wire;

use clap::Subcommand;

use self::error::CommandError;
use self::output::Output;
use self::settings::Settings;

/// A command that talks to a running dhow.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Deploy a module as a function
    Deploy(Box<deploy::Args>),
    /// Deploy what manifests say
    Apply(apply::Args),
    /// Show what a manifest would change, or what changed between two revisions
    Diff(diff::Args),
    /// Delete functions
    Delete(delete::Args),
    /// List functions
    List(list::Args),
    /// Show one function: what it may use, how it is reached, what its last calls did
    Describe(describe::Args),
    /// List the revisions of a function that are kept
    Versions(versions::Args),
    /// Put an earlier revision of a function in force again
    Rollback(rollback::Args),
    /// Spread a function's calls over its revisions by weight
    Traffic(traffic::Args),
    /// Call a function
    Invoke(invoke::Args),
    /// Asynchronous calls and the dead letters: list, show, retry, cancel, purge
    #[command(subcommand)]
    Calls(calls::Command),
    /// Show what a function's calls wrote
    Logs(logs::Args),
    /// Show what functions do now: rates, errors, times, CPU, memory
    Top(top::Args),
    /// Show who had what done
    Audit(audit::Args),
    /// Make, list and end tokens: credentials for people and programs
    #[command(subcommand)]
    Token(token::Command),
    /// Say what the functions of a namespace may use together
    #[command(subcommand)]
    Quota(quota::Command),
    /// Keep or forget the credentials for a server
    #[command(subcommand)]
    Auth(auth::Command),
    /// Keep secrets for functions, such as credentials for registries
    Secret(secret::Args),
    /// Show the version of this program and of the server
    Version(version::Args),
}

/// Runs `command`.
///
/// # Errors
/// What went wrong, in words for a person. [`Output::error`] shows it and
/// [`CommandError::exit_code`] ends the process with it.
pub fn run(
    command: &Command,
    settings: &Settings,
    output: &mut Output,
) -> Result<(), CommandError> {
    match command {
        Command::Deploy(args) => deploy::run(args, settings, output),
        Command::Apply(args) => apply::run(args, settings, output),
        Command::Diff(args) => diff::run(args, settings, output),
        Command::Delete(args) => delete::run(args, settings, output),
        Command::List(args) => list::run(args, settings, output),
        Command::Describe(args) => describe::run(args, settings, output),
        Command::Versions(args) => versions::run(args, settings, output),
        Command::Rollback(args) => rollback::run(args, settings, output),
        Command::Traffic(args) => traffic::run(args, settings, output),
        Command::Invoke(args) => invoke::run(args, settings, output),
        Command::Calls(command) => calls::run(command, settings, output),
        Command::Logs(args) => logs::run(args, settings, output),
        Command::Top(args) => top::run(args, settings, output),
        Command::Audit(args) => audit::run(args, settings, output),
        Command::Token(command) => token::run(command, settings, output),
        Command::Quota(command) => quota::run(command, settings, output),
        Command::Auth(command) => auth::run(command, settings, output),
        Command::Secret(args) => secret::run(args, settings, output),
        Command::Version(args) => version::run(args, settings, output),
    }
}
