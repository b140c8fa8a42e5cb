//! The one binary. It looks at its own name first: a child that compiles is this program too, and
//! must do nothing else.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use dhow::cli::error::CommandError;
use dhow::cli::output::Output;
use dhow::cli::settings::{self, Settings};
use dhow::cli::{colour, complete};
use dhow::config::{self, Given, ReadError, Source};
use dhow::{backup, cli, doctor, inspect, login, pull, push, restore, run, up};
use dhow_engine::compile::worker;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Runs WebAssembly functions
#[derive(Parser)]
#[command(name = "dhow", version, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    client: settings::Args,
    #[command(flatten)]
    config: config::Args,
    #[command(flatten)]
    colour: colour::Args,
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
    /// Print the script that makes a shell complete dhow's commands and functions
    Completions(complete::Args),
    /// Look for what is wrong with this machine, the data folder and the server
    Doctor(Box<doctor::Args>),
    /// Show every setting, and what says so: an option, the environment or the file
    Settings(config::show::Args),
    #[command(flatten)]
    Client(cli::Command),
}

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    if args.next().is_some_and(|name| name == worker::WORKER_NAME) {
        return worker::main(args, std::io::stdout().lock());
    }
    // Ends the process when it is a shell that asks.
    complete::answer(Arguments::command);
    let line: Vec<OsString> = std::env::args_os().collect();
    colour::decide(&line);
    let given = match config::read::<Arguments>(&line, settings::environment) {
        Ok(given) => given,
        Err(ReadError::Line(error)) => error.exit(),
        Err(ReadError::Settings(error)) => return failed(&error, &mut Output::stdio()),
    };
    given.arguments.colour.apply();
    let mut output = Output::stdio();
    match dispatch(&given, &mut output) {
        Ok(code) => code,
        Err(error) => failed(&error, &mut output),
    }
}

fn failed(error: &CommandError, output: &mut Output) -> ExitCode {
    output.error(error);
    ExitCode::from(error.exit_code())
}

fn dispatch(given: &Given<Arguments>, output: &mut Output) -> Result<ExitCode, CommandError> {
    let arguments = &given.arguments;
    let client = || Settings::resolve(&arguments.client, settings::environment);
    match &arguments.command {
        Command::Up(args) => up::run(args, settings::environment, output)?,
        Command::Run(args) => return run::run(args, output),
        Command::Inspect(args) => inspect::run(args, output)?,
        Command::Backup(args) => backup::run(args, &client()?, output)?,
        Command::Restore(args) => restore::run(args, output)?,
        Command::Completions(args) => complete::print(args, output)?,
        Command::Doctor(args) => {
            let server = given.setting(settings::SERVER).map(|server| &server.source);
            let is_named = server.is_some_and(|source| *source != Source::Default);
            return doctor::run(args, &client()?, is_named, settings::environment, output);
        }
        Command::Pull(args) => pull::run(args, output)?,
        Command::Push(args) => push::run(args, output)?,
        Command::Login(args) => login::run(args, output)?,
        Command::Settings(args) => config::show::run(args, given, output)?,
        Command::Client(command) => {
            cli::run(command, &client()?, output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
