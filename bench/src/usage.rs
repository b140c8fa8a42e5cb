//! What a process has used, as `/proc` tells it (proc(5)).

use std::fs;

/// Ticks a second in `/proc/PID/stat`: USER_HZ, the same on every machine that dhow is made for.
const TICKS: f64 = 100.0;

/// What counts of one line of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stat {
    pid: u32,
    parent: u32,
    /// User and system time of the process, and of its children that have ended.
    ticks: f64,
}

/// CPU seconds of a process and of everything it has started.
pub(crate) fn cpu(pid: u32) -> Result<f64, String> {
    let entries = fs::read_dir("/proc").map_err(|error| error.to_string())?;
    let all: Vec<Stat> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let pid: u32 = name.to_str()?.parse().ok()?;
            // One that has ended meanwhile is in its parent's line.
            parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
        })
        .collect();
    match all.iter().any(|stat| stat.pid == pid) {
        true => Ok(family(&all, pid) / TICKS),
        false => Err(format!("process {pid} is not in /proc")),
    }
}

/// Resident bytes of a process, those that it shares with others in equal parts.
pub(crate) fn pss(pid: u32) -> Result<u64, String> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    let rollup = rollup.map_err(|error| format!("the memory of process {pid}: {error}"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| format!("process {pid} has no Pss"))
}

fn family(all: &[Stat], pid: u32) -> f64 {
    let own: f64 = all.iter().filter(|stat| stat.pid == pid).map(|stat| stat.ticks).sum();
    let children = all.iter().filter(|stat| stat.parent == pid);
    own + children.map(|stat| family(all, stat.pid)).sum::<f64>()
}

/// The name in parentheses may hold anything, so what follows counts from the last of them.
fn parse(line: &str) -> Option<Stat> {
    let (before, after) = line.rsplit_once(')')?;
    let pid = before.split_whitespace().next()?.parse().ok()?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    // utime, stime, cutime, cstime.
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<f64>().ok());
    Some(Stat { pid, parent, ticks: ticks.sum::<Option<f64>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_of_proc() {
        let line = "42 (a) name) S 7 42 42 0 -1 4194560 1 2 3 4 50 60 1 2 20 0 8 0 99 1 1";
        assert_eq!(parse(line), Some(Stat { pid: 42, parent: 7, ticks: 113.0 }));
        assert_eq!(parse("42 (short) S 7"), None);
    }

    #[test]
    fn children_count_and_strangers_do_not() {
        let stat = |pid, parent, ticks| Stat { pid, parent, ticks };
        let all = [stat(1, 0, 1.0), stat(2, 1, 10.0), stat(3, 2, 100.0), stat(4, 9, 1000.0)];
        assert_eq!(family(&all, 1), 111.0);
        assert_eq!(family(&all, 2), 110.0);
    }

    #[test]
    fn this_process_is_in_proc() {
        assert!(cpu(std::process::id()).is_ok());
        assert!(pss(std::process::id()).unwrap() > 0);
        assert!(cpu(u32::MAX).is_err());
    }
}
