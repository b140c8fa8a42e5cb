//! What a guest uses, measured while it runs, and the moments at which it is stopped, parked or
//! moved aside.
//!
//! CPU is the time of the thread that polls the guest. A poll shorter than a tick is taken by the
//! wall clock, which needs no system call; a longer one by the thread's own clock, read at its end
//! and, by the epoch interrupt, every tick in between. A guest that waits is not polled and pays
//! nothing.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dhow_core::outcome::{Failure, Reason};
use futures_util::task::AtomicWaker;
use rustix::time::{ClockId, clock_gettime};
use wasmtime::UpdateDeadline;

use crate::rate::CpuRate;
use crate::tenant::Limited;
use crate::ticker::{TICK, Ticker};

/// A guest that runs so long without a wait is moved to the background threads.
const ASIDE_AFTER: Duration = Duration::from_millis(4);
/// How long a guest in the background runs before the next one there has its turn.
const TURN: Duration = Duration::from_millis(10);

/// Which CPU a [`Meter`]'s limit bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of it: the guest serves one call.
    Call,
    /// That between two waits: the guest serves several calls at once.
    Slice,
}

/// The meter of one instance.
pub(crate) struct Meter {
    scope: Scope,
    cpu_limit: Duration,
    rate: Option<Arc<CpuRate>>,
    /// Of the namespace, where it has a quota.
    limited: Option<Limited>,
    ticker: Arc<Ticker>,
    /// Nanoseconds of the slices that are over.
    cpu: AtomicU64,
    /// The thread's CPU clock when the slice began, nanoseconds, by [`thread_cpu_near`].
    slice_began: AtomicU64,
    /// Of the slice, what the rate has been charged already, nanoseconds.
    charged: AtomicU64,
    /// Most bytes that memories and tables held.
    peak_memory: AtomicU64,
    memory_refused: AtomicBool,
    /// It was the namespace's quota that refused.
    quota_refused: AtomicBool,
    aside: AtomicBool,
    in_background: AtomicBool,
    cancelled: AtomicBool,
    waker: AtomicWaker,
}

/// The error that ends a guest by the platform's decision.
#[derive(Debug, Clone)]
pub(crate) struct Stop(pub(crate) Failure);

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Stop {}

