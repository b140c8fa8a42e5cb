//! `dhow doctor`: looks for what is wrong with this machine, the data folder, the server and what
//! is around them, mends what can be mended without loss, and explains the rest.
//!
//! [`table`] is the one list of faults; the files beside it do the looking, each for its area.
//! [`report`] prints. Nothing here changes anything unless `--fix` was given.

mod cache;
mod certificates;
mod clock;
mod disk;
mod finding;
mod folder;
mod machine;
mod ports;
mod registry;
mod report;
mod server;
mod table;
mod toolchains;

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use self::finding::{Done, Look};
use self::table::CHECKS;
use crate::cli::error::CommandError;
use crate::cli::output::{Format, Output};
use crate::cli::settings::Settings;

/// What was typed. The options that `dhow up` has, too, are those that it is to be started with.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Mend what can be mended without loss
    #[arg(long)]
    fix: bool,
    /// List what is looked at, and look at nothing
    #[arg(long, conflicts_with = "fix")]
    list: bool,
    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
    /// A registry to try, besides those that there are credentials for; may be repeated
    #[arg(long = "registry", value_name = "HOST")]
    registries: Vec<String>,
    /// A file of certificates (PEM) to look at, besides --tls-cert; may be repeated
    #[arg(long = "certificate", value_name = "FILE")]
    certificates: Vec<PathBuf>,
    /// As `dhow up` has it: where functions are called
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", help_heading = "Server")]
    listen: SocketAddr,
    /// As `dhow up` has it: where the admin API is
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081", help_heading = "Server")]
    admin: SocketAddr,
    /// As `dhow up` has it: where metrics are
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8082", help_heading = "Server")]
    metrics: SocketAddr,
    /// As `dhow up` has it: the data folder
    #[arg(long, value_name = "DIR", help_heading = "Server")]
    data: Option<PathBuf>,
    /// As `dhow up` has it: the certificates of its TLS
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    tls_cert: Option<PathBuf>,
    /// As `dhow up` has it: instances alive at once
    #[arg(long, value_name = "N", default_value_t = 1000, help_heading = "Server")]
    instances: u32,
    /// As `dhow up` has it: functions whose code is kept in memory
    #[arg(long, value_name = "N", default_value = "4000", help_heading = "Server")]
    loaded: NonZeroUsize,
    /// As `dhow up` has it: connections at once
    #[arg(long, value_name = "N", default_value = "10000", help_heading = "Server")]
    connections: NonZeroUsize,
}

/// What checks look at.
struct Subject<'a> {
    args: &'a Args,
    settings: &'a Settings,
    /// Somebody named the server, so that one is expected there.
    server_is_named: bool,
    environment: fn(&str) -> Option<String>,
    now: SystemTime,
    /// Asked once, by the first check that needs it.
    server: OnceCell<server::Server>,
    registries: OnceCell<Vec<registry::Tried>>,
}

impl Subject<'_> {
    /// The data folder, where it is there.
    fn data(&self) -> Option<&Path> {
        self.args.data.as_deref().filter(|data| data.exists())
    }
}

/// Runs the command.
///
/// # Errors
/// When the output can't be written.
pub fn run(
    args: &Args,
    settings: &Settings,
    server_is_named: bool,
    environment: fn(&str) -> Option<String>,
    output: &mut Output,
) -> Result<ExitCode, CommandError> {
    if args.list {
        report::list(args.output, output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let subject = Subject {
        args,
        settings,
        server_is_named,
        environment,
        now: SystemTime::now(),
        server: OnceCell::new(),
        registries: OnceCell::new(),
    };
    let done: Vec<Done> = CHECKS
        .iter()
        .map(|check| {
            let mut done = Done::new(check, (check.look)(&subject));
            if args.fix {
                done.fix();
            }
            done
        })
        .collect();
    report::print(&done, args.output, output)?;
    let is_ill = done.iter().any(Done::is_fault);
    Ok(if is_ill { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The programs that `PATH` leads to.
fn program(subject: &Subject<'_>, name: &str) -> Option<PathBuf> {
    let path = (subject.environment)("PATH").unwrap_or_default();
    which::which_in(name, Some(path), "/").ok()
}

/// A check that found out why it can't look.
fn unseen(what: impl std::fmt::Display) -> Look {
    Look::Skipped(what.to_string())
}
