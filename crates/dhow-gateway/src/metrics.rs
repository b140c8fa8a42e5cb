//! Metrics, in Prometheus' terms. No label comes from a request: series grow with deployed
//! functions alone, and go with them.

mod asynchronous;
mod openfaas;

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use dhow_core::metric::{Family, Value};
use dhow_core::name::FunctionName;
use dhow_core::outcome::{Outcome, Reason};
use parking_lot::Mutex;
use prometheus::core::Metric as _;
use prometheus::{
    Counter, CounterVec, Encoder as _, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use self::asynchronous::AsyncFamilies;
pub use self::asynchronous::{AsyncFigures, AsyncSource};
pub use self::openfaas::ReplicasSource;
use self::openfaas::{OpenFaasFamilies, OpenFaasSeries};
use crate::families;

/// The outcome label of a call that the guest answered, whatever it said.
const OK: &str = "ok";
const FUNCTION: &[&str] = &["namespace", "function"];

/// All metrics of a process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

struct Families {
    registry: Registry,
    invocations: IntCounterVec,
    duration: HistogramVec,
    cpu: CounterVec,
    peak_memory: HistogramVec,
    in_flight: IntGaugeVec,
    cold_start: HistogramVec,
    refused: IntCounterVec,
    connections: IntGauge,
    log_lines_dropped: IntCounter,
    audit_failed: IntCounter,
    loaded: IntGauge,
    code_cache: IntCounterVec,
    compiling: Counter,
    process_cpu: Counter,
    process_memory: Gauge,
    asynchronous: AsyncFamilies,
    traced: IntCounterVec,
    openfaas: OpenFaasFamilies,
    engine: Mutex<Option<Box<dyn Fn() -> EngineFigures + Send>>>,
    traces: Mutex<Option<Box<dyn Fn() -> TraceFigures + Send>>>,
    front: Mutex<Option<Box<dyn Fn() -> usize + Send>>>,
}

/// What the engine says of itself when it is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct EngineFigures {
    /// Functions whose code is mapped.
    pub loaded: u64,
    /// Looks into the code cache that found code.
    pub cache_hits: u64,
    /// Those that found none.
    pub cache_misses: u64,
    /// Those that found damaged code.
    pub cache_damaged: u64,
    /// Time spent compiling.
    pub compile: Duration,
}

/// What became of calls that were followed through traces.
#[derive(Debug, Clone, Copy, Default)]
pub struct TraceFigures {
    /// Those that the collector took.
    pub sent: u64,
    /// Those that it or the queue before it did not take.
    pub dropped: u64,
}

/// The metrics of one function, resolved once.
pub struct FunctionMetrics {
    families: Arc<Families>,
    labels: [String; 2],
    duration: Histogram,
    cpu: Counter,
    peak_memory: Histogram,
    in_flight: IntGauge,
    openfaas: OpenFaasSeries,
    load: Histogram,
    instantiate: Histogram,
    /// `ok`, then [`Reason::ALL`]; made at first use, so that only what happened is shown.
    outcomes: [OnceLock<IntCounter>; Reason::ALL.len() + 1],
    /// The series are removed, and no call that still runs may make one again.
    forgotten: Mutex<bool>,
}

