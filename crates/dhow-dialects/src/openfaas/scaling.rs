//! Scaling labels, and what they mean where instances are made for each call.
//!
//! A replica is a share of the calls that a function may have running at once: so many as a replica
//! takes (`max_inflight`, else `CALLS`), times `scale.max`, are its places. Nothing has to be
//! started for the next replica, so a function has as many as its calls need at this moment, and
//! never fewer than `scale.min`; with `scale.zero` it has none after a while without calls. The
//! next call is held for the milliseconds that its code takes to load.

use std::collections::BTreeMap;
use std::time::Duration;

use dhow_core::function::Template;
use dhow_core::limits::CONCURRENCY;
use dhow_core::metadata::Metadata;
use dhow_core::quantity::parse_duration;

use super::extra::Scaled;
use super::watchdog;
use crate::fields::{Shown, member};
use crate::problem::FieldError;

/// Calls at once in one replica where `max_inflight` says nothing. With the default of `scale.max`
/// that makes as many as a function has that is deployed without OpenFaaS.
const CALLS: u32 = 5;
/// `scale.max` where nothing is said.
const DEFAULT_MAX: u32 = 20;
/// The greatest `scale.min` and `scale.max`.
const MOST: u32 = 1000;
/// `scale.factor`: percent of `scale.max` that an alert adds, where nothing is said.
const DEFAULT_FACTOR: u32 = 10;
/// `scale.zero-duration` where nothing is said.
const DEFAULT_IDLE: Duration = Duration::from_secs(15 * 60);
/// `scale.target` and `scale.target-proportion` where nothing is said.
const DEFAULT_TARGET: f64 = 50.0;
const DEFAULT_PROPORTION: f64 = 0.9;
/// The greatest `scale.target`.
const MOST_TARGET: f64 = 1e6;

const PREFIX: &str = "com.openfaas.scale.";

/// How a function scales.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// It has no fewer replicas, unless it has none. At least 1.
    pub min: u32,
    /// It has no more.
    pub max: u32,
    /// It has none after so long without a call.
    pub zero: Option<Duration>,
    /// Percent of `max` that an alert adds.
    pub factor: u32,
    /// Calls that a replica takes at once.
    calls: u32,
    /// Calls for which there is a replica.
    load: f64,
}

/// What a function does at one moment. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Calls under way.
    pub in_flight: u64,
    /// When the last call ended that this server knows of.
    pub last_call_ms: Option<u64>,
    /// Since when there could have been calls.
    pub since_ms: u64,
    /// Now.
    pub now_ms: u64,
    /// What somebody set since the deploy.
    pub scaled: Option<Scaled>,
}

/// What was said about the calls under way.
#[derive(Default)]
struct Capacity {
    is_said: bool,
    target: Option<f64>,
    proportion: Option<f64>,
}

