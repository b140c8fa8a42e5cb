//! `dhow calls list|show|retry|cancel|purge`: asynchronous calls and the dead letters.

use clap::Subcommand;
use clap_complete::engine::ArgValueCompleter;
use dhow_core::call::CallId;
use dhow_core::name::{FunctionName, Label};
use dhow_core::queue::CallState;

use super::client::{CallQuery, Client};
use super::complete;
use super::error::CommandError;
use super::output::{Format, Output};
use super::settings::{Settings, short_name};
use super::wire::AsyncCall;

/// What was typed.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List asynchronous calls that are kept, newest first
    List(ListArgs),
    /// Show one call, or the answer that is kept of it
    Show(ShowArgs),
    /// Try calls again, now: dead letters, and those that wait
    Retry(RetryArgs),
    /// Forget calls, wherever they stand; one that runs is ended
    Cancel(CancelArgs),
    /// Forget many calls at once; those that run go on
    Purge(PurgeArgs),
}

/// Of `list`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ListArgs {
    /// Only calls to this function: NAME or NAME.NAMESPACE
    #[arg(add = ArgValueCompleter::new(complete::functions))]
    pub name: Option<String>,
    /// Only calls that stand there: waiting, running, callback, done or dead
    #[arg(long, value_name = "STATE")]
    pub state: Option<CallState>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// How to print them
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Format,
}

/// Of `show`.
#[derive(Debug, Clone, clap::Args)]
pub struct ShowArgs {
    /// The call: the 32 digits of its X-Call-Id
    #[arg(value_parser = call_id)]
    pub call: CallId,
    /// Print the body of the answer that is kept, and nothing else
    #[arg(long)]
    pub result: bool,
    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Format,
}

/// Of `retry`.
#[derive(Debug, Clone, clap::Args)]
pub struct RetryArgs {
    /// The calls
    #[arg(value_parser = call_id, required_unless_present = "dead", conflicts_with = "dead")]
    pub calls: Vec<CallId>,
    /// Every dead letter of this function, NAME or NAME.NAMESPACE; without a name, of all functions
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub dead: Option<String>,
}

/// Of `cancel`.
#[derive(Debug, Clone, clap::Args)]
pub struct CancelArgs {
    /// The calls
    #[arg(value_parser = call_id, required = true)]
    pub calls: Vec<CallId>,
}

/// Of `purge`.
#[derive(Debug, Clone, clap::Args)]
pub struct PurgeArgs {
    /// Calls to this function: NAME or NAME.NAMESPACE
    #[arg(add = ArgValueCompleter::new(complete::functions))]
    pub name: Option<String>,
    /// Calls that stand there: waiting, callback, done or dead
    #[arg(long, value_name = "STATE", required_unless_present = "all")]
    pub state: Option<CallState>,
    /// Wherever they stand
    #[arg(long, conflicts_with = "state")]
    pub all: bool,
}

const HEAD: [&str; 6] = ["CALL", "FUNCTION", "STATE", "ATTEMPTS", "DUE", "REASON"];
const WIDE_HEAD: [&str; 11] = [
    "CALL", "FUNCTION", "STATE", "ATTEMPTS", "DUE", "REASON", "QUEUE", "CREATED", "REQUEST",
    "CALLBACK", "ERROR",
];
/// Calls that are asked for at a time.
const PAGE: u32 = 1000;

/// Runs the command.
///
/// # Errors
/// What went wrong. Of several calls, the first that failed, after all others were tried.
pub fn run(
    command: &Command,
    settings: &Settings,
    output: &mut Output,
) -> Result<(), CommandError> {
    let client = Client::new(settings);
    match command {
        Command::List(args) => list(args, settings, &client, output),
        Command::Show(args) => show(args, &client, output),
        Command::Retry(args) => retry(args, settings, &client, output),
        Command::Cancel(args) => each(&args.calls, output, |call, output| {
            client.cancel_call(call)?;
            output.note(format_args!("{call}: cancelled"));
            Ok(())
        }),
        Command::Purge(args) => {
            let query = query(args.name.as_deref(), args.state, settings)?;
            let purged = client.purge_calls(&query)?.read.purged;
            output.note(format_args!("{purged} calls are forgotten"));
            Ok(())
        }
    }
}

