//! The settings that there are: options of the command line, seen as paths in a file and as
//! variables of the environment.

use std::error::Error as _;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};

use super::places;

/// The verb whose options are settings, in a table of its name.
const UP: &str = "up";
/// Verbs about what `up` would do: options of the same names have the same settings.
const LIKE_UP: [&str; 3] = [UP, "doctor", "restore"];
/// Options of the whole program that are about one run of it; and the token's, which goes with a
/// server, is kept beside it, and has rules of its own.
const NO_SETTINGS: [&str; 4] = [super::CONFIG, "help", "version", "token_file"];
/// The option of every listing.
const OUTPUT: &str = "output";
/// The data folder, whose default depends on the machine.
const DATA: &str = "up.data";

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// Its path in the file: `server`, `up.listen`.
    pub(super) path: String,
    /// Its option, without dashes.
    long: String,
    place: Place,
    pub(super) kind: Kind,
    /// Its values are paths, in the file relative to the file.
    is_path: bool,
}

/// Which commands have the option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// All of them.
    Program,
    /// Those that print in a format that can be chosen.
    Listings,
    /// `dhow up`.
    Up,
}

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `true` or `false`.
    Switch,
    /// Text or a number.
    Text,
    /// Any number of texts.
    List,
}

impl Setting {
    /// Every setting of a program.
    pub(super) fn all(command: &Command) -> Vec<Self> {
        let of_program = command
            .get_arguments()
            .filter(|arg| !NO_SETTINGS.contains(&arg.get_id().as_str()))
            .filter_map(|arg| Self::new(arg, "", Place::Program));
        let listing = |verb: &Command| verb.get_arguments().find(|arg| is_output(arg)).cloned();
        let output = command.get_subcommands().find_map(listing);
        let of_listings = output.iter().filter_map(|output| Self::new(output, "", Place::Listings));
        let up = command.find_subcommand(UP);
        let of_up = up
            .into_iter()
            .flat_map(Command::get_arguments)
            .filter(|arg| !arg.is_global_set() && !NO_SETTINGS.contains(&arg.get_id().as_str()))
            .filter_map(|arg| Self::new(arg, "up.", Place::Up));
        of_program.chain(of_listings).chain(of_up).collect()
    }

    fn new(arg: &Arg, table: &str, place: Place) -> Option<Self> {
        let long = arg.get_long()?.to_owned();
        let kind = match arg.get_action() {
            ArgAction::SetTrue => Kind::Switch,
            ArgAction::Append => Kind::List,
            _ => Kind::Text,
        };
        let is_path = matches!(
            arg.get_value_hint(),
            ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath
        );
        Some(Self { path: format!("{table}{long}"), long, place, kind, is_path })
    }

    /// The variable of the environment.
    pub(super) fn variable(&self) -> String {
        format!("DHOW_{}", self.path.replace(['.', '-'], "_").to_ascii_uppercase())
    }

    /// The option as it is typed.
    pub(super) fn option(&self) -> String {
        format!("--{}", self.long)
    }

    /// A variable's values. Several stand between commas.
    pub(super) fn split(&self, value: &str) -> Vec<String> {
        match (self.kind, value) {
            (Kind::List, _) => value.split(',').map(str::to_owned).collect(),
            (Kind::Switch, "1") => vec!["true".to_owned()],
            (Kind::Switch, "0") => vec!["false".to_owned()],
            _ => vec![value.to_owned()],
        }
    }

    /// A path of a file in `folder` as it is seen from here; other values as they are.
    pub(super) fn seen_from(&self, folder: &Path, value: String) -> String {
        match self.is_path {
            // What is not Unicode can't stand in the folder of a file that was named in Unicode.
            true => folder.join(value).to_string_lossy().into_owned(),
            false => value,
        }
    }

