//! The figures, as a table for people and as JSON.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::Args;
use crate::burn::Burn;
use crate::cold::Cold;
use crate::throughput::{CONNECTIONS, SUBJECTS, Sample, Subject};

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    rounds: usize,
    seconds: u64,
    wasmtime: String,
    pub(crate) throughput: Vec<Sample>,
    pub(crate) cold: Vec<Cold>,
    pub(crate) burn: Option<Burn>,
}

/// A goal: what is compared, and the least that is good enough and that is aimed at.
struct Goal {
    what: &'static str,
    floor: f64,
    aim: f64,
    of: fn(&Report, usize) -> Option<f64>,
}

const GOALS: &[Goal] = &[
    Goal {
        what: "http lean, CPU, times better than wasmtime serve",
        floor: 4.0,
        aim: 9.0,
        of: |report, c| report.cpu_ratio(Subject::ServeDefault, Subject::DhowLean, c),
    },
    Goal {
        what: "… than wasmtime serve with its pool tuned",
        floor: 2.2,
        aim: 4.0,
        of: |report, c| report.cpu_ratio(Subject::ServeTuned, Subject::DhowLean, c),
    },
    Goal {
        what: "… than wasmtime serve with reuse 20 (dhow fresh)",
        floor: 0.9,
        aim: 1.6,
        of: |report, c| report.cpu_ratio(Subject::ServeReuse20, Subject::DhowLean, c),
    },
    Goal {
        what: "http lean, requests/s, against bare hyper",
        floor: 0.35,
        aim: 0.55,
        of: |report, c| report.rate_ratio(Subject::DhowLean, Subject::Hyper, c),
    },
    Goal {
        what: "command, requests/s, against bare hyper",
        floor: 0.45,
        aim: 0.65,
        of: |report, c| report.rate_ratio(Subject::DhowCommand, Subject::Hyper, c),
    },
];

impl Report {
    pub(crate) fn new(args: &Args) -> Self {
        let version = std::process::Command::new(&args.wasmtime).arg("--version").output();
        let version =
            version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        Self {
            rounds: args.rounds,
            seconds: args.seconds,
            wasmtime: version.unwrap_or_default(),
            throughput: vec![],
            cold: vec![],
            burn: None,
        }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), String> {
        let json = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        }
        std::fs::write(path, json + "\n").map_err(|error| error.to_string())
    }

    fn cell(&self, subject: Subject, connections: usize, of: fn(&Sample) -> f64) -> Vec<f64> {
        self.throughput
            .iter()
            .filter(|sample| sample.subject == subject && sample.connections == connections)
            .map(of)
            .collect()
    }

    fn ratio(&self, a: Subject, b: Subject, c: usize, of: fn(&Sample) -> f64) -> Option<f64> {
        let (a, b) = (self.cell(a, c, of), self.cell(b, c, of));
        (!a.is_empty() && !b.is_empty()).then(|| median(&a) / median(&b))
    }

    fn cpu_ratio(&self, peer: Subject, dhow: Subject, connections: usize) -> Option<f64> {
        self.ratio(peer, dhow, connections, |sample| sample.cpu)
    }

    fn rate_ratio(&self, dhow: Subject, peer: Subject, connections: usize) -> Option<f64> {
        self.ratio(dhow, peer, connections, |sample| sample.load.per_second)
    }

    fn throughput_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Medians of {} rounds of {} s [least..most].\n", self.rounds, self.seconds)?;
        writeln!(f, "| server | connections | requests/s | CPU us/request | p50 us | p99 us |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for subject in SUBJECTS {
            for c in CONNECTIONS {
                let cpu = self.cell(subject, c, |sample| sample.cpu);
                if cpu.is_empty() {
                    continue;
                }
                let rate = self.cell(subject, c, |sample| sample.load.per_second);
                let p50 = self.cell(subject, c, |sample| sample.load.p50);
                let p99 = self.cell(subject, c, |sample| sample.load.p99);
                writeln!(
                    f,
                    "| {} | {c} | {:.0} [{:.0}..{:.0}] | {:.1} [{:.1}..{:.1}] | {:.0} | {:.0} |",
                    subject.name(),
                    median(&rate),
                    percentile(&rate, 0.0),
                    percentile(&rate, 1.0),
                    median(&cpu),
                    percentile(&cpu, 0.0),
                    percentile(&cpu, 1.0),
                    median(&p50),
                    median(&p99)
                )?;
            }
        }
        writeln!(f, "\n| goal | at 16 | at 64 | floor | aim |\n|---|---|---|---|---|")?;
        for goal in GOALS {
            let at = |c| {
                (goal.of)(self, c).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
            };
            writeln!(
                f,
                "| {} | {} | {} | {} | {} |",
                goal.what,
                at(16),
                at(64),
                goal.floor,
                goal.aim
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.throughput.is_empty() {
            self.throughput_table(f)?;
        }
        if !self.cold.is_empty() {
            writeln!(f, "\n| first call of | over a warm call, us | first, us | warm, us |")?;
            writeln!(f, "|---|---|---|---|")?;
            for cold in &self.cold {
                let (first, warm) = (median(&cold.first), median(&cold.warm));
                writeln!(
                    f,
                    "| {} | {:.0} | {first:.0} | {warm:.0} |",
                    cold.guest,
                    cold.over_warm()
                )?;
            }
        }
        if let Some(burn) = &self.burn {
            writeln!(
                f,
                "\nBeside {} endless loops, 200 calls/s: p99 {:.0} us (dhow), {:.0} us (bare hyper \
                 beside native loops at nice 19), ratio {:.2}, failed calls {}.",
                burn.loops,
                median(&burn.dhow_p99),
                median(&burn.hyper_p99),
                burn.ratio(),
                burn.failed
            )?;
        }
        Ok(())
    }
}

/// The middle of some figures.
pub(crate) fn median(figures: &[f64]) -> f64 {
    percentile(figures, 0.5)
}

/// The figure below which this part of all figures is; 0 is the least, 1 the greatest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a position in a short list"
)]
pub(crate) fn percentile(figures: &[f64], part: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_from_the_sorted_figures() {
        let figures = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(median(&figures), 3.0);
        assert_eq!((percentile(&figures, 0.0), percentile(&figures, 1.0)), (1.0, 5.0));
        assert!(median(&[]).is_nan());
    }
}