impl Meter {
    pub(crate) fn new(
        scope: Scope,
        cpu_limit: Duration,
        (rate, limited): (Option<Arc<CpuRate>>, Option<Limited>),
        ticker: Arc<Ticker>,
    ) -> Self {
        Self {
            scope,
            cpu_limit,
            rate,
            limited,
            ticker,
            cpu: AtomicU64::new(0),
            slice_began: AtomicU64::new(0),
            charged: AtomicU64::new(0),
            peak_memory: AtomicU64::new(0),
            memory_refused: AtomicBool::new(false),
            quota_refused: AtomicBool::new(false),
            aside: AtomicBool::new(false),
            in_background: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// Runs `poll`, one slice of the guest, on the meter.
    pub(crate) fn slice<T>(&self, poll: impl FnOnce() -> T) -> T {
        self.ticker.notice();
        let began = Instant::now();
        let cpu_began = thread_cpu_near(began);
        self.slice_began.store(cpu_began, Relaxed);
        self.charged.store(0, Relaxed);
        let result = poll();
        let wall = began.elapsed();
        let used = match wall < TICK {
            true => nanos(wall),
            // What the thread was kept from the CPU is not the guest's.
            false => thread_cpu().saturating_sub(cpu_began).min(nanos(wall)),
        };
        self.cpu.fetch_add(used, Relaxed);
        if self.has_rate() {
            let rest = used.saturating_sub(self.charged.load(Relaxed));
            // The debt of a short slice is paid before the next call or at the next tick.
            self.charge_rates(Duration::from_nanos(rest));
        }
        result
    }

    /// Called every tick while the guest runs: may it go on?
    pub(crate) fn tick(&self) -> wasmtime::Result<UpdateDeadline> {
        self.ticker.notice();
        if self.cancelled.load(Relaxed) {
            let gone = Failure::new(Reason::Cancelled, "the caller went away");
            return Err(wasmtime::Error::new(Stop(gone)));
        }
        let slice = thread_cpu().saturating_sub(self.slice_began.load(Relaxed));
        let bounded = match self.scope {
            Scope::Call => self.cpu.load(Relaxed) + slice,
            Scope::Slice => slice,
        };
        if Duration::from_nanos(bounded) >= self.cpu_limit {
            return Err(wasmtime::Error::new(Stop(self.cpu_time_used_up())));
        }
        if let Some(pause) = self.charge(slice) {
            return Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::time::sleep(pause))));
        }
        let slice = Duration::from_nanos(slice);
        if self.in_background.load(Relaxed) {
            if slice >= TURN {
                return Ok(UpdateDeadline::Yield(1));
            }
        } else if slice >= ASIDE_AFTER {
            self.aside.store(true, Relaxed);
            return Ok(UpdateDeadline::Yield(1));
        }
        Ok(UpdateDeadline::Continue(1))
    }

    fn charge(&self, slice: u64) -> Option<Duration> {
        if !self.has_rate() {
            return None;
        }
        let before = self.charged.swap(slice, Relaxed);
        self.charge_rates(Duration::from_nanos(slice.saturating_sub(before)))
    }

    /// How long what earlier calls overdrew has to be waited for.
    pub(crate) fn debt(&self) -> Option<Duration> {
        if self.has_rate() { self.charge_rates(Duration::ZERO) } else { None }
    }

    fn has_rate(&self) -> bool {
        self.rate.is_some() || self.limited.is_some()
    }

    /// Books `used` with the function and with the namespace; the longer pause holds.
    fn charge_rates(&self, used: Duration) -> Option<Duration> {
        let now = Instant::now();
        let namespaces = self.limited.as_ref().and_then(|limited| limited.rate.as_ref());
        let own = self.rate.as_ref().and_then(|rate| rate.charge(used, now));
        own.max(namespaces.and_then(|rate| rate.charge(used, now)))
    }

    /// The namespace, where it has a quota.
    pub(crate) fn limited(&self) -> Option<&Limited> {
        self.limited.as_ref()
    }

    fn cpu_time_used_up(&self) -> Failure {
        let limit = dhow_core::quantity::print_duration(self.cpu_limit);
        let message = match self.scope {
            Scope::Call => format!("the guest used up its {limit} of CPU time"),
            Scope::Slice => format!("the guest ran for {limit} of CPU time without a wait"),
        };
        Failure::new(Reason::CpuTime, message)
    }

    /// A reused instance begins another call: what the last one used is not this one's.
    pub(crate) fn restart(&self) {
        self.cpu.store(0, Relaxed);
        self.memory_refused.store(false, Relaxed);
        self.quota_refused.store(false, Relaxed);
        self.slice_began.store(thread_cpu(), Relaxed);
    }

    /// Whether the guest asked, by burning CPU, to be moved to the background. Answers yes once.
    pub(crate) fn take_aside(&self) -> bool {
        self.aside.load(Relaxed) && {
            self.aside.store(false, Relaxed);
            self.in_background.store(true, Relaxed);
            true
        }
    }

    /// Ends the guest at its next tick or wake-up.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
        self.waker.wake();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    /// Has `cancel` wake this task.
    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    pub(crate) fn saw_memory(&self, bytes: u64) {
        self.peak_memory.fetch_max(bytes, Relaxed);
    }

    pub(crate) fn refused_memory(&self) {
        self.memory_refused.store(true, Relaxed);
    }

    /// The namespace's quota refused memory.
    pub(crate) fn refused_by_quota(&self) {
        self.quota_refused.store(true, Relaxed);
    }

    /// Why the namespace's quota refused memory, if it did.
    pub(crate) fn quota_failure(&self) -> Option<Failure> {
        let limited = self.limited.as_ref().filter(|_| self.quota_refused.load(Relaxed))?;
        Some(limited.tenant.memory_refused())
    }

    pub(crate) fn was_refused_memory(&self) -> bool {
        self.memory_refused.load(Relaxed)
    }

    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu.load(Relaxed))
    }

    pub(crate) fn peak_memory(&self) -> u64 {
        self.peak_memory.load(Relaxed)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The CPU time of this thread at `now`, nanoseconds, at most a tick too high: between two looks at
/// the thread's clock, a tick apart, it is counted on by the wall clock.
fn thread_cpu_near(now: Instant) -> u64 {
    thread_local! {
        static LOOK: Cell<Option<(Instant, u64)>> = const { Cell::new(None) };
    }
    let cpu = match LOOK.get() {
        Some((at, cpu)) if now.saturating_duration_since(at) < TICK => {
            return cpu + nanos(now.saturating_duration_since(at));
        }
        _ => thread_cpu(),
    };
    LOOK.set(Some((now, cpu)));
    cpu
}

/// The CPU time of this thread, nanoseconds.
fn thread_cpu() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or_default()
}
