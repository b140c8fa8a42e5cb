//! `dhow describe NAME`.

use std::collections::BTreeMap;
use std::time::Duration;

use clap_complete::engine::ArgValueCompleter;
use dhow_core::name::FunctionName;
use serde_json::{Map, Value};

use super::client::{CallQuery, Client};
use super::complete;
use super::error::CommandError;
use super::grants;
use super::output::{Format, Output};
use super::settings::Settings;
use super::units::{length, mebibytes};
use super::wire::{CallOutcome, FunctionStatus, RolledBackStatus, RouteStatus};

/// What was typed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// The function: NAME or NAME.NAMESPACE
    #[arg(add = ArgValueCompleter::new(complete::functions))]
    pub name: String,
    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Format,
}

/// Calls that are shown.
const LAST_CALLS: u32 = 5;
/// Calls that are shown with `-o wide`.
const LAST_CALLS_WIDE: u32 = 50;
/// Asynchronous calls that are counted.
const MOST_KEPT: u32 = 1000;
/// Of those that failed and of those that were cold: what happens rarely is kept apart.
const LAST_RARE: u32 = 5;
const LAST_RARE_WIDE: u32 = 32;

/// Runs the command.
///
/// # Errors
/// When there is no such function, or the server is not there.
pub fn run(args: &Args, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let name = settings.function(&args.name)?;
    let client = Client::new(settings);
    let function = client.function(&name)?;
    match args.output {
        Format::Json | Format::Yaml => output.value(&function.raw, args.output)?,
        Format::Name => output.line(name)?,
        Format::Table => print(&function.read, &client, &name, (LAST_CALLS, LAST_RARE), output)?,
        Format::Wide => {
            print(&function.read, &client, &name, (LAST_CALLS_WIDE, LAST_RARE_WIDE), output)?
        }
    }
    Ok(())
}

fn print(
    function: &FunctionStatus,
    client: &Client,
    name: &FunctionName,
    (calls, rare): (u32, u32),
    output: &mut Output,
) -> Result<(), CommandError> {
    let outcomes = client.outcomes(name, calls, None)?.read.items;
    let failed = client.rare_outcomes(name, rare, "failed")?.read.items;
    let cold = client.rare_outcomes(name, rare, "cold")?.read.items;
    let kept = kept(client, name)?.map(|text| ("Kept calls", text));
    for (title, text) in facts(function).into_iter().chain(kept) {
        output.line(format_args!("{:<12}{text}", format!("{title}:")))?;
    }
    if !outcomes.is_empty() {
        output.line("\nLast calls:")?;
        let rows: Vec<_> = outcomes.iter().map(row).collect();
        output.table(&HEAD, &rows)?;
    }
    if !failed.is_empty() {
        output.line("\nLast errors:")?;
        let rows: Vec<_> = failed.iter().map(failed_row).collect();
        output.table(&FAILED_HEAD, &rows)?;
    }
    if !cold.is_empty() {
        output.line("\nLast cold starts:")?;
        let rows: Vec<_> = cold.iter().map(cold_row).collect();
        output.table(&COLD_HEAD, &rows)?;
    }
    Ok(())
}

fn facts(function: &FunctionStatus) -> Vec<(&'static str, String)> {
    let abi = match &function.io {
        Some(io) => format!("{}, io {io}", function.abi),
        None => function.abi.clone(),
    };
    let calls = format!(
        "{}, of which {} failed; {} running",
        function.calls, function.failures, function.in_flight
    );
    let mut facts = vec![
        ("Name", function.name.clone()),
        ("Namespace", function.namespace.clone()),
        ("URL", function.url.clone()),
        ("Revision", revision(function)),
        ("Deployed", function.deployed.clone()),
        ("ABI", abi),
        ("Digest", function.digest.clone()),
    ];
    facts.extend(function.image.iter().map(|image| ("Image", image.clone())));
    facts.push(("Calls", calls));
    facts.extend(function.traffic.iter().map(|share| {
        ("Traffic", format!("weight {} to revision {}", share.weight, share.revision))
    }));
    facts.extend(function.routes.iter().map(|one| ("Route", route(one))));
    facts.extend(function.limits.iter().map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        ("Limit", format!("{name} {value}"))
    }));
    facts.extend(grants::of(&function.manifest).into_iter().map(|text| ("Grant", text)));
    facts.extend(asynchronous(&function.asynchronous).map(|text| ("Async", text)));
    facts
}

