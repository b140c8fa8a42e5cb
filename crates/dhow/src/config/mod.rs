//! Settings: what may be said with an option, in the environment or in `config.toml`, and which of
//! them wins, in this order.
//!
//! The list of settings is the command line itself: each option of the whole program, the format
//! of listings, and each option of `dhow up`. An option that is added is a setting without a word
//! more. [`setting`] makes the list, [`file`] reads the file, [`read`] lays both under the line
//! that was typed, as its defaults. Knows nothing of what a setting does.

mod file;
mod places;
mod setting;
pub mod show;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use dhow_dialects::problem::FieldError;

use self::file::ConfigFile;
use self::setting::Setting;
use crate::cli::error::CommandError;

/// The option that names the file, and its variable.
const CONFIG: &str = "config";
const DHOW_CONFIG: &str = "DHOW_CONFIG";

/// Where the settings are, besides options and environment.
#[derive(Debug, Clone, Default, clap::Args)]
// Several structures of this name make up the one line.
#[group(skip)]
pub struct Args {
    /// The file of settings [env: DHOW_CONFIG] [default: $XDG_CONFIG_HOME/dhow/config.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Settings")]
    pub config: Option<PathBuf>,
}

/// A command line with everything under it.
#[derive(Debug)]
pub struct Given<A> {
    /// What it means.
    pub arguments: A,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// Every setting, in the order of the command line's help.
    pub settings: Vec<Resolved>,
}

/// What a setting is, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Its path in the file, such as `up.listen`.
    pub path: String,
    /// Its values: one, or any number where it may be repeated.
    pub values: Vec<String>,
    /// Who says so.
    pub source: Source,
}

/// Who says what a setting is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// This option.
    Option(String),
    /// This variable of the environment.
    Environment(String),
    /// The file.
    File,
    /// Nobody.
    Default,
}

/// Why a command line could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What was typed is wrong, or asks for help.
    #[error(transparent)]
    Line(#[from] clap::Error),
    /// The file or the environment is wrong.
    #[error(transparent)]
    Settings(#[from] CommandError),
}

impl<A> Given<A> {
    /// The setting at `path`.
    pub fn setting(&self, path: &str) -> Option<&Resolved> {
        self.settings.iter().find(|setting| setting.path == path)
    }
}

/// Reads `line`, with the `environment` and the file of settings under it.
///
/// # Errors
/// What is wrong with the line; else all that is wrong with the file and the environment.
pub fn read<A: CommandFactory + FromArgMatches>(
    line: &[OsString],
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Given<A>, ReadError> {
    let Layered { matches, file, settings } = layered(A::command(), line, environment)?;
    Ok(Given { arguments: A::from_arg_matches(&matches)?, file, settings })
}

/// A line as `command` reads it, with everything under it.
pub(crate) struct Layered {
    pub(crate) matches: ArgMatches,
    file: Option<PathBuf>,
    settings: Vec<Resolved>,
}

/// As [`read`], for any `command`.
pub(crate) fn layered(
    command: Command,
    line: &[OsString],
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Layered, ReadError> {
    let said = |name: &str| environment(name).filter(|value| !value.is_empty());
    // This first reading is for the file's name, and for help and mistakes, which need no file.
    let matches = command.clone().try_get_matches_from(line)?;
    let named = matches.get_one::<PathBuf>(CONFIG).cloned();
    let named = named.or_else(|| said(DHOW_CONFIG).map(PathBuf::from));
    let file = named.or_else(places::config_file);
    let settings = Setting::all(&command);
    let (found, problems) = resolve(&settings, &command, file.as_deref(), said)?;
    if !problems.is_empty() {
        let file = file.map(|file| format!("the file of settings is `{}`", file.display()));
        let wrong = CommandError::usage("nothing was done, since settings are wrong");
        return Err(wrong.fields(problems).hint(file.unwrap_or_default()).into());
    }
    let matches = settings
        .iter()
        .zip(&found)
        .filter(|(_, found)| !found.values.is_empty())
        .fold(command, |command, (setting, found)| setting.default(command, &found.values))
        .try_get_matches_from(line)?;
    let typed = settings.iter().zip(found).map(|(setting, found)| match setting.typed(&matches) {
        Some(values) => Resolved { values, source: Source::Option(setting.option()), ..found },
        None => found,
    });
    Ok(Layered { settings: typed.collect(), file, matches })
}

/// What each setting is without options, and everything that is wrong.
fn resolve(
    settings: &[Setting],
    command: &Command,
    file: Option<&Path>,
    said: impl Fn(&str) -> Option<String>,
) -> Result<(Vec<Resolved>, Vec<FieldError>), CommandError> {
    let mut problems = Vec::new();
    let file = match file {
        Some(path) => ConfigFile::read(path, settings, &mut problems)?,
        None => ConfigFile::default(),
    };
    let mut resolved = Vec::new();
    for setting in settings {
        let variable = setting.variable();
        let mut judged = |values: Vec<String>, source: Source, name: &str| {
            for value in &values {
                if let Err(why) = setting.judge(command, value) {
                    problems.push(FieldError::new(name, why));
                }
            }
            (values, source)
        };
        // The file is judged also where the environment wins: it is right or wrong as a whole.
        let of_file = file
            .values(&setting.path)
            .map(|values| judged(values.to_vec(), Source::File, &setting.path));
        let of_environment = said(&variable).map(|value| {
            judged(setting.split(&value), Source::Environment(variable.clone()), &variable)
        });
        let (values, source) = of_environment
            .or(of_file)
            .unwrap_or_else(|| (setting.fallback(command), Source::Default));
        resolved.push(Resolved { path: setting.path.clone(), values, source });
    }
    Ok((resolved, problems))
}

#[cfg(test)]
mod tests;