impl Scaling {
    /// Reads `labels`, whose path is `path`.
    pub(super) fn read(
        labels: &BTreeMap<String, String>,
        max_inflight: Option<u32>,
        path: &str,
        problems: &mut Vec<FieldError>,
    ) -> Self {
        let calls = max_inflight.unwrap_or(CALLS);
        let mut noted = |name: &str, message: String| {
            problems.push(FieldError::new(member(path, &format!("{PREFIX}{name}")), message));
        };
        let mut scaling = Self {
            min: 1,
            max: DEFAULT_MAX,
            zero: None,
            factor: DEFAULT_FACTOR,
            calls,
            load: f64::from(calls),
        };
        let (mut may_sleep, mut idle) = (false, DEFAULT_IDLE);
        let mut capacity = Capacity::default();
        for (name, text) in labels {
            let Some(name) = name.strip_prefix(PREFIX) else { continue };
            let read = match name {
                "min" => count(text, 1, MOST).map(|said| scaling.min = said),
                "max" => count(text, 1, MOST).map(|said| scaling.max = said),
                "factor" => count(text, 0, 100).map(|said| scaling.factor = said),
                "zero" => truth(text).map(|said| may_sleep = said),
                "zero-duration" => duration(text).map(|said| idle = said),
                "type" => is_capacity(text).map(|()| capacity.is_said = true),
                "target" => positive(text, MOST_TARGET).map(|said| capacity.target = Some(said)),
                "target-proportion" => {
                    positive(text, 1.0).map(|said| capacity.proportion = Some(said))
                }
                "down.window" => {
                    Err("has no meaning here: nothing has to be stopped, so there is \
                                      nothing to wait with"
                        .to_owned())
                }
                _ => Err("is not a label of OpenFaaS' scaling".to_owned()),
            };
            if let Err(message) = read {
                noted(name, message);
            }
        }
        if scaling.min > scaling.max {
            let (min, max) = (scaling.min, scaling.max);
            noted("min", format!("is {min}, and scale.max is {max}"));
        }
        let Capacity { is_said, target, proportion } = capacity;
        if is_said {
            scaling.load =
                target.unwrap_or(DEFAULT_TARGET) * proportion.unwrap_or(DEFAULT_PROPORTION);
        } else {
            for (name, said) in [("target", target), ("target-proportion", proportion)] {
                if said.is_some() {
                    let message = "has a meaning with scale.type `capacity` alone: replicas follow \
                                   the calls under way, and nothing else";
                    noted(name, message.to_owned());
                }
            }
        }
        scaling.zero = may_sleep.then_some(idle);
        scaling
    }

    /// How a function scales that is deployed.
    pub fn of(metadata: &Metadata, template: &Template) -> Self {
        let env = template.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let max_inflight = watchdog::max_inflight_of(env);
        // What was wrong was refused when it was deployed.
        Self::read(&metadata.labels, max_inflight, "", &mut vec![])
    }

    /// Calls that all replicas together take at once.
    pub(super) fn places(&self) -> u32 {
        self.calls.saturating_mul(self.max).min(CONCURRENCY.most)
    }

    /// How many replicas it has.
    pub fn replicas(&self, load: &Load) -> u32 {
        if load.in_flight == 0 && self.sleeps(load) {
            return 0;
        }
        let asked = load.scaled.map_or(self.min, |scaled| scaled.replicas);
        let least = asked.clamp(self.min, self.max);
        // The quotient is cut at what a u32 holds, which is more than enough.
        let needed = (load.in_flight as f64 / self.load).ceil() as u32;
        needed.clamp(least, self.max)
    }

    /// Whether it was sent to sleep, or fell asleep, and was not called since.
    fn sleeps(&self, load: &Load) -> bool {
        let was_sent = load.scaled.is_some_and(|scaled| {
            scaled.replicas == 0 && load.last_call_ms.is_none_or(|last| last < scaled.at_ms)
        });
        let quiet_since = load.last_call_ms.unwrap_or(load.since_ms).max(load.since_ms);
        let quiet = Duration::from_millis(load.now_ms.saturating_sub(quiet_since));
        was_sent || self.zero.is_some_and(|idle| quiet >= idle)
    }

    /// What an alert makes of `replicas`: more by a step while it fires, the least once it is over.
    pub fn alerted(&self, replicas: u32, is_firing: bool) -> u32 {
        if !is_firing {
            return self.min;
        }
        let step = (self.max * self.factor).div_ceil(100);
        replicas.saturating_add(step).clamp(self.min, self.max)
    }
}

fn count(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let count = text.parse().ok().filter(|count| (least..=most).contains(count));
    count.ok_or_else(|| {
        format!("is `{}`; it must be a whole number from {least} to {most}", Shown(text))
    })
}

/// Go's words for truth and untruth.
fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("is `{}`; it must be `true` or `false`", Shown(text))),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

fn is_capacity(text: &str) -> Result<(), String> {
    match text {
        "capacity" => Ok(()),
        _ => Err(format!(
            "`{}` has no meaning here: replicas follow the calls under way, which is `capacity`",
            Shown(text)
        )),
    }
}

