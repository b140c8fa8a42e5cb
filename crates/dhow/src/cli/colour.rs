//! Whether there are colours: on terminals, unless `--color`, `NO_COLOR`, `CLICOLOR` or
//! `CLICOLOR_FORCE` say otherwise. The decision is anstream's; here are the few styles.

use std::ffi::OsString;

use anstyle::{AnsiColor, Style};
use clap::ColorChoice;

/// The word `error`, and faults.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// What is not wrong, but should be known.
pub(crate) const NOTICE: Style = AnsiColor::Yellow.on_default();
/// What is as it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// The word `hint`.
pub(super) const HINT: Style = AnsiColor::Cyan.on_default();
/// The titles of a table.
pub(super) const HEAD: Style = Style::new().bold();

/// What was typed.
#[derive(Debug, Clone, Copy, clap::Args)]
// Several structures of this name make up the one line.
#[group(skip)]
pub struct Args {
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    color: ColorChoice,
}

impl Args {
    /// Holds for all that is printed from now on.
    pub fn apply(self) {
        apply(self.color);
    }
}

/// Applies what `line` says of colours before it is read as a whole: mistakes in it have colours,
/// too.
pub fn decide(line: &[OsString]) {
    let mut words = line.iter().filter_map(|word| word.to_str()).take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        let said = match word {
            "--color" => words.next(),
            word => word.strip_prefix("--color="),
        };
        if let Some(Ok(choice)) = said.map(str::parse) {
            apply(choice);
        }
    }
}

fn apply(choice: ColorChoice) {
    let choice = match choice {
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
        ColorChoice::Auto => anstream::ColorChoice::Auto,
    };
    choice.write_global();
}