    /// Whether the option takes `value`, as the command line judges it.
    pub(super) fn judge(&self, command: &Command, value: &str) -> Result<(), String> {
        let option = match self.kind {
            Kind::Switch if matches!(value, "true" | "false") => return Ok(()),
            Kind::Switch => return Err(format!("is `{value}`; it must be `true` or `false`")),
            Kind::Text | Kind::List => format!("--{}={value}", self.long),
        };
        let mut verbs = command.get_subcommands();
        let verb = match self.place {
            Place::Program | Place::Up => UP,
            Place::Listings => {
                verbs.find(|verb| self.arg_of(verb).is_some()).map_or(UP, Command::get_name)
            }
        };
        let Err(error) = command.clone().try_get_matches_from(["dhow", verb, &option]) else {
            return Ok(());
        };
        let strings = |kind| match error.get(kind) {
            Some(ContextValue::Strings(values)) => values.join(", "),
            Some(ContextValue::String(value)) => value.clone(),
            _ => String::new(),
        };
        match error.kind() {
            ErrorKind::InvalidValue if value.is_empty() => Err("is empty".to_owned()),
            ErrorKind::InvalidValue => {
                Err(format!("is `{value}`; it must be one of {}", strings(ContextKind::ValidValue)))
            }
            ErrorKind::ValueValidation => {
                let why = error.source().map(ToString::to_string);
                Err(format!(
                    "is `{value}`: {}",
                    why.unwrap_or_else(|| "it is not taken".to_owned())
                ))
            }
            // What has to stand beside it is judged with the whole line.
            _ => Ok(()),
        }
    }

    /// What it is when nobody says anything.
    pub(super) fn fallback(&self, command: &Command) -> Vec<String> {
        if self.path == DATA {
            let folder = places::data_folder();
            return folder.into_iter().map(|path| path.to_string_lossy().into_owned()).collect();
        }
        let verb = match self.place {
            Place::Program => Some(command),
            Place::Listings => command.get_subcommands().find(|verb| self.arg_of(verb).is_some()),
            Place::Up => command.find_subcommand(UP),
        };
        let arg = verb.and_then(|verb| self.arg_of(verb));
        let values = arg.map(Arg::get_default_values).unwrap_or_default();
        values.iter().map(|value| value.to_string_lossy().into_owned()).collect()
    }

    /// `command` with `values` for whoever does not use the option.
    pub(super) fn default(&self, command: Command, values: &[String]) -> Command {
        let defaults = |command: Command| {
            let Some(id) = self.arg_of(&command).map(|arg| arg.get_id().clone()) else {
                return command;
            };
            command.mut_arg(id, |arg| arg.default_values(values.iter().cloned()))
        };
        match self.place {
            Place::Program => defaults(command),
            Place::Listings => command.mut_subcommands(|verb| {
                let verb = verb.mut_subcommands(defaults);
                defaults(verb)
            }),
            Place::Up => LIKE_UP
                .into_iter()
                .filter(|verb| command.find_subcommand(verb).is_some())
                .collect::<Vec<_>>()
                .into_iter()
                .fold(command, |command, verb| command.mut_subcommand(verb, defaults)),
        }
    }

    /// The values that were typed.
    pub(super) fn typed(&self, matches: &ArgMatches) -> Option<Vec<String>> {
        let matches = match (self.place, matches.subcommand()) {
            (Place::Program, _) => matches,
            (Place::Listings, Some((_, verb))) => verb,
            (Place::Up, Some((verb, matches))) if LIKE_UP.contains(&verb) => matches,
            _ => return None,
        };
        // The ids of derived options are their names with underscores.
        let id = self.long.replace('-', "_");
        let source = matches.try_contains_id(&id).ok().and_then(|_| matches.value_source(&id));
        if source != Some(ValueSource::CommandLine) {
            return None;
        }
        if self.kind == Kind::Switch {
            return Some(vec!["true".to_owned()]);
        }
        let raw = matches.try_get_raw(&id).ok().flatten()?;
        Some(raw.map(|value| value.to_string_lossy().into_owned()).collect())
    }

    /// The option of `command` that this is.
    fn arg_of<'c>(&self, command: &'c Command) -> Option<&'c Arg> {
        let is_mine = |arg: &&Arg| {
            arg.get_long() == Some(&self.long) && (self.place != Place::Listings || is_output(arg))
        };
        command.get_arguments().find(is_mine)
    }
}

/// Whether an option is a listing's format, not some command's file.
fn is_output(arg: &Arg) -> bool {
    arg.get_long() == Some(OUTPUT)
        && arg.get_possible_values().iter().any(|value| value.matches("json", false))
}
