//! `dhow settings`: what every setting is, and who says so.

use serde_json::{Value, json};

use super::{Given, Resolved, Source};
use crate::cli::error::CommandError;
use crate::cli::output::{Format, Output};

/// What was typed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Format,
}

/// Runs the command.
///
/// # Errors
/// When the output can't be written.
pub fn run<A>(args: &Args, given: &Given<A>, output: &mut Output) -> Result<(), CommandError> {
    let settings = &given.settings;
    match args.output {
        Format::Json | Format::Yaml => {
            let file = given.file.as_ref().map(|path| path.to_string_lossy());
            let settings: Vec<Value> = settings.iter().map(value).collect();
            output.value(&json!({"file": file, "settings": settings}), args.output)?;
        }
        Format::Name => {
            for setting in settings {
                output.line(&setting.path)?;
            }
        }
        Format::Table | Format::Wide => {
            let rows: Vec<_> = settings.iter().map(row).collect();
            output.table(&["SETTING", "VALUE", "FROM"], &rows)?;
            match &given.file {
                Some(file) => output.note(format_args!("the file is {}", file.display())),
                None => output.note("there is no file of settings"),
            }
        }
    }
    Ok(())
}

fn row(setting: &Resolved) -> Vec<String> {
    let value = match setting.values.join(", ") {
        value if value.is_empty() => "-".to_owned(),
        value => value,
    };
    let from = match &setting.source {
        Source::Option(option) => option.clone(),
        Source::Environment(variable) => variable.clone(),
        Source::File => "file".to_owned(),
        Source::Default => "default".to_owned(),
    };
    vec![setting.path.clone(), value, from]
}

fn value(setting: &Resolved) -> Value {
    let (source, name) = match &setting.source {
        Source::Option(option) => ("option", Some(option)),
        Source::Environment(variable) => ("environment", Some(variable)),
        Source::File => ("file", None),
        Source::Default => ("default", None),
    };
    json!({"path": setting.path, "values": setting.values, "source": source, "name": name})
}
