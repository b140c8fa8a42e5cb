//! The cache of compiled code.

use std::path::PathBuf;

use dhow_engine::compile::audit::{self, Audit};

use super::finding::{Finding, Fix, Look};
use super::{Subject, unseen};

/// Code that is not what was written.
pub(super) fn damaged(subject: &Subject<'_>) -> Look {
    look(subject, |audit| {
        let findings = audit.damaged.into_iter().map(|entry| {
            let what = format!("{}: {}", shown(&entry.files), entry.why);
            Finding::fixable(what, Fix::Remove(entry.files))
        });
        Look::of(findings.collect(), || format!("{} modules' code is whole", audit.sound))
    })
}

/// Files that this dhow did not compile, or can't use.
pub(super) fn foreign(subject: &Subject<'_>) -> Look {
    look(subject, |audit| {
        let findings = audit.foreign.into_iter().map(|entry| {
            let what = format!("{}: {}", shown(&entry.files), entry.why);
            Finding::fixable(what, Fix::Remove(entry.files))
        });
        Look::of(findings.collect(), || "all of it is of this dhow, for this machine".to_owned())
    })
}

fn look(subject: &Subject<'_>, judge: impl FnOnce(Audit) -> Look) -> Look {
    let folder = subject.data().map(|data| data.join("code")).filter(|folder| folder.is_dir());
    let Some(folder) = folder else { return unseen("nothing was compiled yet") };
    match audit::audit(&folder, subject.now) {
        Ok(audit) => judge(audit),
        Err(error) => unseen(format_args!("{} can't be looked through: {error}", folder.display())),
    }
}

fn shown(files: &[PathBuf]) -> String {
    files.first().map(|file| file.display().to_string()).unwrap_or_default()
}
