//! The benchmark: the same guests on dhow and on its peers, in interleaved rounds of one run.
//! Prints tables, writes everything as JSON.

mod burn;
mod cold;
mod density;
mod load;
mod machine;
mod queue;
mod report;
mod server;
mod spec;
mod throughput;
mod usage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Parser, ValueEnum};

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
    /// Functions whose memory and start are measured
    #[arg(long, default_value_t = 10_000)]
    functions: usize,
    /// Only some parts
    #[arg(long)]
    only: Vec<Part>,
    /// Only some rows of the throughput table, by part of their name
    #[arg(long)]
    subject: Vec<String>,
    /// One round of a second each, few functions: whether it runs, not how fast. Writes nothing
    /// unless told where
    #[arg(long)]
    quick: bool,
    /// Where the figures go [default: bench/results/DATE.json, or DATE-2.json when there is one…]
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Requests a second and CPU per request
    Throughput,
    /// First calls of functions
    Cold,
    /// A quick function beside endless loops
    Burn,
    /// Memory, start and calls of thousands of functions
    Density,
    /// Asynchronous calls taken a second
    Queue,
    /// No measurement: SPEC.md out of the results that are there
    Spec,
}

impl Args {
    /// What was meant, from what was typed.
    fn settle(mut self) -> Self {
        match self.quick {
            true => {
                (self.rounds, self.seconds) = (1, 1);
                self.cold = self.cold.min(5);
                self.functions = self.functions.min(500);
            }
            false => {
                self.json =
                    self.json.or_else(|| Some(next_file(&machine::date(SystemTime::now()))));
            }
        }
        self
    }

    fn dhow(&self) -> PathBuf {
        let beside = || Some(std::env::current_exe().ok()?.with_file_name("dhow"));
        self.dhow.clone().or_else(beside).unwrap_or_else(|| "dhow".into())
    }

    fn wants_subject(&self, name: &str) -> bool {
        self.subject.is_empty() || self.subject.iter().any(|part| name.contains(part.as_str()))
    }

    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

/// The first file of this day that is not there yet: no run writes over the figures of another.
fn next_file(date: &str) -> PathBuf {
    let folder = Path::new("bench/results");
    let mut file = folder.join(format!("{date}.json"));
    let mut run = 2;
    while file.exists() {
        file = folder.join(format!("{date}-{run}.json"));
        run += 1;
    }
    file
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for a terminal")]
fn main() -> ExitCode {
    let args = Args::parse();
    if args.only == [Part::Spec] {
        return match spec::write(Path::new("bench/results"), Path::new("SPEC.md")) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("{why}");
                ExitCode::FAILURE
            }
        };
    }
    let args = args.settle();
    let mut report = report::Report::new(&args);
    let mut failed = measure(&args, &mut report);
    // What was measured before a failure is kept.
    println!("{report}");
    if let Some(path) = &args.json {
        match report.write(path) {
            Ok(()) => println!("Figures are in {}.", path.display()),
            Err(why) => {
                let unwritten = format!("{}: {why}", path.display());
                failed = failed.and(Err(unwritten));
            }
        }
    }
    match failed.and_then(|()| report.failures()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args, report: &mut report::Report) -> Result<(), String> {
    if args.wants(Part::Throughput) {
        report.throughput = throughput::measure(args)?;
    }
    if args.wants(Part::Cold) {
        report.cold = cold::measure(args)?;
    }
    if args.wants(Part::Burn) {
        report.burn = Some(burn::measure(args)?);
    }
    if args.wants(Part::Density) {
        report.density = Some(density::measure(args)?);
    }
    if args.wants(Part::Queue) {
        report.queue = queue::measure(args)?;
    }
    Ok(())
}
