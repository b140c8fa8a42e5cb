//! `dhow quota set|list|delete`.

use clap::Subcommand;
use serde_json::json;

use super::client::Client;
use super::error::CommandError;
use super::output::{Format, Output};
use super::settings::Settings;
use super::units::mebibytes;
use super::wire::QuotaStatus;

/// What was typed.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what the functions of a namespace may use together; what is left out is not bounded
    Set(SetArgs),
    /// List quotas, and what is used of them
    List(ListArgs),
    /// Take quotas away
    Delete(DeleteArgs),
}

/// Of `set`.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = true, args = ["functions", "memory", "cpu", "calls"])]
pub struct SetArgs {
    /// The namespace
    pub name: String,
    /// Functions that are deployed
    #[arg(long, value_name = "N")]
    pub functions: Option<u32>,
    /// Memory of all its instances, such as 1Gi
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// CPU rate of all its calls, such as 500m or 2
    #[arg(long, value_name = "RATE")]
    pub cpu: Option<String>,
    /// Calls in flight
    #[arg(long, value_name = "N")]
    pub calls: Option<u32>,
}

/// Of `list`.
#[derive(Debug, Clone, clap::Args)]
pub struct ListArgs {
    /// How to print them
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Format,
}

/// Of `delete`.
#[derive(Debug, Clone, clap::Args)]
pub struct DeleteArgs {
    /// The namespaces
    #[arg(required = true)]
    pub names: Vec<String>,
}

const HEAD: [&str; 5] = ["NAMESPACE", "FUNCTIONS", "MEMORY", "CPU", "CALLS"];

/// Runs the command.
///
/// # Errors
/// What went wrong.
pub fn run(
    command: &Command,
    settings: &Settings,
    output: &mut Output,
) -> Result<(), CommandError> {
    let client = Client::new(settings);
    match command {
        Command::Set(args) => {
            let SetArgs { name, functions, memory, cpu, calls } = args;
            let wanted =
                json!({"functions": functions, "memory": memory, "cpu": cpu, "calls": calls});
            client.set_quota(name, &wanted)?;
            output.note(format_args!("{name}: the quota holds"));
        }
        Command::List(args) => list(args, &client, output)?,
        Command::Delete(args) => {
            for name in &args.names {
                client.delete_quota(name)?;
                output.note(format_args!("{name}: no quota"));
            }
        }
    }
    Ok(())
}

fn list(args: &ListArgs, client: &Client, output: &mut Output) -> Result<(), CommandError> {
    let quotas = client.quotas()?;
    let items = &quotas.read.items;
    match args.output {
        Format::Json | Format::Yaml => output.value(&quotas.raw, args.output)?,
        Format::Name => items.iter().try_for_each(|quota| output.line(&quota.namespace))?,
        Format::Table | Format::Wide => {
            output.table(&HEAD, &items.iter().map(row).collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// Each cell is what is used of what may be.
fn row(quota: &QuotaStatus) -> Vec<String> {
    let of = |used: String, most: Option<String>| {
        most.map_or_else(|| "-".to_owned(), |most| format!("{used}/{most}"))
    };
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    vec![
        quota.namespace.clone(),
        of(quota.used.functions.to_string(), number(quota.functions)),
        of(mebibytes(quota.used.memory), quota.memory.clone()),
        quota.cpu.clone().unwrap_or_else(|| "-".to_owned()),
        of(quota.used.calls.to_string(), number(quota.calls)),
    ]
}
