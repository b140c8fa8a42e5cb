//! The figures, as tables for people and as JSON.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Args;
use crate::burn::Burn;
use crate::cold::Cold;
use crate::density::{Density, MOST_MEMORY, MOST_SLOWDOWN, MOST_START};
use crate::machine::Machine;
use crate::queue::{self, Sync, Taken};
use crate::throughput::{CONNECTIONS, SUBJECTS, Sample, Subject};

/// Everything that was measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    #[serde(default)]
    pub(crate) machine: Machine,
    rounds: usize,
    seconds: u64,
    #[serde(default)]
    pub(crate) throughput: Vec<Sample>,
    #[serde(default)]
    pub(crate) cold: Vec<Cold>,
    pub(crate) burn: Option<Burn>,
    pub(crate) density: Option<Density>,
    #[serde(default)]
    pub(crate) queue: Vec<Taken>,
}

/// A goal: what is compared, and the least that is good enough and that is aimed at.
pub(crate) struct Goal {
    pub(crate) what: &'static str,
    pub(crate) floor: f64,
    pub(crate) aim: f64,
    /// What is compared with was given what dhow itself found: a line to look at, no bound.
    pub(crate) peer_is_ours: bool,
    pub(crate) of: fn(&[Sample], usize) -> Option<f64>,
}

pub(crate) const GOALS: &[Goal] = &[
    Goal {
        what: "http lean, CPU, times better than wasmtime serve",
        floor: 4.0,
        aim: 9.0,
        peer_is_ours: false,
        of: |all, c| cpu_ratio(all, Subject::ServeDefault, Subject::DhowLean, c),
    },
    Goal {
        what: "… than wasmtime serve with its pool's memories tuned",
        floor: 2.2,
        aim: 4.0,
        peer_is_ours: false,
        of: |all, c| cpu_ratio(all, Subject::ServeMemoryTuned, Subject::DhowLean, c),
    },
    Goal {
        what: "… than wasmtime serve with its pool tuned as dhow's own",
        floor: 2.2,
        aim: 4.0,
        peer_is_ours: true,
        of: |all, c| cpu_ratio(all, Subject::ServeTuned, Subject::DhowLean, c),
    },
    Goal {
        what: "… than wasmtime serve with reuse 20 (dhow fresh)",
        floor: 0.9,
        aim: 1.6,
        peer_is_ours: false,
        of: |all, c| cpu_ratio(all, Subject::ServeReuse20, Subject::DhowLean, c),
    },
    Goal {
        what: "http lean, requests/s, against bare hyper",
        floor: 0.35,
        aim: 0.55,
        peer_is_ours: false,
        of: |all, c| rate_to_hyper(all, Subject::DhowLean, c),
    },
    Goal {
        what: "command, requests/s, against bare hyper",
        floor: 0.45,
        aim: 0.65,
        peer_is_ours: false,
        of: |all, c| rate_to_hyper(all, Subject::DhowCommand, c),
    },
];

/// p99 beside endless loops, against bare hyper beside native ones: at most this.
pub(crate) const BURN_CEILING: f64 = 3.0;