fn revision(function: &FunctionStatus) -> String {
    match &function.rolled_back {
        None => function.revision.to_string(),
        Some(RolledBackStatus { from, at }) => {
            format!("{}, rolled back from {from} at {at}", function.revision)
        }
    }
}

/// How asynchronous calls wait and are tried again, in one line.
fn asynchronous(policy: &Map<String, Value>) -> Option<String> {
    let queue = policy.get("queue")?.as_str()?;
    let retry = policy.get("retry")?;
    let wait = |name: &str| retry[name].as_str().unwrap_or("?").to_owned();
    let statuses: Vec<_> = retry["statuses"].as_array()?.iter().map(Value::to_string).collect();
    let keep = policy.get("keepResult").and_then(Value::as_str).unwrap_or("0s");
    Some(format!(
        "queue {queue}, {} attempts, waits of {} to {} after {}, results kept {keep}",
        retry["attempts"],
        wait("minWait"),
        wait("maxWait"),
        if statuses.is_empty() { "no status".to_owned() } else { statuses.join(" ") },
    ))
}

/// How many asynchronous calls of the function stand where, in one line; none where there are none.
fn kept(client: &Client, name: &FunctionName) -> Result<Option<String>, CommandError> {
    let query = CallQuery {
        namespace: Some(name.namespace.clone()),
        function: Some(name.name.clone()),
        limit: MOST_KEPT,
        ..CallQuery::default()
    };
    let page = client.calls(&query)?.read;
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for call in &page.items {
        *counts.entry(call.state.as_str()).or_default() += 1;
    }
    let told: Vec<_> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let more = if page.next.is_some() { " of the newest, and more" } else { "" };
    Ok((!told.is_empty()).then(|| format!("{}{more}", told.join(", "))))
}

fn route(route: &RouteStatus) -> String {
    let methods = if route.methods.is_empty() { "*".to_owned() } else { route.methods.join(",") };
    format!("{methods} {}{}", route.host.as_deref().unwrap_or_default(), route.path)
}

const HEAD: [&str; 9] =
    ["CALL", "ENDED", "REVISION", "STATUS", "REASON", "WALL", "CPU", "MEMORY", "COLD"];

fn row(outcome: &CallOutcome) -> Vec<String> {
    let micros = |micros| length(Duration::from_micros(micros));
    vec![
        outcome.call_id.clone(),
        outcome.ended.clone(),
        outcome.revision.to_string(),
        outcome.status.to_string(),
        outcome.reason.clone().unwrap_or_else(|| "-".to_owned()),
        micros(outcome.wall_us),
        micros(outcome.cpu_us),
        mebibytes(outcome.peak_memory),
        if outcome.cold { "yes" } else { "no" }.to_owned(),
    ]
}

const FAILED_HEAD: [&str; 5] = ["CALL", "ENDED", "STATUS", "REASON", "ERROR"];

fn failed_row(outcome: &CallOutcome) -> Vec<String> {
    let error = outcome.error.as_deref().unwrap_or("the guest answered so");
    vec![
        outcome.call_id.clone(),
        outcome.ended.clone(),
        outcome.status.to_string(),
        outcome.reason.clone().unwrap_or_else(|| "-".to_owned()),
        // It may quote a guest, over many lines.
        error.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect(),
    ]
}

const COLD_HEAD: [&str; 6] = ["CALL", "ENDED", "REVISION", "LOAD", "INSTANTIATE", "RUN"];

