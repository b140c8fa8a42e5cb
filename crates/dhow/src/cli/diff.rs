//! `dhow diff`: what a manifest would change, or what changed between two revisions.

use std::path::PathBuf;

use clap_complete::engine::ArgValueCompleter;
use serde_json::{Value, json};

use super::apply;
use super::changes;
use super::client::Client;
use super::complete;
use super::error::CommandError;
use super::output::Output;
use super::settings::{Settings, short_name};
use super::wire::RevisionStatus;

/// What was typed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// A function: NAME or NAME.NAMESPACE
    #[arg(required_unless_present = "files", requires = "revisions",
          add = ArgValueCompleter::new(complete::functions))]
    pub name: Option<String>,
    /// Its two revisions; in place of the second, the one in force
    #[arg(value_name = "N", num_args = 1..=2)]
    pub revisions: Vec<u64>,
    /// A manifest to hold against what is deployed, a folder of them, or - for stdin; may be
    /// repeated
    #[arg(long = "file", short, value_name = "FILE|DIR|-", conflicts_with = "name")]
    pub files: Vec<PathBuf>,
}

/// Runs the command. It ends with 0 where nothing differs.
///
/// # Errors
/// With 1 where something differs, after it was printed; with 2 when that can't be found out.
pub fn run(args: &Args, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let differs = match &args.name {
        Some(name) => revisions(name, &args.revisions, settings, output),
        None => manifests(&args.files, settings, output),
    };
    match differs.map_err(CommandError::trouble)? {
        true => Err(CommandError::silent()),
        false => Ok(()),
    }
}

/// Modules are sent and judged for it, and nothing is deployed.
fn manifests(
    files: &[PathBuf],
    settings: &Settings,
    output: &mut Output,
) -> Result<bool, CommandError> {
    let client = Client::new(settings);
    let functions = apply::prepare(files, settings, &client, output)?;
    let mut differs = false;
    for planned in apply::rehearse(&functions, &client)? {
        let changes = planned.changes();
        if changes.is_empty() {
            continue;
        }
        differs = true;
        let shown = short_name(planned.name);
        let before = match planned.revision {
            Some(revision) => format!("revision {revision}"),
            None => "not deployed".to_owned(),
        };
        head(&format!("{shown} ({before})"), &format!("{shown} (manifest)"), output)?;
        changes::print(&changes, output)?;
    }
    Ok(differs)
}

fn revisions(
    name: &str,
    numbers: &[u64],
    settings: &Settings,
    output: &mut Output,
) -> Result<bool, CommandError> {
    let name = settings.function(name)?;
    let shown = short_name(&name);
    let kept = Client::new(settings).revisions(&name)?.read.items;
    let numbered = |number: u64| {
        let found = kept.iter().find(|one| one.revision == number);
        found.ok_or_else(|| {
            CommandError::failure(format!("`{shown}` has no revision {number}"))
                .hint(format!("`dhow versions {shown}` lists those that are kept"))
        })
    };
    let in_force = || {
        kept.iter().find(|one| one.current).ok_or_else(|| {
            CommandError::failure(format!("the server names no revision of `{shown}` in force"))
        })
    };
    let (before, after) = match *numbers {
        [before, after] => (numbered(before)?, numbered(after)?),
        [before] => (numbered(before)?, in_force()?),
        _ => return Err(CommandError::usage("one or two revisions are compared")),
    };
    let (old, new) = (document(before), document(after));
    let changes = changes::between(Some(&old), Some(&new));
    if changes.is_empty() {
        return Ok(false);
    }
    let title = |one: &RevisionStatus| format!("{shown} (revision {})", one.revision);
    head(&title(before), &title(after), output)?;
    changes::print(&changes, output)?;
    Ok(true)
}

fn head(before: &str, after: &str, output: &mut Output) -> Result<(), CommandError> {
    output.line(format_args!("--- {before}"))?;
    output.line(format_args!("+++ {after}"))?;
    Ok(())
}

/// A revision with the paths that a manifest has.
fn document(revision: &RevisionStatus) -> Value {
    json!({"spec": revision.spec})
}
