//! The data folder: that it is one, whose it is, and who may look into it.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use dhow_store::folder::DataFolder;

use super::finding::{Finding, Fix, Look};
use super::server::Server;
use super::{Subject, unseen};

/// The right to write, of group and others.
const OTHERS_WRITE: u32 = 0o022;
/// Any right of group and others.
const OTHERS_ANY: u32 = 0o077;

/// Whether it is a folder that can be listed.
pub(super) fn unusable(subject: &Subject<'_>) -> Look {
    let Some(data) = subject.data() else { return nothing(subject) };
    let finding = fs::read_dir(data).err().map(|error| {
        let (at, why) = (data.display(), error.to_string());
        match error.kind() {
            io::ErrorKind::NotADirectory => Finding::new(
                format!("{at} is not a folder"),
                format!("move it away, `mv {at} {at}.old`, or name another folder with --data"),
            ),
            _ => Finding::new(
                format!("{at} can't be listed: {why}"),
                format!("run as its owner, `stat -c %U {at}`, or name another folder with --data"),
            ),
        }
    });
    Look::single(finding, || format!("{} is a folder", data.display()))
}

/// Who may look into it.
pub(super) fn rights(subject: &Subject<'_>) -> Look {
    let Some(data) = subject.data() else { return nothing(subject) };
    let inner = entries(data).into_iter().map(|(path, entry)| (path, entry, OTHERS_ANY));
    // The folder itself may be one that others have business in, as long as they change nothing.
    let top = fs::metadata(data).ok().map(|entry| (data.to_owned(), entry, OTHERS_WRITE));
    let findings = top
        .into_iter()
        .chain(inner)
        .filter_map(|(path, entry, forbidden)| {
            let mode = entry.permissions().mode() & 0o7777;
            let what = match forbidden {
                OTHERS_ANY => "others may reach what is dhow's alone",
                _ => "others may put files there",
            };
            (mode & forbidden != 0).then(|| {
                let what = format!("{} has mode {mode:03o}: {what}", path.display());
                Finding::fixable(what, Fix::Mode { path, mode: mode & !forbidden })
            })
        })
        .collect();
    Look::of(findings, || "nobody else reaches what is in it".to_owned())
}

/// Whose it is.
pub(super) fn owner(subject: &Subject<'_>) -> Look {
    let Some(data) = subject.data() else { return nothing(subject) };
    let me = rustix::process::geteuid().as_raw();
    let top = fs::metadata(data).ok().map(|entry| (data.to_owned(), entry));
    let all: Vec<_> = top.into_iter().chain(entries(data)).collect();
    let foreign = all.iter().find(|(_, entry)| entry.uid() != me);
    let finding = foreign.map(|(path, entry)| {
        let (at, owner) = (data.display(), entry.uid());
        Finding::new(
            format!("{} belongs to user {owner}, and this is user {me}", path.display()),
            format!(
                "run dhow as user {owner}, `sudo -u '#{owner}' dhow …`; or, with dhow stopped, give \
                 it all to one: `chown -R {me} {at}`"
            ),
        )
    });
    Look::single(finding, || format!("it belongs to user {me}, as this process does"))
}

/// Whether a process owns it that is not the server.
pub(super) fn in_use(subject: &Subject<'_>) -> Look {
    let Some(data) = subject.data() else { return nothing(subject) };
    let owner = match DataFolder::owner(data) {
        Ok(Some(owner)) => owner,
        Ok(None) => return Look::Good("no process has it open".to_owned()),
        Err(error) => return unseen(format_args!("its lock can't be read: {error}")),
    };
    let who = owner.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
    if matches!(subject.server(), Server::There(_)) {
        return Look::Good(format!("{who} has it open, and a dhow answers"));
    }
    let at = data.display();
    Look::Wrong(vec![Finding::new(
        format!("{who} has {at} open, and no dhow answers at {}", subject.settings.server),
        match owner {
            Some(pid) => format!(
                "if that is a dhow at another address, name it with --server; if it hangs, \
                 `kill {pid}`; or name another folder with --data"
            ),
            None => format!("`fuser -v {at}/lock` names it; or name another folder with --data"),
        },
    )])
}

fn nothing(subject: &Subject<'_>) -> Look {
    match &subject.args.data {
        Some(data) => unseen(format_args!("{} is not there yet", data.display())),
        None => unseen("no data folder is named"),
    }
}

/// What is directly in the folder.
fn entries(folder: &Path) -> Vec<(PathBuf, Metadata)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?))).collect()
}
