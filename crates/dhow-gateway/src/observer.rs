//! What calls did: figures, the last outcomes of each function, and the lines that guests wrote.

mod last;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dhow_core::call::CallId;
use dhow_core::function::Revision;
use dhow_core::name::FunctionName;
use dhow_core::outcome::Outcome;
use dhow_core::ports::{Observe, Record, Stream, Traces};
use parking_lot::Mutex;

pub use self::last::Which;
use self::last::{KEPT, KEPT_RARE, Last};
use crate::logs::{LogLine, Logs};
use crate::metrics::{FunctionMetrics, Metrics};

/// Revisions of each function whose calls are counted one by one.
const COUNTED: usize = 256;

/// Hears every call. Cheap to clone.
#[derive(Clone)]
pub struct Observer(Arc<Inner>);

struct Inner {
    metrics: Metrics,
    logs: Logs,
    traces: Option<Arc<dyn Traces>>,
    functions: Mutex<HashMap<FunctionName, Arc<FunctionState>>>,
}

/// What is known of one function, over its revisions.
struct FunctionState {
    name: FunctionName,
    /// Made by the first call: a function that nobody calls has no series.
    metrics: OnceLock<FunctionMetrics>,
    in_flight: AtomicU64,
    calls: AtomicU64,
    failures: AtomicU64,
    cold: AtomicU64,
    forgotten: AtomicBool,
    /// By number, of those that were made ready last.
    revisions: Mutex<BTreeMap<u64, Arc<Counts>>>,
    last: Mutex<Last<KEPT>>,
    last_failed: Mutex<Last<KEPT_RARE>>,
    last_cold: Mutex<Last<KEPT_RARE>>,
}

/// What a function's calls did since this process began, in sums.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sums {
    /// Calls for which code had to be loaded.
    pub cold: u64,
    /// CPU time.
    pub cpu: Duration,
    /// The most memory that one of the last calls held, bytes.
    pub peak_memory: u64,
    /// How long calls took: upper bounds in seconds, each with how many took at most that.
    pub wall: Vec<(f64, u64)>,
}

/// The calls of one revision that ended.
#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    failures: AtomicU64,
}

/// One look at a function.
pub struct FunctionView {
    /// Calls under way.
    pub in_flight: u64,
    /// Calls that ended since this process began.
    pub calls: u64,
    /// Those of them that the platform ended.
    pub failures: u64,
    state: Arc<FunctionState>,
}

impl Observer {
    /// An observer that has heard nothing.
    pub fn new(metrics: Metrics, logs: Logs) -> Self {
        Self::with_traces(metrics, logs, None)
    }

    /// The same, which tells `traces` of the calls that are followed.
    pub fn with_traces(metrics: Metrics, logs: Logs, traces: Option<Arc<dyn Traces>>) -> Self {
        Self(Arc::new(Inner { metrics, logs, traces, functions: Mutex::default() }))
    }

    /// What is known of a function, if it was ever made ready.
    pub fn function(&self, name: &FunctionName) -> Option<FunctionView> {
        let state = self.0.functions.lock().get(name)?.clone();
        Some(FunctionView {
            in_flight: state.in_flight.load(Relaxed),
            calls: state.calls.load(Relaxed),
            failures: state.failures.load(Relaxed),
            state,
        })
    }

    /// Forgets a function that is no more. Its calls that still run leave nothing.
    pub fn forget(&self, name: &FunctionName) {
        // Both under the lock, lest the series of a successor with this name be removed.
        let mut functions = self.0.functions.lock();
        if let Some(function) = functions.remove(name) {
            function.forgotten.store(true, Relaxed);
            if let Some(metrics) = function.metrics.get() {
                metrics.forget();
            }
        }
    }

    fn state(&self, name: &FunctionName) -> Arc<FunctionState> {
        let mut functions = self.0.functions.lock();
        let state = functions.entry(name.clone()).or_insert_with(|| {
            Arc::new(FunctionState {
                name: name.clone(),
                metrics: OnceLock::new(),
                in_flight: AtomicU64::new(0),
                calls: AtomicU64::new(0),
                failures: AtomicU64::new(0),
                cold: AtomicU64::new(0),
                forgotten: AtomicBool::new(false),
                revisions: Mutex::default(),
                last: Mutex::default(),
                last_failed: Mutex::default(),
                last_cold: Mutex::default(),
            })
        });
        state.clone()
    }
}