impl Metrics {
    /// Every family, without series.
    ///
    /// # Panics
    /// When two families have one name, which is a defect of this file.
    pub fn new() -> Self {
        let registry = Registry::new();
        let families = Families {
            invocations: add(
                &registry,
                IntCounterVec::new(
                    Opts::new("dhow_invocations_total", "Calls by how they ended"),
                    &["namespace", "function", "outcome"],
                ),
            ),
            duration: histograms(
                &registry,
                "dhow_call_duration_seconds",
                "Wall time of calls",
                FUNCTION,
                times(),
            ),
            cpu: add(
                &registry,
                CounterVec::new(
                    Opts::new("dhow_call_cpu_seconds_total", "CPU time of calls"),
                    FUNCTION,
                ),
            ),
            peak_memory: histograms(
                &registry,
                "dhow_call_peak_memory_bytes",
                "The most that a call's memories and tables held",
                FUNCTION,
                (16..=32).step_by(2).map(|power| f64::from(power).exp2()).collect(),
            ),
            in_flight: add(
                &registry,
                IntGaugeVec::new(Opts::new("dhow_calls_in_flight", "Calls under way"), FUNCTION),
            ),
            cold_start: histograms(
                &registry,
                "dhow_cold_start_seconds",
                "Parts of the calls for which code had to be loaded",
                &["phase"],
                times(),
            ),
            refused: add(
                &registry,
                IntCounterVec::new(
                    Opts::new("dhow_requests_refused_total", "Requests that reached no function"),
                    &["reason"],
                ),
            ),
            connections: add(
                &registry,
                IntGauge::new("dhow_http_connections", "Connections of the data port"),
            ),
            log_lines_dropped: add(
                &registry,
                IntCounter::new("dhow_log_lines_dropped_total", "Guests' lines that were not kept"),
            ),
            audit_failed: add(
                &registry,
                IntCounter::new("dhow_audit_failed_total", "Records of control calls not kept"),
            ),
            loaded: add(
                &registry,
                IntGauge::new("dhow_loaded_functions", "Functions whose code is in memory"),
            ),
            code_cache: add(
                &registry,
                IntCounterVec::new(
                    Opts::new("dhow_code_cache_total", "Looks into the cache of compiled code"),
                    &["result"],
                ),
            ),
            compiling: add(
                &registry,
                Counter::new("dhow_compile_seconds_total", "Time spent compiling"),
            ),
            process_cpu: add(
                &registry,
                Counter::new("process_cpu_seconds_total", "CPU time of this process"),
            ),
            process_memory: add(
                &registry,
                Gauge::new("process_resident_memory_bytes", "Resident memory of this process"),
            ),
            asynchronous: AsyncFamilies::new(&registry),
            traced: add(
                &registry,
                IntCounterVec::new(
                    Opts::new("dhow_traced_calls_total", "Calls whose spans were to be exported"),
                    &["result"],
                ),
            ),
            openfaas: OpenFaasFamilies::new(&registry),
            registry,
            engine: Mutex::new(None),
            traces: Mutex::new(None),
            front: Mutex::new(None),
        };
        Self(Arc::new(families))
    }

    /// Where the engine's figures come from.
    pub fn set_engine(&self, figures: Box<dyn Fn() -> EngineFigures + Send>) {
        *self.0.engine.lock() = Some(figures);
    }

    /// Where the figures of traces come from.
    pub fn set_traces(&self, figures: Box<dyn Fn() -> TraceFigures + Send>) {
        *self.0.traces.lock() = Some(figures);
    }

    /// Where the number of connections comes from.
    pub fn set_connections(&self, count: Box<dyn Fn() -> usize + Send>) {
        *self.0.front.lock() = Some(count);
    }

    /// Where the figures of asynchronous calls come from.
    pub fn set_asynchronous(&self, figures: AsyncSource) {
        self.0.asynchronous.set(figures);
    }

    /// Where the numbers of functions' replicas come from.
    pub fn set_replicas(&self, source: ReplicasSource) {
        self.0.openfaas.set_source(source);
    }

    /// An asynchronous call was kept, and this is how long that took.
    pub fn enqueued(&self, took: Duration) {
        self.0.asynchronous.enqueued(took);
    }

    /// A request that reached no function.
    pub fn refused(&self, reason: Reason) {
        self.0.refused.with_label_values(&[reason.as_str()]).inc();
    }

    /// Counts lines of guests that were not kept.
    pub fn log_lines_dropped(&self, lines: u64) {
        self.0.log_lines_dropped.inc_by(lines);
    }

    /// Counts a record of the audit log that was not kept.
    pub fn audit_failed(&self) {
        self.0.audit_failed.inc();
    }

    /// The metrics of a function.
    pub fn function(&self, name: &FunctionName) -> FunctionMetrics {
        let families = self.0.clone();
        let labels = [name.namespace.to_string(), name.name.to_string()];
        FunctionMetrics {
            duration: families.duration.with_label_values(&labels),
            cpu: families.cpu.with_label_values(&labels),
            peak_memory: families.peak_memory.with_label_values(&labels),
            in_flight: families.in_flight.with_label_values(&labels),
            openfaas: families.openfaas.series(name),
            load: families.cold_start.with_label_values(&["load"]),
            instantiate: families.cold_start.with_label_values(&["instantiate"]),
            outcomes: std::array::from_fn(|_| OnceLock::new()),
            forgotten: Mutex::new(false),
            families,
            labels,
        }
    }

    /// Everything, for those who carry it elsewhere.
    pub fn families(&self) -> Vec<Family> {
        self.0.refresh();
        self.0.registry.gather().iter().filter_map(families::of).collect()
    }

