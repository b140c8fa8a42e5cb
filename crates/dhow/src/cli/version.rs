//! `dhow version`.

use serde_json::{Value, json};

use super::client::Client;
use super::error::CommandError;
use super::output::{Format, Output};
use super::settings::Settings;

/// What was typed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// How to print it; name is this program's version alone, and asks no server
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Format,
}

/// Runs the command. A server that is not there is told, and is no failure.
///
/// # Errors
/// When the output can't be written.
pub fn run(args: &Args, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let own = env!("CARGO_PKG_VERSION");
    if args.output == Format::Name {
        output.line(own)?;
        return Ok(());
    }
    let server = Client::new(settings).version();
    match args.output {
        Format::Json | Format::Yaml => {
            let raw = server.as_ref().map_or(Value::Null, |server| server.raw.clone());
            output.value(&json!({"client": own, "server": raw}), args.output)?;
        }
        _ => {
            output.line(format_args!("client {own}"))?;
            if let Ok(server) = &server {
                let (version, gateway) = (&server.read.version, &server.read.gateway);
                output.line(format_args!("server {version} ({gateway})"))?;
            }
        }
    }
    if let Err(error) = server {
        output.note(format_args!("no server: {error}"));
    }
    Ok(())
}
