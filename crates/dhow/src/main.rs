//! The one binary. It looks at its own name first: a child that compiles is this program too, and
//! must do nothing else.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dhow::cli::error::CommandError;
use dhow::cli::output::Output;
use dhow::cli::settings::{self, Settings};
use dhow::{backup, cli, inspect, login, pull, push, restore, run, up};
use dhow_engine::compile::worker;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Runs WebAssembly functions
#[derive(Parser)]
#[command(name = "dhow", version, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    client: settings::Args,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything on this machine: gateway, engine, catalog
    Up(Box<up::Args>),
    /// Call a module once, here and now, without a server
    Run(run::Args),
    /// Copy everything that a dhow keeps into one file
    Backup(backup::Args),
    /// Make a data folder of such a copy
    Restore(restore::Args),
    /// Look at a module or an image without deploying it
    Inspect(inspect::Args),
    /// Write the module of an image to a file
    Pull(pull::Args),
    /// Put a module into a registry
    Push(push::Args),
    /// Keep a credential for a registry, as Docker and podman do
    Login(login::Args),
    #[command(flatten)]
    Client(cli::Command),
}

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    if args.next().is_some_and(|name| name == worker::WORKER_NAME) {
        return worker::main(args, std::io::stdout().lock());
    }
    let arguments = Arguments::parse();
    let mut output = Output::stdio();
    match dispatch(&arguments, &mut output) {
        Ok(code) => code,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, CommandError> {
    match &arguments.command {
        Command::Up(args) => up::run(args, settings::environment, output)?,
        Command::Run(args) => return run::run(args, output),
        Command::Inspect(args) => inspect::run(args, output)?,
        Command::Backup(args) => {
            let settings = Settings::resolve(&arguments.client, settings::environment)?;
            backup::run(args, &settings, output)?;
        }
        Command::Restore(args) => restore::run(args, settings::environment, output)?,
        Command::Pull(args) => pull::run(args, output)?,
        Command::Push(args) => push::run(args, output)?,
        Command::Login(args) => login::run(args, output)?,
        Command::Client(command) => {
            let settings = Settings::resolve(&arguments.client, settings::environment)?;
            cli::run(command, &settings, output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