    /// Everything, in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.refresh();
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.0.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics can't be written");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Families {
    /// Takes the figures that are kept elsewhere.
    fn refresh(&self) {
        if let Some(engine) = &*self.engine.lock() {
            let figures = engine();
            self.loaded.set(i64::try_from(figures.loaded).unwrap_or(i64::MAX));
            for (result, count) in [
                ("hit", figures.cache_hits),
                ("miss", figures.cache_misses),
                ("damaged", figures.cache_damaged),
            ] {
                raise(&self.code_cache.with_label_values(&[result]), count);
            }
            let more = figures.compile.as_secs_f64() - self.compiling.get();
            self.compiling.inc_by(more.max(0.0));
        }
        if let Some(traces) = &*self.traces.lock() {
            let figures = traces();
            raise(&self.traced.with_label_values(&["sent"]), figures.sent);
            raise(&self.traced.with_label_values(&["dropped"]), figures.dropped);
        }
        if let Some(count) = &*self.front.lock() {
            self.connections.set(i64::try_from(count()).unwrap_or(i64::MAX));
        }
        self.asynchronous.refresh();
        self.openfaas.refresh();
        if let Some((cpu, memory)) = process() {
            self.process_cpu.inc_by((cpu - self.process_cpu.get()).max(0.0));
            self.process_memory.set(memory);
        }
    }
}

impl FunctionMetrics {
    /// A call began.
    pub fn started(&self) {
        self.in_flight.inc();
        self.openfaas.started();
    }

    /// A call ended.
    pub fn ended(&self, outcome: &Outcome) {
        self.in_flight.dec();
        let reason = outcome.failure.as_ref().map(|failure| failure.reason);
        if let Some(counter) = self.counter(reason) {
            counter.inc();
        }
        self.families.openfaas.ended(&self.openfaas, outcome.status, outcome.wall);
        self.duration.observe(outcome.wall.as_secs_f64());
        self.cpu.inc_by(outcome.cpu.as_secs_f64());
        if outcome.peak_memory > 0 {
            // Figures for people: what a float loses of a byte count does not matter.
            self.peak_memory.observe(outcome.peak_memory as f64);
        }
        if outcome.cold {
            self.load.observe(outcome.phases.load.as_secs_f64());
            self.instantiate.observe(outcome.phases.instantiate.as_secs_f64());
        }
    }

    /// CPU time of its calls.
    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_secs_f64(self.cpu.get().max(0.0))
    }

    /// How long its calls took: upper bounds in seconds, each with how many took at most that.
    pub(crate) fn durations(&self) -> Vec<(f64, u64)> {
        let value = families::distribution(&self.duration.metric());
        let Value::Distribution { count, mut buckets, .. } = value else { return vec![] };
        buckets.push((f64::INFINITY, count));
        buckets
    }

    /// Removes the series: the function is no more. Calls that still run leave none.
    pub fn forget(&self) {
        let mut forgotten = self.forgotten.lock();
        *forgotten = true;
        let (families, labels) = (&self.families, &self.labels);
        // A series that was never made can't be removed, which is just as well.
        drop(families.duration.remove_label_values(labels));
        drop(families.cpu.remove_label_values(labels));
        drop(families.peak_memory.remove_label_values(labels));
        drop(families.in_flight.remove_label_values(labels));
        families.openfaas.forget(&self.openfaas);
        let [namespace, function] = labels;
        for outcome in Reason::ALL.iter().map(|reason| reason.as_str()).chain([OK]) {
            drop(families.invocations.remove_label_values(&[namespace, function, outcome]));
        }
    }

    fn counter(&self, reason: Option<Reason>) -> Option<&IntCounter> {
        let index = reason.and_then(|reason| Reason::ALL.iter().position(|one| *one == reason));
        let place = &self.outcomes[index.map_or(0, |index| index + 1)];
        if let Some(counter) = place.get() {
            return Some(counter);
        }
        let forgotten = self.forgotten.lock();
        (!*forgotten).then(|| {
            place.get_or_init(|| {
                let [namespace, function] = &self.labels;
                let outcome = reason.map_or(OK, Reason::as_str);
                self.families.invocations.with_label_values(&[namespace, function, outcome])
            })
        })
    }
}

/// 10 microseconds to a minute in steps of 1, 2 and 5.
fn times() -> Vec<f64> {
    let steps = (-5..=1).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(power)));
    steps.chain([60.0]).filter(|time| *time <= 60.0).collect()
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: Vec<f64>,
) -> HistogramVec {
    add(registry, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels))
}