impl FunctionState {
    /// The counts of a revision. The oldest revisions' are forgotten when there are many.
    fn counts(&self, revision: u64) -> Arc<Counts> {
        let mut revisions = self.revisions.lock();
        let counts = revisions.entry(revision).or_default().clone();
        if revisions.len() > COUNTED {
            revisions.pop_first();
        }
        counts
    }
}

impl FunctionView {
    /// The calls of one revision that ended since this process began, and those of them that the
    /// platform ended.
    pub fn revision(&self, number: u64) -> (u64, u64) {
        let counts = self.state.revisions.lock().get(&number).cloned().unwrap_or_default();
        (counts.calls.load(Relaxed), counts.failures.load(Relaxed))
    }

    /// The last outcomes, newest first, of one call or of all; each with the milliseconds since
    /// 1970 of its end.
    pub fn outcomes(
        &self,
        which: Which,
        limit: usize,
        call: Option<CallId>,
    ) -> Vec<(Outcome, u64)> {
        match which {
            Which::All => self.state.last.lock().newest(limit, call),
            Which::Failed => self.state.last_failed.lock().newest(limit, call),
            Which::Cold => self.state.last_cold.lock().newest(limit, call),
        }
    }

    /// What its calls did, in sums.
    pub fn sums(&self) -> Sums {
        let metrics = self.state.metrics.get();
        Sums {
            cold: self.state.cold.load(Relaxed),
            cpu: metrics.map(FunctionMetrics::cpu).unwrap_or_default(),
            peak_memory: self.state.last.lock().peak_memory(),
            wall: metrics.map(FunctionMetrics::durations).unwrap_or_default(),
        }
    }
}

impl Observe for Observer {
    fn record(&self, revision: &Revision) -> Arc<dyn Record> {
        let function = self.state(&revision.function);
        Arc::new(Recorder {
            counts: function.counts(revision.number),
            function,
            revision: revision.number,
            observer: self.clone(),
        })
    }
}

/// Hears the calls of one revision.
struct Recorder {
    function: Arc<FunctionState>,
    counts: Arc<Counts>,
    revision: u64,
    observer: Observer,
}

impl Recorder {
    fn metrics(&self) -> Option<&FunctionMetrics> {
        let FunctionState { metrics, forgotten, name, .. } = &*self.function;
        match metrics.get() {
            None if forgotten.load(Relaxed) => None,
            None => Some(metrics.get_or_init(|| self.observer.0.metrics.function(name))),
            made => made,
        }
    }
}

impl Record for Recorder {
    fn started(&self) {
        self.function.in_flight.fetch_add(1, Relaxed);
        if let Some(metrics) = self.metrics() {
            metrics.started();
        }
    }

    fn line(&self, call: CallId, stream: Stream, line: &[u8]) {
        if self.function.forgotten.load(Relaxed) {
            // Else the next function of this name would find it in its log.
            return;
        }
        self.observer.0.logs.write(
            &self.function.name,
            LogLine {
                time_ms: now_ms(),
                call,
                revision: self.revision,
                stream,
                line: String::from_utf8_lossy(line).into_owned(),
            },
        );
    }

