//! The benchmark: the same guests on dhow and on its peers, in interleaved rounds of one run.
//! Prints tables, writes everything as JSON.

mod burn;
mod cold;
mod load;
mod report;
mod server;
mod throughput;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// What to measure, and how long.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Args {
    /// The dhow to measure [default: beside this program]
    #[arg(long)]
    dhow: Option<PathBuf>,
    /// wasmtime's command line
    #[arg(long, default_value = "wasmtime")]
    wasmtime: PathBuf,
    /// The guests' folder
    #[arg(long, default_value = "guests")]
    guests: PathBuf,
    /// Rounds, one after the other over all servers
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load for each cell of a round
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Functions for the cold calls
    #[arg(long, default_value_t = 30)]
    cold: usize,
    /// Only some of: throughput, cold, burn
    #[arg(long)]
    only: Vec<String>,
    /// Only some rows of the throughput table, by part of their name
    #[arg(long)]
    subject: Vec<String>,
    /// Where the figures go
    #[arg(long, default_value = "bench/results/latest.json")]
    json: PathBuf,
}

impl Args {
    fn dhow(&self) -> PathBuf {
        let beside = || Some(std::env::current_exe().ok()?.with_file_name("dhow"));
        self.dhow.clone().or_else(beside).unwrap_or_else(|| "dhow".into())
    }

    fn wants_subject(&self, name: &str) -> bool {
        self.subject.is_empty() || self.subject.iter().any(|part| name.contains(part.as_str()))
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for a terminal")]
fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<String, String> {
    let mut report = report::Report::new(args);
    if args.wants("throughput") {
        report.throughput = throughput::measure(args)?;
    }
    if args.wants("cold") {
        report.cold = cold::measure(args)?;
    }
    if args.wants("burn") {
        report.burn = Some(burn::measure(args)?);
    }
    report.write(&args.json)?;
    Ok(report.to_string())
}