fn add<C>(registry: &Registry, collector: prometheus::Result<C>) -> C
where
    C: prometheus::core::Collector + Clone + 'static,
{
    let collector = collector.expect("the names and labels above are valid");
    registry.register(Box::new(collector.clone())).expect("no name is used twice");
    collector
}

/// Makes a counter show what was counted elsewhere.
fn raise(counter: &IntCounter, count: u64) {
    counter.inc_by(count.saturating_sub(counter.get()));
}

/// CPU seconds and resident bytes of this process, after `proc(5)`.
fn process() -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name before the last `)` may hold anything.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
    let (user, system, pages) = (number(11)?, number(12)?, number(21)?);
    let tick = rustix::param::clock_ticks_per_second() as f64;
    Some(((user + system) / tick, pages * rustix::param::page_size() as f64))
}

#[cfg(test)]
mod tests {
    use dhow_core::call::CallId;
    use dhow_core::outcome::{Failure, Phases};
    use dhow_core::queue::{CallState, QueueFigures};

    use super::*;

    fn outcome(failure: Option<Failure>) -> Outcome {
        Outcome {
            call: CallId(1),
            revision: 1,
            status: 200,
            failure,
            phases: Phases::default(),
            wall: Duration::from_micros(30),
            cpu: Duration::from_micros(20),
            shared: false,
            peak_memory: 65536,
            cold: true,
            trace: None,
        }
    }

    #[test]
    fn a_functions_series_show_what_happened_and_go_with_it() {
        let metrics = Metrics::new();
        let name = FunctionName::parse("f.ns").unwrap();
        let function = metrics.function(&name);
        function.started();
        function.started();
        function.ended(&outcome(None));
        let text = metrics.render();
        let label = "function=\"f\",namespace=\"ns\"";
        for line in [
            format!("dhow_invocations_total{{{label},outcome=\"ok\"}} 1"),
            format!("dhow_calls_in_flight{{{label}}} 1"),
            format!("dhow_call_duration_seconds_bucket{{{label},le=\"0.00005\"}} 1"),
            "dhow_cold_start_seconds_count{phase=\"load\"} 1".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("outcome=\"trap\""));
        function.ended(&outcome(Some(Failure::new(Reason::Trap, "x"))));
        assert!(metrics.render().contains("outcome=\"trap\""));
        function.forget();
        // A call that outlives its function must not bring a series back.
        function.ended(&outcome(Some(Failure::new(Reason::Memory, "x"))));
        assert!(!metrics.render().contains(label));
        metrics.function(&name).started();
        let text = metrics.render();
        assert!(text.contains(&format!("dhow_calls_in_flight{{{label}}} 1")), "{text}");
        assert!(!text.contains("outcome="), "{text}");
    }

    #[test]
    fn queues_have_series_while_they_hold_something() {
        let metrics = Metrics::new();
        let depth = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let holds = depth.clone();
        metrics.set_asynchronous(Box::new(move || {
            let row = ("slow".parse().unwrap(), CallState::Waiting, 3);
            let holds = holds.load(std::sync::atomic::Ordering::SeqCst);
            let depths = if holds { vec![row] } else { vec![] };
            let queue = QueueFigures { depths, enqueued: 5, ..QueueFigures::default() };
            AsyncFigures { queue, attempts: vec![("run", "dead", 2)] }
        }));
        let text = metrics.render();
        assert!(text.contains("dhow_async_calls{queue=\"slow\",state=\"waiting\"} 3"), "{text}");
        depth.store(false, std::sync::atomic::Ordering::SeqCst);
        let text = metrics.render();
        assert!(!text.contains("queue=\"slow\""), "{text}");
        assert!(text.contains("dhow_async_enqueued_total 5"), "{text}");
        assert!(text.contains("dhow_async_attempts_total{end=\"dead\",work=\"run\"} 2"), "{text}");
    }

    #[test]
    fn figures_that_are_kept_elsewhere_are_taken_when_asked() {
        let metrics = Metrics::new();
        metrics
            .set_engine(Box::new(|| EngineFigures { cache_hits: 3, ..EngineFigures::default() }));
        metrics.set_connections(Box::new(|| 4));
        for _ in 0..2 {
            let text = metrics.render();
            assert!(text.contains("dhow_code_cache_total{result=\"hit\"} 3"), "{text}");
            assert!(text.contains("dhow_http_connections 4"), "{text}");
            assert!(text.contains("process_resident_memory_bytes"), "{text}");
        }
    }
}