impl Report {
    pub(crate) fn new(args: &Args) -> Self {
        Self {
            machine: Machine::look(args),
            rounds: args.rounds,
            seconds: args.seconds,
            throughput: vec![],
            cold: vec![],
            burn: None,
            density: None,
            queue: vec![],
        }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), String> {
        let json = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        }
        std::fs::write(path, json + "\n").map_err(|error| error.to_string())
    }

    /// What makes a run void, whatever its figures are. Failed requests under load have ended it
    /// before.
    pub(crate) fn failures(&self) -> Result<(), String> {
        match &self.burn {
            Some(burn) if burn.failed > 0 => {
                Err(format!("{} calls failed beside endless loops", burn.failed))
            }
            _ => Ok(()),
        }
    }

    fn throughput_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Medians of {} rounds of {} s [least..most].\n", self.rounds, self.seconds)?;
        writeln!(f, "| server | connections | requests/s | CPU us/request | p50 us | p99 us |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for subject in SUBJECTS {
            for c in CONNECTIONS {
                let rate = cell(&self.throughput, subject, c, |sample| sample.load.per_second);
                if rate.is_empty() {
                    continue;
                }
                let cpu = cell(&self.throughput, subject, c, |sample| sample.cpu);
                let p50 = cell(&self.throughput, subject, c, |sample| sample.load.p50);
                let p99 = cell(&self.throughput, subject, c, |sample| sample.load.p99);
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
        Ok(())
    }

    fn goals_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| goal | at 16 | at 64 | floor | aim |\n|---|---|---|---|---|")?;
        for Goal { what, floor, aim, of, .. } in GOALS {
            let at = |c| {
                of(&self.throughput, c)
                    .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
            };
            writeln!(f, "| {what} | {} | {} | {floor} | {aim} |", at(16), at(64))?;
        }
        let hyper = |c| bare_hyper(&self.throughput, c).map_or("-", |(subject, _)| subject.name());
        writeln!(
            f,
            "\nBare hyper is the faster of the two: {} at 16, {} at 64.",
            hyper(16),
            hyper(64)
        )
    }

    fn cold_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n| first call of | over a warm call, ms | floor | aim | first, us | warm, us | first of \
             its process, us |\n|---|---|---|---|---|---|---|"
        )?;
        for cold in &self.cold {
            writeln!(
                f,
                "| {} | {:.3} | {} | {} | {:.0} [{:.0}..{:.0}] | {:.0} | {:.0} |",
                cold.guest,
                cold.over_warm(),
                cold.floor,
                cold.aim,
                median(&cold.first),
                percentile(&cold.first, 0.0),
                percentile(&cold.first, 1.0),
                median(&cold.warm),
                cold.first_of_process
            )?;
        }
        Ok(())
    }

    fn queue_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n| asynchronous calls | connections | taken/s | p50 us | p99 us |\n|---|---|---|---|---|"
        )?;
        for sync in Sync::ALL {
            for c in queue::CONNECTIONS {
                let cell = |of: fn(&Taken) -> f64| taken(&self.queue, sync, c, of);
                let rate = cell(|one| one.load.per_second);
                writeln!(
                    f,
                    "| {} | {c} | {:.0} [{:.0}..{:.0}] | {:.0} | {:.0} |",
                    sync.name(),
                    median(&rate),
                    percentile(&rate, 0.0),
                    percentile(&rate, 1.0),
                    median(&cell(|one| one.load.p50)),
                    median(&cell(|one| one.load.p99))
                )?;
            }
        }
        let gain = |c| {
            let rate = |sync| median(&taken(&self.queue, sync, c, |one| one.load.per_second));
            rate(Sync::Shared) / rate(Sync::Each)
        };
        writeln!(
            f,
            "\nShared syncs take {:.1} times the calls at 16, {:.1} times at 64; without them every \
             change waits for a sync of its own, and a call is three: kept, drawn, ended.",
            gain(16),
            gain(64)
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.throughput.is_empty() {
            self.throughput_table(f)?;
            self.goals_table(f)?;
        }
        if !self.cold.is_empty() {
            self.cold_table(f)?;
        }
        if let Some(burn) = &self.burn {
            writeln!(
                f,
                "\nBeside {} endless loops, 200 calls/s: p99 {:.0} us (dhow), {:.0} us (bare hyper \
                 beside native loops at nice 19), ratio {:.2} (at most {BURN_CEILING}), failed calls \
                 {}.",
                burn.loops,
                median(&burn.dhow_p99),
                median(&burn.hyper_p99),
                burn.ratio(),
                burn.failed
            )?;
        }
        if let Some(density) = &self.density {
            density_table(density, f)?;
        }
        if !self.queue.is_empty() {
            self.queue_table(f)?;
        }
        Ok(())
    }
}

fn density_table(density: &Density, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mib = |bytes| bytes >> 20;
    writeln!(
        f,
        "\n{} functions of {} modules ({}), deployed in {:.0} s:\n\n\
         | | measured | at most |\n|---|---|---|",
        density.functions,
        density.modules,
        density.kinds.join(", "),
        density.deploying_seconds
    )?;
    writeln!(
        f,
        "| PSS, each called once and then idle | {} MiB ({} MiB before the calls, {} MiB without \
         functions) | {} MiB |",
        mib(density.idle),
        mib(density.uncalled),
        mib(density.empty),
        mib(MOST_MEMORY)
    )?;
    writeln!(f, "| start to ready | {:.2} s | {MOST_START} s |", density.start_seconds)?;
    writeln!(
        f,
        "| p99 of a warm call, against a server with ten functions | {:.2} x ({:.0} us, {:.0} us) | \
         {MOST_SLOWDOWN} x |",
        density.slowdown(),
        median(&density.many_p99),
        median(&density.few_p99)
    )
}

