//! `config.toml`, read whole or refused whole.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use dhow_dialects::meant::meant;
use dhow_dialects::problem::FieldError;
use toml::{Table, Value};

use super::setting::{Kind, Setting};
use crate::cli::error::CommandError;

/// The most that is read, bytes.
const MOST: u64 = 1 << 20;

/// What a file says, by the paths of settings.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    values: Vec<(String, Vec<String>)>,
}

impl ConfigFile {
    /// Reads `path`. What is wrong with single fields is added to `problems`.
    ///
    /// # Errors
    /// When it can't be read or is not TOML.
    pub(super) fn read(
        path: &Path,
        settings: &[Setting],
        problems: &mut Vec<FieldError>,
    ) -> Result<Self, CommandError> {
        let shown = path.display();
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MOST + 1).read_to_string(&mut text))
            .map_err(|error| CommandError::file("the file of settings", &shown, &error))?;
        if text.len() as u64 > MOST {
            let message = format!("the file of settings `{shown}` has more than {MOST} bytes");
            return Err(CommandError::failure(message));
        }
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let message = format!("the file of settings `{shown}` is not TOML");
            let mut wrong = CommandError::usage(message);
            wrong.details.extend(error.to_string().trim_end().lines().map(str::to_owned));
            wrong
        })?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let mut file = Self::default();
        for (key, value) in &table {
            match value {
                Value::Table(table) if settings.iter().any(|one| within(&one.path, key)) => {
                    for (inner, value) in table {
                        file.take(&format!("{key}.{inner}"), value, folder, settings, problems);
                    }
                }
                _ => file.take(key, value, folder, settings, problems),
            }
        }
        Ok(file)
    }

    /// What it says of the setting at `path`.
    pub(super) fn values(&self, path: &str) -> Option<&[String]> {
        let mine = self.values.iter().find(|(said, _)| said == path);
        mine.map(|(_, values)| values.as_slice())
    }

    fn take(
        &mut self,
        path: &str,
        value: &Value,
        folder: &Path,
        settings: &[Setting],
        problems: &mut Vec<FieldError>,
    ) {
        let Some(setting) = settings.iter().find(|setting| setting.path == path) else {
            problems.push(FieldError::new(path, unknown(path, settings)));
            return;
        };
        match texts(setting.kind, value) {
            Ok(values) => {
                let values = values.into_iter().map(|value| setting.seen_from(folder, value));
                self.values.push((path.to_owned(), values.collect()));
            }
            Err(message) => problems.push(FieldError::new(path, message)),
        }
    }
}

/// A value as the command line would have it.
fn texts(kind: Kind, value: &Value) -> Result<Vec<String>, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    };
    match (kind, value) {
        (Kind::Switch, Value::Boolean(switch)) => Ok(vec![switch.to_string()]),
        (Kind::Switch, other) => {
            Err(format!("must be `true` or `false`, not {}", other.type_str()))
        }
        (Kind::Text, value) => text(value)
            .map(|text| vec![text])
            .ok_or_else(|| format!("must be text or a whole number, not {}", value.type_str())),
        (Kind::List, Value::Array(values)) => values
            .iter()
            .map(|value| {
                text(value)
                    .ok_or_else(|| format!("must be a list of texts, not of {}", value.type_str()))
            })
            .collect(),
        (Kind::List, other) => {
            Err(format!("must be a list such as [\"…\"], not {}", other.type_str()))
        }
    }
}

fn unknown(path: &str, settings: &[Setting]) -> String {
    let paths = || settings.iter().map(|setting| setting.path.as_str());
    let said = match meant(path, paths()) {
        Some(path) => Some(path),
        // A table that was forgotten, or is misspelt.
        None => paths().find(|known| {
            let last = |path: &str| path.rsplit('.').next().map(str::to_owned);
            known.contains('.') != path.contains('.') && last(known) == last(path)
        }),
    };
    match said {
        Some(meant) => format!("is not a setting; did you mean `{meant}`?"),
        None => "is not a setting; `dhow settings` lists them".to_owned(),
    }
}

/// Whether the setting at `path` stands in the table `table`.
fn within(path: &str, table: &str) -> bool {
    path.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'))
}
