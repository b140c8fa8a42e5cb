//! `limits.cpu`: CPU as a rate, over all calls of a function.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How far ahead of its rate a function may run before its calls are parked.
const BURST: Duration = Duration::from_millis(20);

/// A leaky bucket (GCRA): the time at which the CPU used so far is paid off.
pub(crate) struct CpuRate {
    millis: u64,
    origin: Instant,
    /// Nanoseconds after `origin`.
    paid_at: AtomicU64,
}

impl CpuRate {
    pub(crate) fn new(millis: u32, now: Instant) -> Self {
        Self { millis: u64::from(millis.max(1)), origin: now, paid_at: AtomicU64::new(0) }
    }

    /// Books `used` CPU and answers how long the guest has to pause before it goes on.
    pub(crate) fn charge(&self, used: Duration, now: Instant) -> Option<Duration> {
        let now = nanos(now.saturating_duration_since(self.origin));
        let cost = nanos(used).saturating_mul(1000) / self.millis;
        let before = self
            .paid_at
            .fetch_update(Relaxed, Relaxed, |paid| Some(paid.max(now).saturating_add(cost)))
            .unwrap_or_default();
        let debt = before.max(now).saturating_add(cost) - now;
        let over = debt.checked_sub(nanos(BURST)).filter(|over| *over > 0)?;
        Some(Duration::from_nanos(over))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_a_core_pauses_nine_tenths_of_the_time() {
        let start = Instant::now();
        let rate = CpuRate::new(100, start);
        let (mut now, mut used) = (start, Duration::ZERO);
        while now < start + Duration::from_secs(10) {
            let slice = Duration::from_millis(5);
            used += slice;
            now += slice;
            now += rate.charge(slice, now).unwrap_or_default();
        }
        assert!(used >= Duration::from_millis(950), "{used:?}");
        assert!(used <= Duration::from_millis(1100), "{used:?}");
    }

    #[test]
    fn who_stays_under_the_rate_is_never_paused() {
        let start = Instant::now();
        let rate = CpuRate::new(500, start);
        for step in 1..1000u32 {
            let now = start + Duration::from_millis(10) * step;
            assert_eq!(rate.charge(Duration::from_millis(4), now), None);
        }
    }
}
