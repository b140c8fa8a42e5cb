//! What a command failed of: said to a person, and to the shell as an exit code.

use std::fmt::Display;
use std::io;

use dhow_dialects::problem::FieldError;

/// Which exit code a failure has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for could not be done: 1.
    Failure,
    /// What was named is not there: 1.
    Absent,
    /// What was asked for makes no sense: 2, as clap has it.
    Usage,
    /// What was asked for could not be done, and 1 says something else: 2.
    Trouble,
    /// The command did what it should, and what it printed says that this was a failure: 1.
    Silent,
    /// Whoever read the output has seen enough: 0.
    Closed,
}

/// The end of a command that failed: what happened and why, then what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    /// Which exit code it has.
    pub kind: Kind,
    /// What happened, and why.
    pub message: String,
    /// The parts of it, one a line.
    pub details: Vec<String>,
    /// What to do next, one a line.
    pub hints: Vec<String>,
}

impl CommandError {
    /// Something could not be done.
    pub fn failure(message: impl Into<String>) -> Self {
        Self::new(Kind::Failure, message.into())
    }

    /// Something makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message.into())
    }

    /// A failure that has been shown already.
    pub fn silent() -> Self {
        Self::new(Kind::Silent, String::new())
    }

    /// A local file that could not be used.
    pub fn file(what: &str, path: impl Display, error: &io::Error) -> Self {
        Self::failure(format!("{what} `{path}` can't be read: {error}"))
    }

    /// The same failure of a command that says 1 when it succeeded: it ends with 2, as `diff` does.
    #[must_use]
    pub fn trouble(mut self) -> Self {
        if matches!(self.kind, Kind::Failure | Kind::Absent) {
            self.kind = Kind::Trouble;
        }
        self
    }

    /// With one more line of what to do; an empty one is none.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.extend(Some(hint.into()).filter(|hint| !hint.is_empty()));
        self
    }

    /// With the fields that are wrong.
    #[must_use]
    pub fn fields(mut self, fields: impl IntoIterator<Item = FieldError>) -> Self {
        self.details.extend(fields.into_iter().map(|field| field.to_string()));
        self
    }

    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Closed => 0,
            Kind::Failure | Kind::Absent | Kind::Silent => 1,
            Kind::Usage | Kind::Trouble => 2,
        }
    }

    fn new(kind: Kind, message: String) -> Self {
        Self { kind, message, details: vec![], hints: vec![] }
    }
}

/// An error of writing the output, which is the only one that needs no words of its own.
impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Kind::Closed, String::new()),
            _ => Self::failure(format!("the output can't be written: {error}")),
        }
    }
}
