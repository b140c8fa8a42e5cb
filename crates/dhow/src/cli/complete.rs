//! Completion in shells. The script of `dhow completions` makes a shell call dhow at each Tab,
//! with the line so far; [`answer`] recognises such a call. Names of functions are asked of the
//! server, quickly or not at all: who presses Tab wants no error and no wait.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use clap::{Command, FromArgMatches as _};
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{CompleteEnv, Shells};
use dhow_core::name::{DEFAULT_NAMESPACE, Label};

use super::client::Client;
use super::error::CommandError;
use super::output::Output;
use super::settings::{self, Settings};
use crate::config;

/// The variable by which a shell says that it wants completions, and in which syntax.
const VARIABLE: &str = "DHOW_COMPLETE";
const PROGRAM: &str = "dhow";
/// How long the server may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the line that is being completed says of the server. Completers get the word alone.
static SETTINGS: OnceLock<Settings> = OnceLock::new();

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Prints the script that a shell reads at its start.
///
/// # Errors
/// When it can't be written.
pub fn print(args: &Args, output: &mut Output) -> Result<(), CommandError> {
    let name = args.shell.to_string();
    let shells = Shells::builtins();
    let shell = shells.completer(&name).ok_or_else(|| {
        CommandError::usage(format!("there are no completions for the shell {name}"))
    })?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, PROGRAM, PROGRAM, &completer(), &mut script)?;
    output.data(&script)?;
    Ok(())
}

/// How the script calls dhow: as it was called now, so that it also works outside of `PATH`.
fn completer() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    let called = Path::new(&called);
    let absolute = called.parent().filter(|folder| *folder != Path::new("")).and_then(|_| {
        let path = std::path::absolute(called).ok()?;
        path.to_str().map(str::to_owned)
    });
    absolute.unwrap_or_else(|| PROGRAM.to_owned())
}

/// Answers a shell that wants completions, and ends the process then. Does nothing else.
pub fn answer(command: impl Fn() -> Command) {
    if settings::environment(VARIABLE).is_none() {
        return;
    }
    let line: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let unfinished = command().ignore_errors(true);
    // Where the settings are wrong, the next command says so; this one is silent.
    let settings = config::layered(unfinished, &line, settings::environment)
        .ok()
        .and_then(|layered| settings::Args::from_arg_matches(&layered.matches).ok());
    if let Ok(settings) = Settings::resolve(&settings.unwrap_or_default(), settings::environment) {
        drop(SETTINGS.set(settings));
    }
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// The functions that `word` may become.
pub(super) fn functions(word: &OsStr) -> Vec<CompletionCandidate> {
    let Some(settings) = SETTINGS.get() else { return vec![] };
    let Ok(functions) = Client::quick(settings, PATIENCE).functions(settings.namespace.as_ref())
    else {
        return vec![];
    };
    let names = functions.read.items.into_iter().map(|one| {
        let is_plain = settings.namespace.is_some() || one.namespace == DEFAULT_NAMESPACE;
        let name = if is_plain { one.name } else { format!("{}.{}", one.name, one.namespace) };
        (name, format!("{}, revision {}", one.abi, one.revision))
    });
    names
        .filter(|(name, _)| begins(name, word))
        .map(|(name, what)| CompletionCandidate::new(name).help(Some(what.into())))
        .collect()
}

/// The namespaces that `word` may become: those with functions.
pub(super) fn namespaces(word: &OsStr) -> Vec<CompletionCandidate> {
    let Some(settings) = SETTINGS.get() else { return vec![] };
    let Ok(functions) = Client::quick(settings, PATIENCE).functions(None) else { return vec![] };
    let default = Label::default_namespace().to_string();
    let used = functions.read.items.into_iter().map(|one| one.namespace);
    let names: BTreeSet<String> = used.chain([default]).collect();
    names.into_iter().filter(|name| begins(name, word)).map(CompletionCandidate::new).collect()
}

fn begins(name: &str, word: &OsStr) -> bool {
    word.to_str().is_some_and(|word| name.starts_with(word))
}
