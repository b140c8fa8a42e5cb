//! `dhow token create|list|revoke`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::client::Client;
use super::error::CommandError;
use super::output::{Format, Output};
use super::settings::Settings;
use super::wire::TokenStatus;

/// What was typed.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token, and print its secret, which is told this once
    Create(CreateArgs),
    /// List tokens
    List(ListArgs),
    /// End tokens
    Revoke(RevokeArgs),
}

/// Of `create`.
#[derive(Debug, Clone, clap::Args)]
pub struct CreateArgs {
    /// What to call it
    pub name: String,
    /// What it may do: read, deploy, invoke, each also as SCOPE:NAMESPACE, or admin; may be repeated
    #[arg(long = "scope", value_name = "SCOPE[:NS]", required = true)]
    pub scopes: Vec<String>,
    /// How long it holds, such as 12h or 90d, or never for as long as it is not revoked
    #[arg(long, value_name = "TIME", default_value = "90d")]
    pub expires: String,
    /// Write the secret into this new file, readable by you alone, and not to the output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Of `list`.
#[derive(Debug, Clone, clap::Args)]
pub struct ListArgs {
    /// How to print them
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Format,
}

/// Of `revoke`.
#[derive(Debug, Clone, clap::Args)]
pub struct RevokeArgs {
    /// The tokens' names
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// What means that a token has no end.
const NEVER: &str = "never";
const HEAD: [&str; 4] = ["NAME", "SCOPES", "CREATED", "EXPIRES"];

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
        Command::Create(args) => create(args, &client, output),
        Command::List(args) => list(args, &client, output),
        Command::Revoke(args) => revoke(args, &client, output),
    }
}

fn create(args: &CreateArgs, client: &Client, output: &mut Output) -> Result<(), CommandError> {
    // Before there is a token whose secret would have nowhere to go.
    let file = args.out.as_ref().map(|path| {
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        opened.map(|file| (path, file)).map_err(|error| unwritable(path, &error))
    });
    let file = file.transpose()?;
    let expires = (args.expires != NEVER).then_some(&args.expires);
    let wanted = json!({"name": args.name, "scopes": args.scopes, "expires": expires});
    let made = client.create_token(&wanted).inspect_err(|_| {
        if let Some((path, _)) = &file {
            // Empty, and of no use; a failure to remove it changes nothing of what is told.
            drop(std::fs::remove_file(path));
        }
    })?;
    match file {
        None => output.line(&made.token)?,
        Some((path, mut file)) => {
            let written = writeln!(file, "{}", made.token).and_then(|()| file.sync_all());
            written.map_err(|error| {
                unwritable(path, &error)
                    .hint(format!("`dhow token revoke {}`, and try again", args.name))
            })?;
            output.note(format_args!("the secret is in {}", path.display()));
        }
    }
    output.note(format_args!("{}: {}, {}", args.name, scopes(&made.status), end(&made.status)));
    Ok(())
}

fn unwritable(path: &std::path::Path, error: &std::io::Error) -> CommandError {
    CommandError::failure(format!("the secret can't be written to `{}`: {error}", path.display()))
}

fn list(args: &ListArgs, client: &Client, output: &mut Output) -> Result<(), CommandError> {
    let tokens = client.tokens()?;
    let items = &tokens.read.items;
    match args.output {
        Format::Json | Format::Yaml => output.value(&tokens.raw, args.output)?,
        Format::Name => items.iter().try_for_each(|token| output.line(&token.name))?,
        Format::Table | Format::Wide => {
            let rows: Vec<_> = items.iter().map(row).collect();
            output.table(&HEAD, &rows)?;
        }
    }
    Ok(())
}

fn revoke(args: &RevokeArgs, client: &Client, output: &mut Output) -> Result<(), CommandError> {
    let mut failed = Ok(());
    for name in &args.names {
        match client.revoke_token(name) {
            Ok(()) => output.note(format_args!("{name}: revoked")),
            Err(error) if failed.is_ok() => failed = Err(error),
            Err(error) => output.error(&error),
        }
    }
    failed
}

fn row(token: &TokenStatus) -> Vec<String> {
    vec![token.name.clone(), scopes(token), token.created.clone(), end(token)]
}

fn scopes(token: &TokenStatus) -> String {
    token.scopes.join(",")
}

fn end(token: &TokenStatus) -> String {
    match (&token.expires, token.expired) {
        (None, _) => NEVER.to_owned(),
        (Some(end), false) => format!("until {end}"),
        (Some(end), true) => format!("expired {end}"),
    }
}
