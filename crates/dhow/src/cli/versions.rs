//! `dhow versions NAME`.

use clap_complete::engine::ArgValueCompleter;

use super::client::Client;
use super::complete;
use super::error::CommandError;
use super::output::{Format, Output};
use super::settings::Settings;
use super::wire::RevisionStatus;

/// What was typed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// The function: NAME or NAME.NAMESPACE
    #[arg(add = ArgValueCompleter::new(complete::functions))]
    pub name: String,
    /// How to print them
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Format,
}

const HEAD: [&str; 9] =
    ["REVISION", "CURRENT", "WEIGHT", "DEPLOYED", "ABI", "CALLS", "FAILURES", "DIGEST", "IMAGE"];
const WIDE_HEAD: [&str; 10] = [
    "REVISION", "CURRENT", "WEIGHT", "DEPLOYED", "ABI", "CALLS", "FAILURES", "DIGEST", "IMAGE",
    "PROGRAM",
];

/// Runs the command.
///
/// # Errors
/// When there is no such function, or the server is not there.
pub fn run(args: &Args, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let name = settings.function(&args.name)?;
    let revisions = Client::new(settings).revisions(&name)?;
    let items = &revisions.read.items;
    match args.output {
        Format::Json | Format::Yaml => output.value(&revisions.raw, args.output)?,
        Format::Name => {
            for one in items {
                output.line(one.revision)?;
            }
        }
        Format::Table => {
            let row = |one| row(one, "sha256:".len() + 12);
            output.table(&HEAD, &items.iter().map(row).collect::<Vec<_>>())?;
        }
        Format::Wide => {
            output.table(&WIDE_HEAD, &items.iter().map(wide_row).collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

fn row(one: &RevisionStatus, digest: usize) -> Vec<String> {
    let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    vec![
        one.revision.to_string(),
        if one.current { "*" } else { "" }.to_owned(),
        or_none(&one.weight.map(|weight| weight.to_string()).unwrap_or_default()),
        or_none(&one.deployed),
        one.abi.clone(),
        one.calls.to_string(),
        one.failures.to_string(),
        one.digest.chars().take(digest).collect(),
        or_none(one.image.as_deref().unwrap_or_default()),
    ]
}

fn wide_row(one: &RevisionStatus) -> Vec<String> {
    let mut row = row(one, usize::MAX);
    row.push(one.program.clone());
    row
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_row_has_a_cell_for_each_title() {
        let one: RevisionStatus = serde_json::from_value(json!({
            "revision": 3, "current": true, "weight": 9, "deployed": "now", "abi": "http",
            "calls": 20, "failures": 2, "digest": format!("sha256:{}", "a".repeat(64)),
            "image": "r/a@b", "program": "a.wasm", "spec": {},
        }))
        .unwrap();
        let cells = row(&one, 19);
        assert_eq!(
            cells,
            ["3", "*", "9", "now", "http", "20", "2", "sha256:aaaaaaaaaaaa", "r/a@b"]
        );
        assert_eq!(cells.len(), HEAD.len());
        let wide = wide_row(&one);
        assert_eq!(wide[7..], [one.digest.as_str(), "r/a@b", "a.wasm"]);
        assert_eq!((wide.len(), &WIDE_HEAD[..9]), (WIDE_HEAD.len(), &HEAD[..]));
        let bare: RevisionStatus = serde_json::from_value(json!({
            "revision": 1, "current": false, "abi": "http", "digest": "sha256:00",
        }))
        .unwrap();
        assert_eq!(row(&bare, 19), ["1", "", "-", "-", "http", "0", "0", "sha256:00", "-"]);
    }
}
