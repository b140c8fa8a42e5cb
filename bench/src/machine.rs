//! Where and with what a run was made: figures mean little without it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::Args;

/// The machine and the programs. What can't be found out is empty.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Machine {
    /// When the run began, UTC.
    pub(crate) began: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    dhow: String,
    /// The commit that is checked out, `-dirty` when files differ from it.
    commit: String,
    pub(crate) wasmtime: String,
    wrk: String,
    /// Bytes of the dhow that was measured.
    pub(crate) program: u64,
}

impl Machine {
    pub(crate) fn look(args: &Args) -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = cpus
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map(|(_, name)| name.to_owned());
        Self {
            began: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            processor: processor.unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: says(Path::new("uname"), &["-r"]),
            rustc: says(Path::new("rustc"), &["--version"]),
            dhow: says(&args.dhow(), &["version"]),
            commit: says(Path::new("git"), &["describe", "--always", "--dirty", "--exclude=*"]),
            wasmtime: says(&args.wasmtime, &["--version"]),
            wrk: says(Path::new("wrk"), &["-v"]),
            program: fs::metadata(args.dhow()).map_or(0, |program| program.len()),
        }
    }
}

/// The first line that a program prints.
fn says(program: &Path, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or_default().trim().to_owned()
}

/// The day, `2026-11-21`, UTC.
pub(crate) fn date(time: SystemTime) -> String {
    let mut text = humantime::format_rfc3339_seconds(time).to_string();
    text.truncate("2026-11-21".len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_day_is_the_front_of_the_time() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200);
        assert_eq!(date(time), "2026-11-21");
    }
}
