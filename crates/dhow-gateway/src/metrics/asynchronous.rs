//! What asynchronous calls do. Queues come from manifests, so their names are labels; a queue
//! that holds nothing has no series.

use std::time::Duration;

use dhow_core::queue::QueueFigures;
use parking_lot::Mutex;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::{add, times};

/// What the queue and its runner say of themselves when they are asked.
#[derive(Debug, Clone, Default)]
pub struct AsyncFigures {
    /// What is kept.
    pub queue: QueueFigures,
    /// Work that ended: `run` or `callback`, how it ended, how often.
    pub attempts: Vec<(&'static str, &'static str, u64)>,
}

/// Where the figures come from.
pub type AsyncSource = Box<dyn Fn() -> AsyncFigures + Send>;

pub(super) struct AsyncFamilies {
    depth: IntGaugeVec,
    bytes: IntGauge,
    enqueued: IntCounter,
    repeats: IntCounter,
    commits: IntCounter,
    attempts: IntCounterVec,
    enqueue: Histogram,
    source: Mutex<Option<AsyncSource>>,
}

impl AsyncFamilies {
    pub(super) fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| add(registry, IntCounter::new(name, help));
        Self {
            depth: add(
                registry,
                IntGaugeVec::new(
                    Opts::new("dhow_async_calls", "Asynchronous calls by where they stand"),
                    &["queue", "state"],
                ),
            ),
            bytes: add(
                registry,
                IntGauge::new("dhow_async_bytes", "Bytes that asynchronous calls count for"),
            ),
            enqueued: counter("dhow_async_enqueued_total", "Asynchronous calls that were taken"),
            repeats: counter("dhow_async_repeats_total", "Repeats of an Idempotency-Key"),
            commits: counter("dhow_async_commits_total", "Durable writes of asynchronous calls"),
            attempts: add(
                registry,
                IntCounterVec::new(
                    Opts::new("dhow_async_attempts_total", "Attempts by what they came to"),
                    &["work", "end"],
                ),
            ),
            enqueue: add(
                registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "dhow_async_enqueue_seconds",
                        "From the head of an asynchronous call until it was kept",
                    )
                    .buckets(times()),
                ),
            ),
            source: Mutex::new(None),
        }
    }

    pub(super) fn set(&self, source: AsyncSource) {
        *self.source.lock() = Some(source);
    }

    pub(super) fn enqueued(&self, took: Duration) {
        self.enqueue.observe(took.as_secs_f64());
    }

    /// Takes the figures that are kept elsewhere.
    pub(super) fn refresh(&self) {
        let source = self.source.lock();
        let Some(source) = &*source else { return };
        let AsyncFigures { queue, attempts } = source();
        self.depth.reset();
        for (name, state, count) in queue.depths {
            let depth = self.depth.with_label_values(&[name.as_str(), state.as_str()]);
            depth.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.bytes.set(i64::try_from(queue.bytes).unwrap_or(i64::MAX));
        raise(&self.enqueued, queue.enqueued);
        raise(&self.repeats, queue.repeats);
        raise(&self.commits, queue.commits);
        for (work, end, count) in attempts {
            raise(&self.attempts.with_label_values(&[work, end]), count);
        }
    }
}

/// Brings a counter up to what is counted elsewhere.
fn raise(counter: &IntCounter, count: u64) {
    counter.inc_by(count.saturating_sub(counter.get()));
}
