//! `dhow list`.

use super::client::Client;
use super::error::CommandError;
use super::output::{Format, Output};
use super::settings::Settings;
use super::wire::FunctionStatus;

/// What was typed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Format,
}

const HEAD: [&str; 8] =
    ["NAMESPACE", "NAME", "REVISION", "ABI", "CALLS", "FAILURES", "DEPLOYED", "URL"];
const WIDE_HEAD: [&str; 13] = [
    "NAMESPACE",
    "NAME",
    "REVISION",
    "ABI",
    "CALLS",
    "FAILURES",
    "DEPLOYED",
    "URL",
    "IO",
    "IN-FLIGHT",
    "MEMORY",
    "ROUTES",
    "DIGEST",
];

/// Runs the command. Without a namespace it lists those of all.
///
/// # Errors
/// When the server is not there or refuses.
pub fn run(args: &Args, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let functions = Client::new(settings).functions(settings.namespace.as_ref())?;
    let items = &functions.read.items;
    match args.output {
        Format::Json | Format::Yaml => output.value(&functions.raw, args.output)?,
        Format::Name => {
            for one in items {
                output.line(format_args!("{}.{}", one.name, one.namespace))?;
            }
        }
        Format::Table => output.table(&HEAD, &items.iter().map(row).collect::<Vec<_>>())?,
        Format::Wide => {
            output.table(&WIDE_HEAD, &items.iter().map(wide_row).collect::<Vec<_>>())?
        }
    }
    if items.is_empty() {
        output.note("nothing is deployed; `dhow deploy NAME FILE.wasm` deploys a function");
    }
    Ok(())
}

fn row(one: &FunctionStatus) -> Vec<String> {
    vec![
        one.namespace.clone(),
        one.name.clone(),
        one.revision.to_string(),
        one.abi.clone(),
        one.calls.to_string(),
        one.failures.to_string(),
        one.deployed.clone(),
        one.url.clone(),
    ]
}

fn wide_row(one: &FunctionStatus) -> Vec<String> {
    let memory = one.limits.get("memory").and_then(|memory| memory.as_str());
    let routes: Vec<&str> = one.routes.iter().map(|route| route.path.as_str()).collect();
    let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let mut row = row(one);
    row.extend([
        or_none(one.io.as_deref().unwrap_or_default()),
        one.in_flight.to_string(),
        or_none(memory.unwrap_or_default()),
        or_none(&routes.join(",")),
        one.digest.chars().take("sha256:".len() + 12).collect(),
    ]);
    row
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_row_has_a_cell_for_each_title() {
        let one: FunctionStatus = serde_json::from_value(json!({
            "name": "hello", "namespace": "default", "url": "http://g/function/hello",
            "revision": 3, "abi": "command", "io": "cgi", "digest": format!("sha256:{}", "a".repeat(64)),
            "deployed": "1970-01-01T00:00:00Z", "routes": [{"path": "/a"}, {"path": "/b/*"}],
            "limits": {"memory": "64Mi"}, "in_flight": 1, "calls": 20, "failures": 2,
        }))
        .unwrap();
        assert_eq!(
            row(&one),
            [
                "default",
                "hello",
                "3",
                "command",
                "20",
                "2",
                "1970-01-01T00:00:00Z",
                "http://g/function/hello",
            ]
        );
        assert_eq!(row(&one).len(), HEAD.len());
        let wide = wide_row(&one);
        assert_eq!(wide[HEAD.len()..], ["cgi", "1", "64Mi", "/a,/b/*", "sha256:aaaaaaaaaaaa"]);
        assert_eq!(wide.len(), WIDE_HEAD.len());
        assert_eq!(WIDE_HEAD[..HEAD.len()], HEAD);
    }
}