fn list(
    args: &ListArgs,
    settings: &Settings,
    client: &Client,
    output: &mut Output,
) -> Result<(), CommandError> {
    let query = query(args.name.as_deref(), args.state, settings)?;
    let (raw, calls) = pages(client, query, args.limit)?;
    match args.output {
        Format::Json | Format::Yaml => {
            output.value(&serde_json::json!({"items": raw}), args.output)?;
        }
        Format::Name => calls.iter().try_for_each(|one| output.line(&one.call_id))?,
        Format::Table => output.table(&HEAD, &calls.iter().map(row).collect::<Vec<_>>())?,
        Format::Wide => {
            output.table(&WIDE_HEAD, &calls.iter().map(wide_row).collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// At most `limit` calls, as the server said them and as they are used here.
fn pages(
    client: &Client,
    mut query: CallQuery,
    limit: u32,
) -> Result<(Vec<serde_json::Value>, Vec<AsyncCall>), CommandError> {
    let (mut raw, mut calls) = (Vec::new(), Vec::new());
    let mut left = limit;
    while left > 0 {
        query.limit = left.min(PAGE);
        let page = client.calls(&query)?;
        left = left.saturating_sub(u32::try_from(page.read.items.len()).unwrap_or(u32::MAX));
        if let Some(items) = page.raw["items"].as_array() {
            raw.extend(items.iter().cloned());
        }
        calls.extend(page.read.items);
        match page.read.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    Ok((raw, calls))
}

fn show(args: &ShowArgs, client: &Client, output: &mut Output) -> Result<(), CommandError> {
    if args.result {
        output.data(&client.call_result(args.call)?)?;
        return Ok(());
    }
    let call = client.async_call(args.call)?;
    match args.output {
        Format::Json | Format::Yaml => output.value(&call.raw, args.output)?,
        Format::Name => output.line(&call.read.call_id)?,
        Format::Table | Format::Wide => {
            for (title, text) in facts(&call.read) {
                output.line(format_args!("{:<12}{text}", format!("{title}:")))?;
            }
        }
    }
    Ok(())
}

fn retry(
    args: &RetryArgs,
    settings: &Settings,
    client: &Client,
    output: &mut Output,
) -> Result<(), CommandError> {
    let again = |call: CallId, output: &mut Output| {
        client.retry_call(call)?;
        output.note(format_args!("{call}: tried again"));
        Ok(())
    };
    let Some(name) = &args.dead else { return each(&args.calls, output, again) };
    let name = Some(name.as_str()).filter(|name| !name.is_empty());
    let (_, dead) = pages(client, query(name, Some(CallState::Dead), settings)?, u32::MAX)?;
    let dead: Vec<_> = dead.iter().filter_map(|one| CallId::parse(&one.call_id)).collect();
    if dead.is_empty() {
        output.note("there is no dead letter");
    }
    each(&dead, output, again)
}

/// Does something with every call, also after one of them failed.
fn each(
    calls: &[CallId],
    output: &mut Output,
    work: impl Fn(CallId, &mut Output) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let mut failed = Ok(());
    for call in calls {
        match work(*call, output) {
            Ok(()) => {}
            Err(error) if failed.is_ok() => failed = Err(error),
            Err(error) => output.error(&error),
        }
    }
    failed
}

fn query(
    name: Option<&str>,
    state: Option<CallState>,
    settings: &Settings,
) -> Result<CallQuery, CommandError> {
    let name: Option<FunctionName> = name.map(|name| settings.function(name)).transpose()?;
    let namespace: Option<Label> = match &name {
        Some(name) => Some(name.namespace.clone()),
        None => settings.namespace.clone(),
    };
    let function = name.map(|name| name.name);
    Ok(CallQuery { namespace, function, state, ..CallQuery::default() })
}

fn call_id(text: &str) -> Result<CallId, String> {
    CallId::parse(text)
        .ok_or_else(|| "a call is named by the 32 digits of its X-Call-Id".to_owned())
}

fn function(call: &AsyncCall) -> String {
    let parsed = FunctionName::parse(&format!("{}.{}", call.function, call.namespace));
    parsed.map_or_else(|_| call.function.clone(), |name| short_name(&name))
}

fn or_none(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "-".to_owned())
}

fn row(call: &AsyncCall) -> Vec<String> {
    vec![
        call.call_id.clone(),
        function(call),
        call.state.clone(),
        call.attempts.to_string(),
        call.due.clone(),
        or_none(call.reason.as_ref()),
    ]
}

fn wide_row(call: &AsyncCall) -> Vec<String> {
    let mut row = row(call);
    row.extend([
        call.queue.clone(),
        call.created.clone(),
        format!("{} {}", call.method, call.path),
        or_none(call.callback.as_ref()),
        or_none(call.error.as_ref()),
    ]);
    row
}

fn facts(call: &AsyncCall) -> Vec<(&'static str, String)> {
    let due = match call.state.as_str() {
        "done" | "dead" => "Forgotten",
        _ => "Due",
    };
    let mut facts = vec![
        ("Call", call.call_id.clone()),
        ("Function", function(call)),
        ("Request", format!("{} {}, {} bytes", call.method, call.path, call.body)),
        ("Queue", call.queue.clone()),
        ("State", call.state.clone()),
        ("Attempts", call.attempts.to_string()),
        ("Created", call.created.clone()),
        (due, call.due.clone()),
    ];
    facts.extend(call.callback.clone().map(|url| ("Callback", url)));
    facts.extend(call.reason.clone().map(|reason| ("Reason", reason)));
    facts.extend(call.error.clone().map(|error| ("Error", error)));
    facts.extend(call.status.map(|status| ("Answer", format!("status {status}, is kept"))));
    facts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call() -> AsyncCall {
        serde_json::from_value(json!({
            "call_id": "00ff", "namespace": "shop", "function": "f", "queue": "slow",
            "state": "dead", "attempts": 3, "method": "POST", "path": "/x", "body": 7,
            "created": "then", "due": "later", "reason": "trap", "error": "it trapped",
            "callback": "http://a/", "status": 500,
        }))
        .unwrap()
    }

    #[test]
    fn each_row_has_a_cell_for_each_title() {
        assert_eq!(row(&call()), ["00ff", "f.shop", "dead", "3", "later", "trap"]);
        assert_eq!(row(&call()).len(), HEAD.len());
        let wide = wide_row(&call());
        assert_eq!(wide[HEAD.len()..], ["slow", "then", "POST /x", "http://a/", "it trapped"]);
        assert_eq!(wide.len(), WIDE_HEAD.len());
        assert_eq!(WIDE_HEAD[..HEAD.len()], HEAD);
    }

    #[test]
    fn every_fact_is_told() {
        let told: Vec<_> =
            facts(&call()).into_iter().map(|(title, text)| format!("{title} {text}")).collect();
        assert_eq!(
            told,
            [
                "Call 00ff",
                "Function f.shop",
                "Request POST /x, 7 bytes",
                "Queue slow",
                "State dead",
                "Attempts 3",
                "Created then",
                "Forgotten later",
                "Callback http://a/",
                "Reason trap",
                "Error it trapped",
                "Answer status 500, is kept",
            ]
        );
    }
}
