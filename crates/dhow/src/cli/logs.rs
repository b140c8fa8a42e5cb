//! `dhow logs NAME`.

use clap_complete::engine::ArgValueCompleter;
use dhow_core::quantity::parse_duration;

use super::client::{Client, LogQuery};
use super::complete;
use super::error::CommandError;
use super::output::{Format, Output};
use super::settings::Settings;
use super::wire::LogLine;

/// What was typed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// The function: NAME or NAME.NAMESPACE
    #[arg(add = ArgValueCompleter::new(complete::functions))]
    pub name: String,
    /// Go on with what its calls write from now on
    #[arg(long, short)]
    pub follow: bool,
    /// At most so many lines of what is there
    #[arg(long, value_name = "N")]
    pub tail: Option<u64>,
    /// Nothing older than this, such as 10m
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// What one call wrote
    #[arg(long, value_name = "ID")]
    pub call: Option<String>,
    /// How to print it; json is an object a line, name is what was written alone
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Format,
}

/// Runs the command.
///
/// # Errors
/// When there is no such function, or the server is not there or goes away.
pub fn run(args: &Args, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let name = settings.function(&args.name)?;
    let query = query(args)?;
    for line in Client::new(settings).logs(&name, &query)? {
        let line = line?;
        match args.output {
            Format::Json => output.line(line.raw)?,
            Format::Yaml => {
                output.line("---")?;
                output.value(&line.raw, Format::Yaml)?;
            }
            Format::Name => output.foreign_line(&line.read.line)?,
            Format::Table | Format::Wide => output.foreign_line(&for_people(&line.read))?,
        }
    }
    Ok(())
}

fn query(args: &Args) -> Result<LogQuery, CommandError> {
    let since = args.since.as_deref().map(|since| {
        let duration = parse_duration(since)
            .map_err(|why| CommandError::usage(format!("--since is `{since}`: {why}")))?;
        // The server counts in seconds; a part of one is not cut off.
        Ok::<_, CommandError>(duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
    });
    Ok(LogQuery {
        follow: args.follow,
        tail: args.tail,
        since: since.transpose()?,
        call: args.call.clone(),
    })
}

/// Calls run at the same time, so a line says whose it is.
fn for_people(line: &LogLine) -> String {
    let call: String = line.call_id.chars().take(8).collect();
    format!("{} {call} {:<6} {}", line.time, line.stream, line.line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_whole_seconds_and_a_wrong_one_is_refused() {
        let since = |text: &str| {
            query(&Args { since: Some(text.to_owned()), ..Args::default() })
                .map(|query| query.since)
        };
        assert_eq!(since("10m"), Ok(Some(600)));
        assert_eq!(since("1500ms"), Ok(Some(2)));
        assert_eq!(since("10").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_line_says_when_whose_and_where() {
        let line = LogLine {
            time: "now".to_owned(),
            call_id: "0123456789".to_owned(),
            stream: "stderr".to_owned(),
            line: "hello".to_owned(),
        };
        assert_eq!(for_people(&line), "now 01234567 stderr hello");
    }
}
