//! One call while it is under way. The last holder to let go of it writes the call's Outcome:
//! the guest may outlive the answer, or the answer the guest.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dhow_core::call::CallId;
use dhow_core::limits::Limits;
use dhow_core::outcome::{Failure, Outcome, Phases, Reason};
use dhow_core::ports::Record;
use dhow_core::trace::Trace;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use crate::call::Target;
use crate::meter::Meter;
use crate::tenant::Share;

/// A place of the function, and one of its namespace's calls where those are counted.
pub(crate) type Place = (OwnedSemaphorePermit, Option<Share>);

/// Shared by the guest's task, the answer's body and whoever waits for them.
pub(crate) struct Flight {
    pub(crate) target: Target,
    pub(crate) id: CallId,
    began: Instant,
    meter: Arc<Meter>,
    /// The meter of the instance, where that is not this call's alone.
    instance: OnceLock<Arc<Meter>>,
    shared: bool,
    streaming: AtomicBool,
    queue: AtomicU64,
    load: AtomicU64,
    instantiate: AtomicU64,
    ran_from: Mutex<Option<Instant>>,
    cold: AtomicBool,
    status: AtomicU16,
    failure: Mutex<Option<Failure>>,
    /// Bytes of log lines, over both of the guest's outputs.
    logged: AtomicU64,
    /// The answer went out whole; a call that is dropped before that was given up by its caller.
    answered: AtomicBool,
    place: Mutex<Option<Place>>,
    trace: Option<Box<Trace>>,
}

impl Flight {
    pub(crate) fn new(
        target: Target,
        id: CallId,
        began: Instant,
        meter: Arc<Meter>,
        trace: Option<Box<Trace>>,
    ) -> Arc<Self> {
        target.record().started();
        Arc::new(Self {
            shared: target.revision().template.reuse.concurrent > 1,
            target,
            id,
            began,
            meter,
            instance: OnceLock::new(),
            streaming: AtomicBool::new(false),
            queue: AtomicU64::new(0),
            load: AtomicU64::new(0),
            instantiate: AtomicU64::new(0),
            ran_from: Mutex::new(None),
            cold: AtomicBool::new(false),
            status: AtomicU16::new(0),
            failure: Mutex::new(None),
            logged: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            place: Mutex::new(None),
            trace,
        })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.target.revision().template.limits
    }

    pub(crate) fn record(&self) -> &dyn Record {
        self.target.record()
    }

    /// The meter of the instance that serves the call.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        self.instance.get().unwrap_or(&self.meter)
    }

    /// The call is served by an instance that outlives it.
    pub(crate) fn served_by(&self, meter: &Arc<Meter>) {
        self.instance.get_or_init(|| meter.clone());
    }

    /// Ends the guest, unless it serves other calls too.
    pub(crate) fn end_guest(&self) {
        if !self.shared {
            self.meter().cancel();
        }
    }

    /// The head is out and the body follows as the guest makes it.
    pub(crate) fn streaming(&self) {
        self.streaming.store(true, Relaxed);
    }

    /// Whether `limits.timeout` has done its part: a streamed answer goes on while it flows.
    pub(crate) fn is_streaming(&self) -> bool {
        self.limits().stream && self.streaming.load(Relaxed)
    }

    /// When `limits.timeout` ends.
    pub(crate) fn deadline(&self) -> Instant {
        self.began + self.limits().timeout
    }

    pub(crate) fn entered(&self, place: Place, waited: bool) {
        if waited {
            store(&self.queue, self.began.elapsed());
        }
        *self.place.lock() = Some(place);
    }

    /// Gives the function's place back, to the next call.
    pub(crate) fn leave(&self) {
        *self.place.lock() = None;
    }

    pub(crate) fn loaded(&self, took: Duration) {
        self.cold.store(true, Relaxed);
        store(&self.load, took);
    }

    pub(crate) fn instantiated(&self, since: Instant) {
        let now = Instant::now();
        store(&self.instantiate, now.saturating_duration_since(since));
        *self.ran_from.lock() = Some(now);
    }

    pub(crate) fn set_status(&self, status: http::StatusCode) {
        self.status.store(status.as_u16(), Relaxed);
    }

    /// Notes why the call fails. The first reason stays: what follows is its consequence.
    pub(crate) fn fail(&self, failure: Failure) -> Failure {
        if failure.reason == Reason::Cancelled && self.is_answered() {
            // The guest of an answer that needed no more of it was ended; nobody went away.
            return failure;
        }
        self.failure.lock().get_or_insert(failure).clone()
    }

    /// Counts bytes of log lines; how many they are now.
    pub(crate) fn logged(&self, bytes: u64) -> u64 {
        self.logged.fetch_add(bytes, Relaxed) + bytes
    }

    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure.lock().clone()
    }

    pub(crate) fn wall_time_over(&self) -> Failure {
        let limit = dhow_core::quantity::print_duration(self.limits().timeout);
        self.fail(Failure::new(Reason::WallTime, format!("the call took longer than {limit}")))
    }

    /// The answer went out to its end, or the platform's own answer takes its place.
    pub(crate) fn answered(&self) {
        self.answered.store(true, Relaxed);
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered.load(Relaxed)
    }

    fn outcome(&mut self) -> Outcome {
        let failure = match self.failure.get_mut().take() {
            None if !*self.answered.get_mut() => {
                Some(Failure::new(Reason::Cancelled, "the caller went away before the answer"))
            }
            failure => failure,
        };
        let sent = *self.status.get_mut();
        Outcome {
            call: self.id,
            revision: self.target.revision().number,
            // Before a head went out, the platform's answer decides.
            status: match &failure {
                Some(failure) if sent == 0 => failure.reason.status().as_u16(),
                _ => sent,
            },
            failure,
            phases: Phases {
                queue: load(&mut self.queue),
                load: load(&mut self.load),
                instantiate: load(&mut self.instantiate),
                run: self.ran_from.get_mut().map_or(Duration::ZERO, |from| from.elapsed()),
            },
            wall: self.began.elapsed(),
            cpu: self.meter().cpu(),
            shared: self.shared,
            peak_memory: self.meter().peak_memory(),
            cold: *self.cold.get_mut(),
            trace: self.trace.take(),
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let outcome = self.outcome();
        self.target.record().ended(outcome);
    }
}

fn store(cell: &AtomicU64, duration: Duration) {
    cell.store(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Relaxed);
}

fn load(cell: &mut AtomicU64) -> Duration {
    Duration::from_nanos(*cell.get_mut())
}
