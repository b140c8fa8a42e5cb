//! `dhow auth login|logout|key`: which credentials this person shows to which server, and keys for
//! callers of functions.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Subcommand;
use dhow_core::digest::Digest;
use dhow_core::name::Label;
use dhow_gateway::admin::fresh_secret;
use sha2::{Digest as _, Sha256};

use super::client::Client;
use super::error::CommandError;
use super::output::Output;
use super::settings::{Secret, Settings};

/// What was typed.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keep a token, or the admin secret, for a server: from --token-file, or typed, or from stdin
    Login,
    /// Forget what is kept for a server
    Logout,
    /// Make an API key for a function, and the line for its manifest; no server is asked
    Key(KeyArgs),
}

/// Of `key`.
#[derive(Debug, Clone, clap::Args)]
pub struct KeyArgs {
    /// Whose it shall be
    pub name: String,
}

/// Runs the command.
///
/// # Errors
/// When the server refuses what was given, or it can't be kept.
pub fn run(
    command: &Command,
    settings: &Settings,
    output: &mut Output,
) -> Result<(), CommandError> {
    let file = || {
        settings.credentials.as_ref().ok_or_else(|| {
            CommandError::failure("there is no home folder to keep credentials in")
                .hint("set XDG_CONFIG_HOME, or give --token-file with each command")
        })
    };
    let server = &settings.server;
    match command {
        Command::Login => {
            let secret = match &settings.token {
                Some(secret) if settings.token_is_given => secret.clone(),
                _ => ask(server)?,
            };
            let file = file()?;
            // What does not work is not kept.
            Client::new(&settings.with_token(secret.clone())).version()?;
            file.put(server, &secret)?;
            output.note(format_args!("{server}: kept in {}", file.path().display()));
        }
        Command::Logout => match file()?.remove(server)? {
            true => output.note(format_args!("{server}: forgotten")),
            false => output.note(format_args!("{server}: nothing was kept")),
        },
        Command::Key(args) => key(args, output)?,
    }
    Ok(())
}

/// The key is data; what the manifest keeps of it is told.
fn key(args: &KeyArgs, output: &mut Output) -> Result<(), CommandError> {
    let name: Label = args.name.parse().map_err(|error| {
        CommandError::usage(format!("`{}` can't be the name of a key: {error}", args.name))
    })?;
    let key = fresh_secret()
        .map_err(|error| CommandError::failure(format!("there is no randomness: {error}")))?;
    let hash = Digest::from_bytes(Sha256::digest(&key).into());
    output.line(key)?;
    output.note(format_args!("- {{name: {name}, hash: \"{hash}\"}}"));
    Ok(())
}

/// A secret that is typed, unseen, or that comes from a pipe.
fn ask(server: &str) -> Result<Secret, CommandError> {
    let stdin = io::stdin();
    let line = if stdin.is_terminal() {
        rpassword::prompt_password(format!("The token or admin secret for {server}: "))
    } else {
        let mut line = String::new();
        stdin.lock().read_line(&mut line).map(|_| line)
    };
    let line =
        line.map_err(|error| CommandError::failure(format!("the secret can't be read: {error}")))?;
    Secret::read(&line).ok_or_else(|| {
        CommandError::usage("no secret was given")
            .hint("type it, pipe it, or name a file with --token-file")
    })
}
