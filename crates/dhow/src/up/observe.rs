//! How `dhow up` is seen from outside: its own log, and what it sends to a collector.

use std::io;
use std::sync::Arc;

use anstream::{AutoStream, ColorChoice};
use dhow_core::ports::Traces;
use dhow_gateway::metrics::{Metrics, TraceFigures};
use dhow_otlp::Exporter;
use dhow_otlp::config::{Config, Options};
use tracing_subscriber::EnvFilter;

use super::failure;
use crate::cli::error::CommandError;

/// Options of what is seen.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// How dhow's own log is written, on standard error
    #[arg(long, value_enum, default_value_t, help_heading = "Seen from outside")]
    log_format: LogFormat,
    /// What it shows: error, warn, info, debug, trace, or a filter such as info,dhow_oci=debug
    #[arg(long, value_name = "LEVEL", default_value = "warn", value_parser = filter, help_heading = "Seen from outside")]
    log_level: String,
    /// Send traces and metrics to this OpenTelemetry collector, over OTLP's http/protobuf; without
    /// it OTEL_EXPORTER_OTLP_ENDPOINT says where, if anywhere
    #[arg(long, value_name = "URL", help_heading = "Seen from outside")]
    otlp: Option<String>,
    /// The share of calls to follow, 0 to 1, where the caller did not decide; without it
    /// OTEL_TRACES_SAMPLER says which, else all
    #[arg(long, value_name = "RATIO", value_parser = ratio, help_heading = "Seen from outside")]
    trace_ratio: Option<f64>,
}

/// How dhow's own log is written.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// Begins dhow's own log.
pub(super) fn begin_log(args: &Args) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&args.log_level))
        .with_writer(io::stderr)
        .with_ansi(AutoStream::choice(&io::stderr()) != ColorChoice::Never);
    // A second start in one process, as in tests, keeps the first's.
    drop(match args.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => {
            log.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
        }
    });
}

/// What is to be sent to a collector, if anything is.
pub(super) fn otlp(
    args: &Args,
    environment: fn(&str) -> Option<String>,
) -> Result<Option<Config>, CommandError> {
    let options = Options { endpoint: args.otlp.clone(), ratio: args.trace_ratio };
    Config::read(&options, environment, env!("CARGO_PKG_VERSION")).map_err(|error| {
        let mut refused = CommandError::usage("what is to be observed is not said rightly");
        refused.details = error.problems;
        refused.hint("docs/observability.md has the variables; unset them to send nothing")
    })
}

/// What sends, if anything is to be sent.
pub(super) struct Export(Option<Exporter>);

impl Export {
    /// Starts to send.
    pub(super) fn start(config: Option<Config>, metrics: &Metrics) -> Result<Self, CommandError> {
        let Some(config) = config else { return Ok(Self(None)) };
        let families = metrics.clone();
        let exporter = Exporter::start(config, move || families.families()).map_err(failure)?;
        let figures = exporter.figures();
        metrics.set_traces(Box::new(move || {
            let figures = figures();
            TraceFigures { sent: figures.sent, dropped: figures.dropped }
        }));
        Ok(Self(Some(exporter)))
    }

    /// What follows calls, if they are to be followed.
    pub(super) fn traces(&self) -> Option<Arc<dyn Traces>> {
        self.0.as_ref().and_then(Exporter::traces)
    }

    /// Sends what is left, within a bound.
    pub(super) async fn stop(self) {
        if let Some(exporter) = self.0 {
            exporter.stop().await;
        }
    }
}

/// Judged as it is read, so that one that makes no sense is refused and not passed over.
fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) if !text.trim().is_empty() => Ok(text.to_owned()),
        Ok(_) => Err("it is empty".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("it is no number from 0 to 1".to_owned()),
    }
}
