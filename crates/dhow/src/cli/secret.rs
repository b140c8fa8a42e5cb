//! `dhow secret`: values that functions need and nobody else sees. They come from files or from
//! stdin, never from the command line, which every process of the machine can read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use dhow_core::name::Label;
use dhow_core::secret::{DOCKER_CONFIG_JSON, DOCKER_CONFIG_KEY, MOST_BYTES, OPAQUE};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::client::Client;
use super::error::CommandError;
use super::output::{Format, Output};
use super::settings::Settings;
use super::wire::SecretStatus;

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Keep a secret, in the place of one of the same name
    Create(Create),
    /// List secrets: names, types and keys
    List(List),
    /// Forget secrets
    Delete(Delete),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The secret's name
    name: String,
    /// A value: the content of FILE, under KEY or the file's name; - is stdin. May be repeated
    #[arg(
        long = "from-file",
        value_name = "[KEY=]FILE",
        required_unless_present = "docker_config"
    )]
    files: Vec<String>,
    /// Credentials for registries: a config.json of Docker, or what it would hold; - is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    docker_config: Option<PathBuf>,
    /// The secret's type
    #[arg(long = "type", value_name = "TYPE", default_value = OPAQUE, conflicts_with = "docker_config")]
    kind: String,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Of every namespace
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// How to print them
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, clap::Args)]
struct Delete {
    /// Their names
    #[arg(required = true)]
    names: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// What went wrong; nothing was changed then.
pub fn run(args: &Args, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    match &args.verb {
        Verb::Create(args) => create(args, settings, output),
        Verb::List(args) => list(args, settings, output),
        Verb::Delete(args) => delete(args, settings, output),
    }
}

fn create(args: &Create, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let (namespace, name) = (settings.namespace(), label(&args.name)?);
    let (kind, values) = match &args.docker_config {
        Some(file) => {
            let key = DOCKER_CONFIG_KEY.to_owned();
            (DOCKER_CONFIG_JSON, BTreeMap::from([(key, read(file)?)]))
        }
        None => (args.kind.as_str(), values(&args.files)?),
    };
    let data: Map<String, Value> =
        values.iter().map(|(key, value)| (key.clone(), STANDARD.encode(&**value).into())).collect();
    Client::new(settings).put_secret(&namespace, &name, &json!({"type": kind, "data": data}))?;
    output.note(format_args!("{name}: kept in the namespace {namespace}"));
    Ok(())
}

fn values(files: &[String]) -> Result<BTreeMap<String, Zeroizing<Vec<u8>>>, CommandError> {
    let mut values = BTreeMap::new();
    for said in files {
        let (key, file) = match said.split_once('=') {
            Some((key, file)) => (key.to_owned(), Path::new(file)),
            None => (key_of(Path::new(said))?, Path::new(said)),
        };
        if values.insert(key.clone(), read(file)?).is_some() {
            return Err(CommandError::usage(format!("the key `{key}` is given twice")));
        }
    }
    Ok(values)
}

fn key_of(file: &Path) -> Result<String, CommandError> {
    let name = file.file_name().and_then(|name| name.to_str()).filter(|name| *name != "-");
    name.map(str::to_owned).ok_or_else(|| {
        CommandError::usage(format!("`{}` names no key", file.display()))
            .hint("write --from-file KEY=FILE, or KEY=- for stdin")
    })
}

/// At most what a secret may hold, and a byte to tell that there was more.
fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let shown = file.display();
    let most = MOST_BYTES as u64 + 1;
    let mut bytes = Zeroizing::new(Vec::new());
    let read = if file == Path::new("-") {
        io::stdin().take(most).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    read.map_err(|error| CommandError::file("the value", shown, &error))?;
    if bytes.len() > MOST_BYTES {
        let message = format!("`{}` has more than {MOST_BYTES} bytes", file.display());
        return Err(CommandError::failure(message));
    }
    Ok(bytes)
}

fn list(args: &List, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let namespace = settings.namespace();
    let answer = Client::new(settings).secrets((!args.all_namespaces).then_some(&namespace))?;
    let items = answer.read.items;
    match args.output {
        Format::Json | Format::Yaml => output.value(&answer.raw, args.output)?,
        Format::Name => {
            for secret in items {
                output.line(secret.name)?;
            }
        }
        Format::Table | Format::Wide => {
            let row = |secret: SecretStatus| {
                let SecretStatus { name, namespace, kind, keys } = secret;
                vec![name, namespace, kind, keys.join(", ")]
            };
            let rows: Vec<_> = items.into_iter().map(row).collect();
            output.table(&["NAME", "NAMESPACE", "TYPE", "KEYS"], &rows)?;
        }
    }
    Ok(())
}

fn delete(args: &Delete, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let (namespace, client) = (settings.namespace(), Client::new(settings));
    let names = args.names.iter().map(|name| label(name)).collect::<Result<Vec<_>, _>>()?;
    for name in names {
        client.delete_secret(&namespace, &name)?;
        output.note(format_args!("{name}: forgotten"));
    }
    Ok(())
}

fn label(text: &str) -> Result<Label, CommandError> {
    text.parse().map_err(|error| {
        CommandError::usage(format!("`{text}` is not the name of a secret: {error}"))
    })
}
