//! The clock, against the server's and against what is on disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::finding::{Finding, Look};
use super::server::Server;
use super::{Subject, unseen};

/// What is let pass: the server tells whole seconds, and its answer takes a while.
const SKEW: Duration = Duration::from_secs(5);
/// How far in the future a file may be.
const FUTURE: Duration = Duration::from_secs(60);
/// Files of each folder that are looked at.
const MOST_FILES: usize = 1000;

/// The clock against the server's.
pub(super) fn skew(subject: &Subject<'_>) -> Look {
    let Server::There(there) = subject.server() else {
        return unseen("no dhow answers to compare with");
    };
    let Some((date, here)) = there.date else {
        return unseen("the server's answer has no date");
    };
    let (apart, word) = match date.duration_since(here) {
        Ok(apart) => (apart, "behind"),
        Err(error) => (error.duration(), "ahead of"),
    };
    let finding = (apart > SKEW).then(|| {
        Finding::new(
            format!(
                "this clock is {} s {word} the server's: tokens and certificates may be taken for \
                 expired, and logs do not fit together",
                apart.as_secs()
            ),
            "set both by the network's time: `timedatectl set-ntp true`",
        )
    });
    Look::single(finding, || "it agrees with the server's".to_owned())
}

/// Files of the data folder that are from the future.
pub(super) fn future(subject: &Subject<'_>) -> Look {
    let Some(data) = subject.data() else { return unseen("there is no data folder yet") };
    let newest = newest(data);
    let finding = newest.and_then(|(modified, file)| {
        let ahead = modified.duration_since(subject.now).ok().filter(|ahead| *ahead > FUTURE)?;
        Some(Finding::new(
            format!(
                "{} was written {} s in the future: this clock was set back, or is wrong",
                file.display(),
                ahead.as_secs()
            ),
            "set the clock by the network's time: `timedatectl set-ntp true`; what is unused is \
             collected later than it should be until then",
        ))
    });
    Look::single(finding, || "no file of the data folder is from the future".to_owned())
}

/// The newest file of the folder and of the folders in it.
fn newest(folder: &Path) -> Option<(SystemTime, PathBuf)> {
    let files = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.take(MOST_FILES).map(|entry| entry.path()).collect()
    };
    let top = files(folder);
    let inner: Vec<PathBuf> = top.iter().flat_map(|path| files(path)).collect();
    let modified = |path: PathBuf| Some((fs::metadata(&path).ok()?.modified().ok()?, path));
    top.into_iter().chain(inner).filter_map(modified).max()
}