fn cold_row(outcome: &CallOutcome) -> Vec<String> {
    let micros = |micros| length(Duration::from_micros(micros));
    vec![
        outcome.call_id.clone(),
        outcome.ended.clone(),
        outcome.revision.to_string(),
        micros(outcome.load_us),
        micros(outcome.instantiate_us),
        micros(outcome.run_us),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_fact_is_told() {
        let function: FunctionStatus = serde_json::from_value(json!({
            "name": "hello", "namespace": "shop", "url": "http://g/function/hello.shop",
            "revision": 3, "rolled_back": {"from": 5, "at": "then"},
            "traffic": [{"revision": 2, "weight": 9}, {"revision": 3, "weight": 1}],
            "abi": "command", "io": "cgi", "digest": "sha256:00", "deployed": "now",
            "routes": [{"path": "/a", "methods": ["GET", "PUT"], "host": "b.c"}, {"path": "/d"}],
            "limits": {"memory": "64Mi", "queue": 7}, "in_flight": 1,
            "manifest": {"spec": {"network": {"allow": ["https://a"]}}},
            "async": {"queue": "slow", "keepResult": "1h", "retry": {
                "attempts": 3, "minWait": "1s", "maxWait": "2m", "statuses": [502, 503]}}, "calls": 20, "failures": 2,
        }))
        .unwrap();
        let told: Vec<_> =
            facts(&function).into_iter().map(|(title, text)| format!("{title} {text}")).collect();
        assert_eq!(
            told,
            [
                "Name hello",
                "Namespace shop",
                "URL http://g/function/hello.shop",
                "Revision 3, rolled back from 5 at then",
                "Deployed now",
                "ABI command, io cgi",
                "Digest sha256:00",
                "Calls 20, of which 2 failed; 1 running",
                "Traffic weight 9 to revision 2",
                "Traffic weight 1 to revision 3",
                "Route GET,PUT b.c/a",
                "Route * /d",
                "Limit memory 64Mi",
                "Limit queue 7",
                "Grant network https://a",
                "Async queue slow, 3 attempts, waits of 1s to 2m after 502 503, results kept 1h",
            ]
        );
    }

    #[test]
    fn each_row_has_a_cell_for_each_title() {
        let outcome: CallOutcome = serde_json::from_value(json!({
            "call_id": "00ff", "revision": 3, "status": 504, "reason": "cpu-time", "wall_us": 1500, "cpu_us": 40,
            "peak_memory": 1 << 20, "cold": true, "ended": "now",
        }))
        .unwrap();
        let cells = ["00ff", "now", "3", "504", "cpu-time", "1.50 ms", "40 µs", "1.0 MiB", "yes"];
        assert_eq!(row(&outcome), cells);
        assert_eq!(HEAD.len(), cells.len());
    }

    #[test]
    fn what_a_guest_said_takes_one_line_and_moves_no_cursor() {
        let outcome = |more: serde_json::Value| -> CallOutcome {
            let mut outcome = json!({
                "call_id": "00ff", "status": 500, "ended": "now", "revision": 3, "load_us": 1500,
                "instantiate_us": 40, "run_us": 7,
            });
            outcome.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(outcome).unwrap()
        };
        let trapped = outcome(json!({"reason": "trap", "error": "a\u{1b}[2Jb\nc"}));
        let cells = ["00ff", "now", "500", "trap", "a[2Jb"];
        assert_eq!(failed_row(&trapped), cells);
        assert_eq!(FAILED_HEAD.len(), cells.len());
        assert_eq!(failed_row(&outcome(json!({})))[3..], ["-", "the guest answered so"]);
        let cells = ["00ff", "now", "3", "1.50 ms", "40 µs", "7 µs"];
        assert_eq!(cold_row(&outcome(json!({}))), cells);
        assert_eq!(COLD_HEAD.len(), cells.len());
    }
}
