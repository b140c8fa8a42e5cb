//! SPEC.md: what is published about dhow, made from the committed results and from nothing else.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;

use crate::burn::Burn;
use crate::cold::Cold;
use crate::density::{Density, MOST_MEMORY, MOST_SLOWDOWN, MOST_START};
use crate::machine::Machine;
use crate::report::{BURN_CEILING, GOALS, Goal, Report, median};
use crate::throughput::Sample;

/// The most bytes of the program.
const MOST_PROGRAM: u64 = 64 << 20;

/// The newest results of each part.
#[derive(Debug)]
pub(crate) struct Spec {
    machine: Machine,
    throughput: Vec<Sample>,
    cold: Vec<Cold>,
    burn: Burn,
    density: Density,
}

impl Spec {
    /// Reads every result in `folder`.
    ///
    /// # Errors
    /// When one can't be read, or a part was never measured.
    pub(crate) fn read(folder: &Path) -> Result<Self, String> {
        let mut reports = Vec::new();
        for entry in fs::read_dir(folder).map_err(|why| format!("{}: {why}", folder.display()))? {
            let path = entry.map_err(|why| why.to_string())?.path();
            if path.extension().is_some_and(|ending| ending == "json") {
                let text = fs::read_to_string(&path).map_err(|why| why.to_string())?;
                let report: Report = serde_json::from_str(&text)
                    .map_err(|why| format!("{}: {why}", path.display()))?;
                reports.push((report.machine.began.clone(), path, report));
            }
        }
        // The oldest results say not when they were begun, so they come first.
        reports.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
        let newest = || reports.iter().rev().map(|(_, _, report)| report);
        let missing = |part: &str| format!("{} has no results of `{part}`", folder.display());
        let whole = newest()
            .find(|report| !report.throughput.is_empty())
            .ok_or_else(|| missing("throughput"))?;
        let sized = newest().find(|report| report.machine.program > 0);
        Ok(Self {
            machine: sized.unwrap_or(whole).machine.clone(),
            throughput: whole.throughput.clone(),
            cold: newest()
                .find(|report| !report.cold.is_empty())
                .ok_or_else(|| missing("cold"))?
                .cold
                .clone(),
            burn: newest().find_map(|report| report.burn.clone()).ok_or_else(|| missing("burn"))?,
            density: newest()
                .find_map(|report| report.density.clone())
                .ok_or_else(|| missing("density"))?,
        })
    }

    /// Whether what does not depend on the machine is within its bounds.
    ///
    /// # Errors
    /// Each figure that is not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut over = String::new();
        let mut hold = |what: &str, holds: bool| {
            if !holds {
                over.push_str(what);
                over.push('\n');
            }
        };
        for Goal { what, floor, of, peer_is_ours, .. } in GOALS {
            let at = |c| of(&self.throughput, c).is_some_and(|ratio| ratio >= *floor);
            hold(what, *peer_is_ours || at(16) && at(64));
        }
        for cold in &self.cold {
            hold(&format!("the first call of {}", cold.guest), cold.over_warm() <= cold.floor);
        }
        hold("p99 beside endless loops", self.burn.ratio() <= BURN_CEILING);
        hold("the memory of many functions", self.density.idle <= MOST_MEMORY);
        hold("the start with many functions", self.density.start_seconds <= MOST_START);
        hold("calls beside many functions", self.density.slowdown() <= MOST_SLOWDOWN);
        hold("the size of the program", (1..=MOST_PROGRAM).contains(&self.machine.program));
        if over.is_empty() { Ok(()) } else { Err(format!("over its bound:\n{over}")) }
    }

    fn speed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| a fresh instance for every call, everything switched on | at 16 | at 64 | bound |"
        )?;
        writeln!(f, "|---|---|---|---|")?;
        for Goal { what, floor, of, peer_is_ours, .. } in GOALS {
            let at = |c| {
                of(&self.throughput, c)
                    .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
            };
            let bound = if *peer_is_ours { "-".to_owned() } else { format!("at least {floor}") };
            writeln!(f, "| {what} | {} | {} | {bound} |", at(16), at(64))?;
        }
        writeln!(f, "\n| first call of a function, code on disk | over a warm call | bound |")?;
        writeln!(f, "|---|---|---|")?;
        for cold in &self.cold {
            writeln!(f, "| {} | {:.2} ms | {} ms |", cold.guest, cold.over_warm(), cold.floor)?;
        }
        writeln!(
            f,
            "\nBeside {} endless loops on {} cores, p99 of a function called 200 times a second is {:.2} \
             times that of bare hyper beside native loops of low priority (at most {BURN_CEILING}); \
             {} calls failed.",
            self.burn.loops,
            self.machine.cores,
            self.burn.ratio(),
            self.burn.failed
        )
    }

    fn size(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let density = &self.density;
        let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
        writeln!(f, "| | measured | bound |\n|---|---|---|")?;
        writeln!(f, "| the program | {} | {} |", mib(self.machine.program), mib(MOST_PROGRAM))?;
        writeln!(f, "| memory (PSS) without functions | {} | |", mib(density.empty))?;
        writeln!(
            f,
            "| memory with {} functions of {} modules, each called once, then idle | {} | {} |",
            density.functions,
            density.modules,
            mib(density.idle),
            mib(MOST_MEMORY)
        )?;
        writeln!(
            f,
            "| from start to ready with them | {:.2} s | {MOST_START} s |",
            density.start_seconds
        )?;
        writeln!(
            f,
            "| p99 of a warm call beside them, against ten functions | {:.2} x | {MOST_SLOWDOWN} x |",
            density.slowdown()
        )?;
        let few = median(&density.few_p99);
        writeln!(f, "\n(p99 beside ten functions: {few:.0} us, one connection.)")
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { processor, cores, kernel, rustc, wasmtime, .. } = &self.machine;
        writeln!(
            f,
            "# Figures\n\n\
             Made by `./x bench` from `bench/results`; `cargo test` checks that they are those of the \
             results and\nwithin their bounds. How they were taken: [bench/README.md](bench/README.md). \
             Ratios and memory travel;\nmicroseconds are those of one machine: {processor}, {cores} \
             virtual cores, Linux {kernel}, {rustc},\n{wasmtime}.\n\n## Speed\n"
        )?;
        self.speed(f)?;
        writeln!(f, "\n## Size\n")?;
        self.size(f)
    }
}

/// Writes SPEC.md.
pub(crate) fn write(folder: &Path, file: &Path) -> Result<(), String> {
    let spec = Spec::read(folder)?;
    let mut text = String::new();
    write!(text, "{spec}").map_err(|why| why.to_string())?;
    fs::write(file, text).map_err(|why| format!("{}: {why}", file.display()))?;
    spec.check()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_what_was_measured_and_within_its_bounds() {
        let root = Path::new("..");
        let spec = Spec::read(&root.join("bench/results")).unwrap();
        let published = fs::read_to_string(root.join("SPEC.md")).unwrap();
        assert_eq!(published, spec.to_string(), "`./x bench --only spec` writes it anew");
        assert_eq!(spec.check(), Ok(()));
    }

    #[test]
    fn a_figure_over_its_bound_is_named() {
        let root = Path::new("..");
        let mut spec = Spec::read(&root.join("bench/results")).unwrap();
        spec.density.idle = MOST_MEMORY + 1;
        spec.machine.program = 0;
        let over = spec.check().unwrap_err();
        assert!(over.contains("memory of many") && over.contains("size of the program"), "{over}");
    }
}
