//! `dhow auth login|logout`: which credentials this person shows to which server.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Subcommand;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

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
    let file = settings.credentials.as_ref().ok_or_else(|| {
        CommandError::failure("there is no home folder to keep credentials in")
            .hint("set XDG_CONFIG_HOME, or give --token-file with each command")
    })?;
    let server = &settings.server;
    match command {
        Command::Login => {
            let secret = match &settings.token {
                Some(secret) if settings.token_is_given => secret.clone(),
                _ => ask(server, output)?,
            };
            // What does not work is not kept.
            Client::new(&settings.with_token(secret.clone())).version()?;
            file.put(server, &secret)?;
            output.note(format_args!("{server}: kept in {}", file.path().display()));
        }
        Command::Logout => match file.remove(server)? {
            true => output.note(format_args!("{server}: forgotten")),
            false => output.note(format_args!("{server}: nothing was kept")),
        },
    }
    Ok(())
}

/// A secret that is typed, unseen, or that comes from a pipe.
fn ask(server: &str, output: &mut Output) -> Result<Secret, CommandError> {
    let stdin = io::stdin();
    let _quiet = if stdin.is_terminal() {
        output.note(format_args!("the token or admin secret for {server}:"));
        Some(Unseen::begin())
    } else {
        None
    };
    let mut line = String::new();
    stdin.lock().read_line(&mut line).map_err(|error| {
        CommandError::failure(format!("the secret can't be read from stdin: {error}"))
    })?;
    Secret::read(&line).ok_or_else(|| {
        CommandError::usage("no secret was given")
            .hint("type it, pipe it, or name a file with --token-file")
    })
}

/// What is typed is not shown while this lives.
struct Unseen(Option<rustix::termios::Termios>);

impl Unseen {
    fn begin() -> Self {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(mut quiet) = before.clone() {
            quiet.local_modes.remove(LocalModes::ECHO);
            // A terminal that can't be told shows what is typed; that is no reason to end.
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &quiet);
        }
        Self(before)
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
    }
}
