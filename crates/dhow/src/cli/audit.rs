//! `dhow audit`: who had what done.

use dhow_core::quantity::parse_duration;

use super::client::Client;
use super::error::CommandError;
use super::output::{Format, Output};
use super::settings::Settings;
use super::wire::AuditRecord;

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// At most so many records, the newest
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub tail: u32,
    /// Nothing older than this, such as 24h
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// How to print it; json is an object a line
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Format,
}

const HEAD: [&str; 6] = ["TIME", "WHO", "ACTION", "OBJECT", "STATUS", "RESULT"];

/// Runs the command.
///
/// # Errors
/// When the server is not there or refuses.
pub fn run(args: &Args, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let since = args.since.as_deref().map(|since| {
        let duration = parse_duration(since)
            .map_err(|why| CommandError::usage(format!("--since is `{since}`: {why}")))?;
        // The server counts in seconds; a part of one is not cut off.
        Ok::<_, CommandError>(duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
    });
    let mut rows = vec![];
    for record in Client::new(settings).audit(args.tail, since.transpose()?)? {
        let record = record?;
        match args.output {
            Format::Json => output.line(record.raw)?,
            Format::Yaml => {
                output.line("---")?;
                output.value(&record.raw, Format::Yaml)?;
            }
            Format::Name => output.foreign_line(&record.read.object)?,
            Format::Table | Format::Wide => rows.push(row(&record.read)),
        }
    }
    if matches!(args.output, Format::Table | Format::Wide) {
        output.table(&HEAD, &rows)?;
    }
    Ok(())
}

fn row(record: &AuditRecord) -> Vec<String> {
    let result = record.reason.as_ref().or(record.detail.as_ref());
    let mut result = result.cloned().unwrap_or_else(|| "-".to_owned());
    if record.unrecorded > 0 {
        result.push_str(&format!(" (and {} before that are not recorded)", record.unrecorded));
    }
    let who = match (record.who.as_str(), &record.peer) {
        ("loopback", _) | (_, None) => record.who.clone(),
        (who, Some(peer)) => format!("{who} from {peer}"),
    };
    vec![
        record.time.clone(),
        who,
        record.action.clone(),
        record.object.clone(),
        record.status.to_string(),
        result,
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_says_who_did_what_and_what_came_of_it() {
        let record = |more: serde_json::Value| {
            let mut record = json!({
                "time": "now", "who": "loopback", "peer": "127.0.0.1", "action": "deployFunction",
                "object": "namespaces/default/functions/f", "detail": "revision 2", "status": 200,
                "reason": null, "unrecorded": 0,
            });
            record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            row(&serde_json::from_value(record).unwrap())
        };
        let done = ["now", "loopback", "deployFunction", "namespaces/default/functions/f", "200"];
        assert_eq!(record(json!({})), [&done[..], &["revision 2"]].concat());
        assert_eq!(HEAD.len(), record(json!({})).len());
        let refused = record(json!({"who": "unknown", "reason": "unauthorized", "unrecorded": 3}));
        assert_eq!(refused[1], "unknown from 127.0.0.1");
        assert_eq!(refused[5], "unauthorized (and 3 before that are not recorded)");
    }
}