fn positive(text: &str, most: f64) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number <= most);
    number.ok_or_else(|| format!("is `{}`; it must be over 0 and at most {most}", Shown(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(labels: &[(&str, &str)], max_inflight: Option<u32>) -> (Scaling, Vec<String>) {
        let label = |(name, text): &(&str, &str)| (format!("{PREFIX}{name}"), (*text).to_owned());
        let labels = labels.iter().map(label).collect();
        let mut problems = vec![];
        let scaling = Scaling::read(&labels, max_inflight, "labels", &mut problems);
        (scaling, problems.into_iter().map(|problem| problem.path).collect())
    }

    fn right(labels: &[(&str, &str)], max_inflight: Option<u32>) -> Scaling {
        let (scaling, wrong) = read(labels, max_inflight);
        assert_eq!(wrong, Vec::<String>::new());
        scaling
    }

    const QUIET: Load =
        Load { in_flight: 0, last_call_ms: None, since_ms: 1000, now_ms: 1000, scaled: None };

    #[test]
    fn replicas_follow_the_calls_under_way() {
        let scaling = right(&[("min", "2"), ("max", "4")], Some(10));
        assert_eq!(scaling.places(), 40);
        for (in_flight, replicas) in [(0, 2), (20, 2), (21, 3), (31, 4), (900, 4)] {
            assert_eq!(scaling.replicas(&Load { in_flight, ..QUIET }), replicas, "{in_flight}");
        }
        assert_eq!(right(&[], None).places(), 100);
        assert_eq!(right(&[("max", "1000")], Some(1000)).places(), CONCURRENCY.most);
        let by_target = [("type", "capacity"), ("target", "8"), ("target-proportion", "0.5")];
        assert_eq!(right(&by_target, None).replicas(&Load { in_flight: 9, ..QUIET }), 3);
    }

    #[test]
    fn a_function_that_may_sleep_falls_asleep_and_a_call_wakes_it() {
        let scaling = right(&[("zero", "true"), ("zero-duration", "10s"), ("min", "2")], None);
        let at = |now_ms, last_call_ms| scaling.replicas(&Load { now_ms, last_call_ms, ..QUIET });
        assert_eq!(at(10_999, None), 2);
        assert_eq!(at(11_000, None), 0);
        assert_eq!(at(11_000, Some(1001)), 2);
        assert_eq!(at(11_001, Some(1001)), 0);
        let busy = Load { in_flight: 1, now_ms: 900_000, ..QUIET };
        assert_eq!(scaling.replicas(&busy), 2, "a long call is no idleness");
        assert_eq!(right(&[], None).replicas(&Load { now_ms: u64::MAX, ..QUIET }), 1);
    }

    #[test]
    fn what_was_asked_for_holds_within_the_bounds() {
        let scaling = right(&[("min", "2"), ("max", "6"), ("factor", "25")], None);
        let with = |replicas, last_call_ms| {
            let scaled = Some(Scaled { replicas, at_ms: 2000 });
            scaling.replicas(&Load { scaled, last_call_ms, ..QUIET })
        };
        assert_eq!([with(1, None), with(3, None), with(99, None)], [2, 3, 6]);
        assert_eq!([with(0, None), with(0, Some(1999)), with(0, Some(2000))], [0, 0, 2]);
        assert_eq!([scaling.alerted(2, true), scaling.alerted(5, true)], [4, 6]);
        assert_eq!(scaling.alerted(5, false), 2);
        assert_eq!(right(&[("factor", "0")], None).alerted(3, true), 3);
    }

    #[test]
    fn what_has_no_meaning_is_refused_by_name() {
        for (name, text) in [
            ("min", "0"),
            ("max", "1001"),
            ("factor", "101"),
            ("zero", "yes"),
            ("zero-duration", "soon"),
            ("type", "rps"),
            ("type", "cpu"),
            ("target", "50"),
            ("target-proportion", "0.9"),
            ("down.window", "1m"),
            ("colour", "blue"),
        ] {
            let (_, wrong) = read(&[(name, text)], None);
            assert_eq!(wrong, [member("labels", &format!("{PREFIX}{name}"))], "{text}");
        }
        assert_eq!(read(&[("min", "3"), ("max", "2")], None).1.len(), 1);
    }
}
