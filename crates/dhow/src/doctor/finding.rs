//! What a check is, what it finds, and what can be done about it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::Subject;

/// A kind of fault, and how it is found. The table of them is the documentation, too.
pub(super) struct Check {
    /// A stable short name.
    pub(super) name: &'static str,
    pub(super) level: Level,
    /// What is looked at.
    pub(super) about: &'static str,
    /// How a fault shows.
    pub(super) found: &'static str,
    /// What `--fix` does, or what a person has to do.
    pub(super) remedy: Remedy,
    pub(super) look: fn(&Subject<'_>) -> Look,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// dhow does not work, or not as it was told.
    Fault,
    /// Something that only some need is not there, or will be wrong.
    Notice,
}

/// Who mends it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Remedy {
    /// `--fix`, by doing this.
    Fixed(&'static str),
    /// A person, who is told this, with the names of the case.
    Explained(&'static str),
}

/// What a look found.
#[derive(Debug)]
pub(super) enum Look {
    /// All is well, and what was seen.
    Good(String),
    /// At least one thing is wrong.
    Wrong(Vec<Finding>),
    /// There was nothing to look at, and why.
    Skipped(String),
}

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Finding {
    /// What, and why that is bad.
    pub(super) what: String,
    /// What to do, as a command where there is one.
    pub(super) advice: String,
    /// What `--fix` does.
    pub(super) fix: Option<Fix>,
}

/// A repair that loses nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fix {
    /// Give `path` this mode.
    Mode { path: PathBuf, mode: u32 },
    /// Remove these files.
    Remove(Vec<PathBuf>),
}

impl Finding {
    /// Something that a person has to mend.
    pub(super) fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), advice: advice.into(), fix: None }
    }

    /// Something that `--fix` mends.
    pub(super) fn fixable(what: impl Into<String>, fix: Fix) -> Self {
        let advice = "dhow doctor --fix".to_owned();
        Self { what: what.into(), advice, fix: Some(fix) }
    }
}

impl Look {
    /// What was found wrong; or else that all is well.
    pub(super) fn of(findings: Vec<Finding>, good: impl FnOnce() -> String) -> Self {
        if findings.is_empty() { Self::Good(good()) } else { Self::Wrong(findings) }
    }

    /// One thing that is wrong; or else that all is well.
    pub(super) fn single(finding: Option<Finding>, good: impl FnOnce() -> String) -> Self {
        Self::of(finding.into_iter().collect(), good)
    }
}

impl Fix {
    fn apply(&self) -> io::Result<()> {
        match self {
            Self::Mode { path, mode } => fs::set_permissions(path, Permissions::from_mode(*mode)),
            Self::Remove(paths) => paths.iter().try_for_each(|path| match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }),
        }
    }
}

/// A check that was done.
pub(super) struct Done {
    pub(super) check: &'static Check,
    pub(super) look: Look,
    /// For each finding, what became of its repair.
    pub(super) fixed: Vec<Option<io::Result<()>>>,
}

impl Done {
    pub(super) fn new(check: &'static Check, look: Look) -> Self {
        Self { check, look, fixed: Vec::new() }
    }

    /// Mends what can be.
    pub(super) fn fix(&mut self) {
        if let Look::Wrong(findings) = &self.look {
            let fix = |finding: &Finding| finding.fix.as_ref().map(Fix::apply);
            self.fixed = findings.iter().map(fix).collect();
        }
    }

    /// What is wrong, each with what became of its repair.
    pub(super) fn findings(&self) -> impl Iterator<Item = (&Finding, Option<&io::Result<()>>)> {
        let findings = match &self.look {
            Look::Wrong(findings) => findings.as_slice(),
            Look::Good(_) | Look::Skipped(_) => &[],
        };
        let fixed = |nth: usize| self.fixed.get(nth).and_then(Option::as_ref);
        findings.iter().enumerate().map(move |(nth, finding)| (finding, fixed(nth)))
    }

    /// Whether something stays wrong.
    pub(super) fn is_wrong(&self) -> bool {
        self.findings().any(|(_, fixed)| !matches!(fixed, Some(Ok(()))))
    }

    /// Whether a fault stays.
    pub(super) fn is_fault(&self) -> bool {
        self.check.level == Level::Fault && self.is_wrong()
    }
}
