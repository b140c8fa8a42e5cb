//! What functions did between two looks. Pure.

use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::units::{length, mebibytes};
use crate::cli::wire::{FunctionStats, Stats};

/// What rows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Sort {
    /// Calls in a second
    #[default]
    Rate,
    /// Failed calls in a second
    Errors,
    /// The time that 99 of 100 calls take at most
    P99,
    /// Calls under way
    InFlight,
    /// CPU time
    Cpu,
    /// Memory
    Memory,
    /// Calls for which code had to be loaded
    Cold,
    /// Names, from a to z
    Name,
}

/// One function, over one interval.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    /// Calls in a second.
    pub(super) rate: f64,
    /// Those of them that the platform ended.
    errors: f64,
    p50: Option<Duration>,
    p99: Option<Duration>,
    in_flight: u64,
    /// Of one core; 1 is the whole of it.
    cpu: f64,
    peak_memory: u64,
    /// Since the server started.
    cold: u64,
}

pub(super) const HEAD: [&str; 9] =
    ["FUNCTION", "CALLS/S", "ERRORS/S", "P50", "P99", "IN-FLIGHT", "CPU", "MEMORY", "COLD"];

/// What happened between two looks, in the order that is asked for.
pub(super) fn rows(before: &Stats, now: &Stats, sort: Sort) -> Vec<Row> {
    let seconds = now.at_us.saturating_sub(before.at_us) as f64 / 1e6;
    let row = |one: &FunctionStats| {
        let same = |other: &&FunctionStats| {
            (&other.name, &other.namespace) == (&one.name, &one.namespace)
                // Counted anew: the server, or a function of that name, began again.
                && other.calls <= one.calls
                && now.at_us >= before.at_us
        };
        Row::new(before.items.iter().find(same), one, seconds)
    };
    let mut rows: Vec<_> = now.items.iter().map(row).collect();
    rows.sort_by(|one, other| {
        let by = |value: fn(&Row) -> f64| value(other).total_cmp(&value(one));
        let by_sort = match sort {
            Sort::Rate => by(|row| row.rate),
            Sort::Errors => by(|row| row.errors),
            Sort::P99 => Reverse(one.p99).cmp(&Reverse(other.p99)),
            Sort::InFlight => Reverse(one.in_flight).cmp(&Reverse(other.in_flight)),
            Sort::Cpu => by(|row| row.cpu),
            Sort::Memory => Reverse(one.peak_memory).cmp(&Reverse(other.peak_memory)),
            Sort::Cold => Reverse(one.cold).cmp(&Reverse(other.cold)),
            Sort::Name => std::cmp::Ordering::Equal,
        };
        by_sort.then_with(|| one.name.cmp(&other.name))
    });
    rows
}

impl Row {
    fn new(before: Option<&FunctionStats>, now: &FunctionStats, seconds: f64) -> Self {
        let since = |value: fn(&FunctionStats) -> u64| {
            value(now).saturating_sub(before.map_or(0, value)) as f64
        };
        let per_second = |count: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
        let buckets = between(before, now);
        Self {
            name: match now.namespace.as_str() {
                dhow_core::name::DEFAULT_NAMESPACE => now.name.clone(),
                namespace => format!("{}.{namespace}", now.name),
            },
            rate: per_second(since(|one| one.calls)),
            errors: per_second(since(|one| one.failures)),
            p50: quantile(&buckets, 0.5),
            p99: quantile(&buckets, 0.99),
            in_flight: now.in_flight,
            cpu: per_second(since(|one| one.cpu_us) / 1e6),
            peak_memory: now.peak_memory,
            cold: now.cold,
        }
    }

    pub(super) fn cells(&self) -> Vec<String> {
        let time = |time: Option<Duration>| time.map_or_else(|| "-".to_owned(), length);
        vec![
            self.name.clone(),
            format!("{:.1}", self.rate),
            format!("{:.1}", self.errors),
            time(self.p50),
            time(self.p99),
            self.in_flight.to_string(),
            format!("{:.1}%", self.cpu * 100.0),
            mebibytes(self.peak_memory),
            self.cold.to_string(),
        ]
    }

    pub(super) fn value(&self) -> Value {
        let micros = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e6);
        json!({
            "name": self.name,
            "calls_per_second": self.rate,
            "errors_per_second": self.errors,
            "p50_us": micros(self.p50),
            "p99_us": micros(self.p99),
            "in_flight": self.in_flight,
            "cpu_cores": self.cpu,
            "peak_memory": self.peak_memory,
            "cold": self.cold,
        })
    }
}

/// How many calls of the interval took at most so many microseconds; without a bound for the last.
fn between(before: Option<&FunctionStats>, now: &FunctionStats) -> Vec<(Option<f64>, u64)> {
    let earlier =
        |index: usize| before.and_then(|one| one.wall.get(index)).map_or(0, |it| it.calls);
    let buckets = now.wall.iter().enumerate();
    buckets
        .map(|(index, bucket)| (bucket.le_us, bucket.calls.saturating_sub(earlier(index))))
        .collect()
}