/// One figure of one subject, in all rounds.
fn cell(all: &[Sample], subject: Subject, connections: usize, of: fn(&Sample) -> f64) -> Vec<f64> {
    all.iter()
        .filter(|sample| sample.subject == subject && sample.connections == connections)
        .map(of)
        .collect()
}

/// One figure of the queue, in all rounds.
fn taken(all: &[Taken], sync: Sync, connections: usize, of: fn(&Taken) -> f64) -> Vec<f64> {
    all.iter()
        .filter(|taken| taken.sync == sync && taken.connections == connections)
        .map(of)
        .collect()
}

fn median_cell(all: &[Sample], subject: Subject, c: usize, of: fn(&Sample) -> f64) -> Option<f64> {
    let figures = cell(all, subject, c, of);
    (!figures.is_empty()).then(|| median(&figures))
}

/// How many times the CPU of `dhow` its peer needs for a request.
fn cpu_ratio(all: &[Sample], peer: Subject, dhow: Subject, c: usize) -> Option<f64> {
    let cpu = |subject| median_cell(all, subject, c, |sample| sample.cpu);
    Some(cpu(peer)? / cpu(dhow)?)
}

/// The faster of the bare servers, and its requests a second.
fn bare_hyper(all: &[Sample], c: usize) -> Option<(Subject, f64)> {
    [Subject::Hyper, Subject::HyperPerCore]
        .into_iter()
        .filter_map(|one| Some((one, median_cell(all, one, c, |sample| sample.load.per_second)?)))
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
}

/// Requests a second, as part of those of bare hyper.
fn rate_to_hyper(all: &[Sample], dhow: Subject, c: usize) -> Option<f64> {
    let (_, hyper) = bare_hyper(all, c)?;
    Some(median_cell(all, dhow, c, |sample| sample.load.per_second)? / hyper)
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
    use crate::load::Load;

    fn sample(subject: Subject, per_second: f64, cpu: f64) -> Sample {
        let load = Load { requests: 1.0, per_second, p50: 1.0, p99: 1.0 };
        Sample { subject, connections: 16, round: 0, load, cpu }
    }

    #[test]
    fn percentiles_are_taken_from_the_sorted_figures() {
        let figures = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(median(&figures), 3.0);
        assert_eq!((percentile(&figures, 0.0), percentile(&figures, 1.0)), (1.0, 5.0));
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn ratios_are_of_medians_at_the_same_number_of_connections() {
        let all = [
            sample(Subject::ServeDefault, 10.0, 100.0),
            sample(Subject::ServeDefault, 10.0, 140.0),
            sample(Subject::ServeDefault, 10.0, 120.0),
            sample(Subject::DhowLean, 30.0, 20.0),
        ];
        assert_eq!(cpu_ratio(&all, Subject::ServeDefault, Subject::DhowLean, 16), Some(6.0));
        assert_eq!(cpu_ratio(&all, Subject::ServeDefault, Subject::DhowLean, 64), None);
        assert_eq!(cpu_ratio(&all, Subject::ServeTuned, Subject::DhowLean, 16), None);
    }

    #[test]
    fn the_faster_bare_server_is_what_counts() {
        let mut all = vec![sample(Subject::DhowLean, 30.0, 20.0)];
        assert_eq!(rate_to_hyper(&all, Subject::DhowLean, 16), None);
        all.push(sample(Subject::Hyper, 60.0, 7.0));
        assert_eq!(rate_to_hyper(&all, Subject::DhowLean, 16), Some(0.5));
        all.push(sample(Subject::HyperPerCore, 100.0, 7.0));
        assert_eq!(rate_to_hyper(&all, Subject::DhowLean, 16), Some(0.3));
        assert_eq!(bare_hyper(&all, 16), Some((Subject::HyperPerCore, 100.0)));
    }
}
