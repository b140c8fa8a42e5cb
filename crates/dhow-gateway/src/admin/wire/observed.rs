//! What is seen of functions and of those who control them.

use std::net::IpAddr;

use dhow_core::name::FunctionName;
use serde::Serialize;

use super::micros;
use crate::admin::time::rfc3339;
use crate::audit;
use crate::observer::{FunctionView, Sums};

/// What functions did until one moment.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct Stats {
    pub(in crate::admin) at_us: u64,
    pub(in crate::admin) items: Vec<FunctionStats>,
}

#[derive(Debug, Serialize)]
pub(in crate::admin) struct FunctionStats {
    name: String,
    namespace: String,
    in_flight: u64,
    calls: u64,
    failures: u64,
    cold: u64,
    cpu_us: u64,
    peak_memory: u64,
    wall: Vec<Bucket>,
}

/// How many calls took at most so long.
#[derive(Debug, Serialize)]
struct Bucket {
    /// Null is the last one, which has all.
    le_us: Option<f64>,
    calls: u64,
}

/// Who did what.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct AuditRecord {
    time: String,
    who: String,
    peer: Option<IpAddr>,
    action: String,
    object: String,
    detail: Option<String>,
    status: u16,
    reason: Option<String>,
    unrecorded: u64,
}

impl FunctionStats {
    pub(in crate::admin) fn new(name: &FunctionName, view: &FunctionView) -> Self {
        let Sums { cold, cpu, peak_memory, wall } = view.sums();
        let bucket = |(bound, calls): (f64, u64)| {
            // Whole nanoseconds: what a float adds to 0.00001 s is nobody's measurement.
            let le_us = bound.is_finite().then(|| (bound * 1e9).round() / 1e3);
            Bucket { le_us, calls }
        };
        Self {
            name: name.name.to_string(),
            namespace: name.namespace.to_string(),
            in_flight: view.in_flight,
            calls: view.calls,
            failures: view.failures,
            cold,
            cpu_us: micros(cpu),
            peak_memory,
            wall: wall.into_iter().map(bucket).collect(),
        }
    }
}

impl From<audit::Record> for AuditRecord {
    fn from(record: audit::Record) -> Self {
        let audit::Record {
            time_ms,
            who,
            peer,
            action,
            object,
            detail,
            status,
            reason,
            unrecorded,
        } = record;
        let (time, who) = (rfc3339(time_ms), who.as_text());
        Self { time, who, peer, action, object, detail, status, reason, unrecorded }
    }
}