/// The time that a share of calls took at most, within its bucket by proportion, as Prometheus'
/// `histogram_quantile` has it.
fn quantile(buckets: &[(Option<f64>, u64)], share: f64) -> Option<Duration> {
    let all = buckets.last().map(|(_, calls)| *calls).filter(|calls| *calls > 0)?;
    let rank = share * all as f64;
    let (mut low, mut below) = (0.0, 0);
    for (bound, calls) in buckets {
        let Some(high) = *bound else { break };
        if *calls as f64 >= rank {
            let inside = (calls - below) as f64;
            let part = if inside > 0.0 { (rank - below as f64) / inside } else { 1.0 };
            return Some(Duration::from_secs_f64((low + (high - low) * part) / 1e6));
        }
        (low, below) = (high, *calls);
    }
    // Longer than the last bound: that is all that is known.
    Some(Duration::from_secs_f64(low / 1e6))
}

impl Sort {
    const ALL: [Self; 8] = [
        Self::Rate,
        Self::Errors,
        Self::P99,
        Self::InFlight,
        Self::Cpu,
        Self::Memory,
        Self::Cold,
        Self::Name,
    ];

    /// The one after it.
    pub(super) fn next(self) -> Self {
        let index = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL[(index + 1) % Self::ALL.len()]
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rate => "rate",
            Self::Errors => "errors",
            Self::P99 => "p99",
            Self::InFlight => "in-flight",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Cold => "cold",
            Self::Name => "name",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(at_us: u64, functions: &[(&str, u64, u64)]) -> Stats {
        let items: Vec<_> = functions
            .iter()
            .map(|(name, calls, cpu_us)| {
                json!({
                    "name": name, "namespace": "default", "in_flight": 1, "calls": calls,
                    "failures": calls / 10, "cold": 1, "cpu_us": cpu_us, "peak_memory": 1 << 20,
                    "wall": [
                        {"le_us": 10.0, "calls": calls / 2},
                        {"le_us": 20.0, "calls": calls},
                        {"le_us": null, "calls": calls},
                    ],
                })
            })
            .collect();
        serde_json::from_value(json!({"at_us": at_us, "items": items})).unwrap()
    }

    fn names(rows: &[Row]) -> Vec<&str> {
        rows.iter().map(|row| row.name.as_str()).collect()
    }

    #[test]
    fn a_row_is_what_happened_between() {
        let before = stats(1_000_000, &[("a", 100, 500_000)]);
        let now = stats(3_000_000, &[("a", 300, 1_500_000)]);
        let rows = rows(&before, &now, Sort::Rate);
        let cells = rows[0].cells();
        let expected = ["a", "100.0", "10.0", "10 µs", "20 µs", "1", "50.0%", "1.0 MiB", "1"];
        assert_eq!(cells, expected);
        assert_eq!(HEAD.len(), cells.len());
    }

    #[test]
    fn what_began_again_counts_from_nothing() {
        let before = stats(9_000_000, &[("a", 1000, 0)]);
        let now = stats(10_000_000, &[("a", 5, 0), ("b", 7, 0)]);
        let rates: Vec<_> =
            rows(&before, &now, Sort::Name).into_iter().map(|row| row.rate).collect();
        assert_eq!(rates, [5.0, 7.0]);
        // Another process, whose clock began again, too.
        let now = stats(1_000_000, &[("a", 2000, 0)]);
        assert_eq!(rows(&before, &now, Sort::Name)[0].rate, 0.0);
    }

    #[test]
    fn rows_are_sorted_by_what_is_asked_for_the_most_first() {
        let before = stats(0, &[]);
        let now = stats(1_000_000, &[("a", 1, 300), ("b", 3, 100), ("c", 2, 200)]);
        assert_eq!(names(&rows(&before, &now, Sort::Rate)), ["b", "c", "a"]);
        assert_eq!(names(&rows(&before, &now, Sort::Cpu)), ["a", "c", "b"]);
        assert_eq!(names(&rows(&before, &now, Sort::Name)), ["a", "b", "c"]);
        assert_eq!(names(&rows(&before, &now, Sort::InFlight)), ["a", "b", "c"]);
        let mut sort = Sort::Rate;
        for _ in 0..Sort::ALL.len() {
            sort = sort.next();
        }
        assert_eq!(sort, Sort::Rate);
    }

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let buckets = [(Some(10.0), 50), (Some(20.0), 100), (None, 100)];
        let micros = |share| quantile(&buckets, share).unwrap().as_secs_f64() * 1e6;
        assert!((micros(0.25) - 5.0).abs() < 0.01);
        assert!((micros(0.75) - 15.0).abs() < 0.01);
        let beyond = [(Some(10.0), 0), (None, 4)];
        assert_eq!(quantile(&beyond, 0.5), Some(Duration::from_micros(10)));
        assert_eq!(quantile(&[(None, 0)], 0.5), None);
        assert_eq!(quantile(&[], 0.5), None);
    }
}