    fn ended(&self, mut outcome: Outcome) {
        let function = &self.function;
        function.in_flight.fetch_sub(1, Relaxed);
        function.calls.fetch_add(1, Relaxed);
        self.counts.calls.fetch_add(1, Relaxed);
        if let Some(failure) = &mut outcome.failure {
            function.failures.fetch_add(1, Relaxed);
            self.counts.failures.fetch_add(1, Relaxed);
            // The guest's own words went to the caller. They may be large, and secret.
            failure.body = None;
        }
        if let Some(metrics) = self.metrics() {
            metrics.ended(&outcome);
        }
        if let (Some(trace), Some(traces)) = (outcome.trace.take(), &self.observer.0.traces) {
            traces.ended(&function.name, trace, &outcome);
        }
        let now_ms = now_ms();
        if outcome.failure.is_some() || outcome.status >= 500 {
            function.last_failed.lock().push(outcome.clone(), now_ms);
        }
        if outcome.cold {
            function.cold.fetch_add(1, Relaxed);
            function.last_cold.lock().push(outcome.clone(), now_ms);
        }
        function.last.lock().push(outcome, now_ms);
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use dhow_core::abi::Abi;
    use dhow_core::digest::Digest;
    use dhow_core::function::Template;
    use dhow_core::outcome::{Failure, Phases, Reason};

    use super::*;
    use crate::logs::{Config, Query};

    fn outcome(call: u128, failure: Option<Failure>) -> Outcome {
        Outcome {
            call: CallId(call),
            revision: 1,
            status: 200,
            failure,
            phases: Phases::default(),
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
            shared: false,
            peak_memory: 0,
            cold: false,
            trace: None,
        }
    }

    fn revision(name: &FunctionName, number: u64) -> Revision {
        Revision {
            function: name.clone(),
            number,
            digest: Digest::from_bytes([0; 32]),
            image: None,
            program: String::new(),
            abi: Abi::Http,
            template: Template::default(),
        }
    }

    #[test]
    fn the_last_outcomes_are_kept_and_everything_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::new();
        let logs = Logs::start(Config::new(folder.path().to_owned()), &metrics).unwrap();
        let observer = Observer::new(metrics, logs);
        let name = FunctionName::parse("f").unwrap();
        assert!(observer.function(&name).is_none());
        let record = observer.record(&revision(&name, 1));
        for call in 0..300 {
            record.started();
            let failure = (call % 3 == 0).then(|| Failure {
                body: Some(vec![0; 1024].into()),
                ..Failure::new(Reason::Trap, "x")
            });
            record.ended(outcome(call, failure));
        }
        record.started();
        let view = observer.function(&name).unwrap();
        assert_eq!((view.in_flight, view.calls, view.failures), (1, 300, 100));
        let all = |limit, call| view.outcomes(Which::All, limit, call);
        assert_eq!(all(1000, None).len(), KEPT);
        assert_eq!(all(1, None)[0].0.call, CallId(299));
        assert_eq!(all(9, Some(CallId(250))).len(), 1);
        assert!(all(9, Some(CallId(1))).is_empty());
        let failed = all(1, Some(CallId(297))).remove(0).0.failure.unwrap();
        assert_eq!(failed, Failure::new(Reason::Trap, "x"));
    }

    #[test]
    fn what_is_rare_is_kept_for_longer() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::new();
        let logs = Logs::start(Config::new(folder.path().to_owned()), &metrics).unwrap();
        let observer = Observer::new(metrics, logs);
        let name = FunctionName::parse("f").unwrap();
        let record = observer.record(&revision(&name, 1));
        for call in 0..1000 {
            record.started();
            let trap = (call == 1).then(|| Failure::new(Reason::Trap, "x"));
            let status = if call == 2 { 503 } else { 200 };
            let wall = Duration::from_millis(u64::try_from(call).unwrap());
            let outcome = Outcome { cold: call == 0, status, wall, ..outcome(call, trap) };
            record.ended(Outcome { peak_memory: 7, cpu: Duration::from_millis(1), ..outcome });
        }
        let view = observer.function(&name).unwrap();
        let calls = |which| -> Vec<_> {
            view.outcomes(which, 9, None).into_iter().map(|(outcome, _)| outcome.call.0).collect()
        };
        assert_eq!(calls(Which::Failed), [2, 1]);
        assert_eq!(calls(Which::Cold), [0]);
        let sums = view.sums();
        assert_eq!((sums.cold, sums.peak_memory), (1, 7));
        assert!((0.99..1.01).contains(&sums.cpu.as_secs_f64()), "{sums:?}");
        assert!(sums.wall.contains(&(0.1, 101)), "{:?}", sums.wall);
    }

    #[tokio::test]
    async fn a_call_that_outlives_its_function_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::new();
        let logs = Logs::start(Config::new(folder.path().to_owned()), &metrics).unwrap();
        let observer = Observer::new(metrics.clone(), logs.clone());
        let name = FunctionName::parse("f").unwrap();
        let old = observer.record(&revision(&name, 1));
        old.started();
        observer.forget(&name);
        assert!(observer.function(&name).is_none());
        let new = observer.record(&revision(&name, 2));
        old.line(CallId(1), Stream::Stdout, b"old");
        old.ended(outcome(1, None));
        new.line(CallId(2), Stream::Stdout, b"new");
        logs.flush().await;
        let lines = logs.read(&name, &Query::default()).unwrap();
        assert_eq!(lines.iter().map(|line| line.line.as_str()).collect::<Vec<_>>(), ["new"]);
        let view = observer.function(&name).unwrap();
        assert_eq!((view.in_flight, view.calls), (0, 0));
        assert!(!metrics.render().contains("outcome=\"ok\""));
    }
}
