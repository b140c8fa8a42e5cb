//! How often a function may be called: a bucket for all, and one for each client.
//!
//! A bucket is a moment (GCRA, as ATM's traffic contract has it): that at which it is full again.
//! Ours and no library's, because clients are strangers: what is kept of them has to have a bound,
//! which `governor`, the one we looked at, leaves to its user.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use dhow_core::access::{Rate, RateLimits};
use parking_lot::Mutex;

/// Clients that are told apart. Beyond so many that have called lately, new ones share one bucket:
/// whoever sends from that many addresses slows newcomers down, and takes no memory.
const MOST_CLIENTS: usize = 100_000;
/// At most so often those whose buckets are full are forgotten.
const SWEEP: Duration = Duration::from_secs(1);
/// The bucket of those beyond.
const OTHERS: u64 = 0;

/// The buckets of one function.
pub(super) struct Buckets {
    function: Option<Mutex<Bucket>>,
    clients: Option<Mutex<Clients>>,
    hasher: RandomState,
}

struct Bucket {
    pace: Pace,
    full_at: Instant,
}

struct Clients {
    pace: Pace,
    /// By a keyed hash of who they are.
    full_at: HashMap<u64, Instant>,
    most: usize,
    /// When those gone by were last looked for: with a crowd of clients a look takes long.
    swept_at: Option<Instant>,
}

/// A rate as a bucket counts it.
#[derive(Clone, Copy)]
struct Pace {
    /// What one call costs.
    cost: Duration,
    /// How far ahead of the pace calls may be.
    ahead: Duration,
}

/// A call that came too early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{who} called more often than `rateLimit.{limit}` allows")]
pub(super) struct TooOften {
    who: &'static str,
    limit: &'static str,
    /// When the next one may come.
    pub(super) wait: Duration,
}

impl Buckets {
    pub(super) fn new(rates: RateLimits, now: Instant) -> Self {
        let clients = |rate| Clients::new(Pace::of(rate), MOST_CLIENTS);
        Self {
            function: rates
                .function
                .map(|rate| Mutex::new(Bucket { pace: Pace::of(rate), full_at: now })),
            clients: rates.client.map(|rate| Mutex::new(clients(rate))),
            hasher: RandomState::new(),
        }
    }

    /// Takes a call of `client`, who showed who they are, or else of an address, out of the
    /// buckets. One that is refused takes nothing.
    pub(super) fn take(
        &self,
        client: Option<&str>,
        peer: IpAddr,
        now: Instant,
    ) -> Result<(), TooOften> {
        let key = self.clients.as_ref().map(|_| match client {
            Some(name) => self.hasher.hash_one(name),
            None => self.hasher.hash_one(network(peer)),
        });
        let mut clients = self.clients.as_ref().map(Mutex::lock);
        let own = match (&mut clients, key) {
            (Some(clients), Some(key)) => {
                let own = clients.next(key, now).map_err(|wait| TooOften {
                    who: "this client",
                    limit: "client",
                    wait,
                })?;
                Some(own)
            }
            _ => None,
        };
        if let Some(bucket) = &self.function {
            let mut bucket = bucket.lock();
            let taken = bucket.pace.take(bucket.full_at, now);
            bucket.full_at = taken.map_err(|wait| TooOften {
                who: "all clients together",
                limit: "function",
                wait,
            })?;
        }
        // Last, so that a call that the function's bucket refused has taken nothing here, either.
        if let (Some(clients), Some((key, full_at))) = (&mut clients, own) {
            clients.full_at.insert(key, full_at);
        }
        Ok(())
    }
}

impl Clients {
    fn new(pace: Pace, most: usize) -> Self {
        Self { pace, full_at: HashMap::new(), most, swept_at: None }
    }

    /// Which bucket `key` has, and when it would be full again after one more call.
    fn next(&mut self, key: u64, now: Instant) -> Result<(u64, Instant), Duration> {
        let is_known = self.full_at.contains_key(&key);
        if !is_known && self.full_at.len() >= self.most {
            self.sweep(now);
        }
        let is_room = is_known || self.full_at.len() < self.most;
        let key = if is_room { key } else { OTHERS };
        let full_at = self.full_at.get(&key).copied().unwrap_or(now);
        Ok((key, self.pace.take(full_at, now)?))
    }

    fn sweep(&mut self, now: Instant) {
        let is_due = |at| now.saturating_duration_since(at) >= SWEEP;
        if self.swept_at.is_none_or(is_due) {
            self.swept_at = Some(now);
            self.full_at.retain(|_, full_at| *full_at > now);
        }
    }
}

impl Pace {
    fn of(rate: Rate) -> Self {
        let cost = rate.per / rate.calls.max(1);
        Self { cost, ahead: cost.saturating_mul(rate.burst.saturating_sub(1)) }
    }

    /// When the bucket is full again after one more call, or how long that call has to wait.
    fn take(self, full_at: Instant, now: Instant) -> Result<Instant, Duration> {
        let from = full_at.max(now);
        match (from - now).checked_sub(self.ahead) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => Ok(from + self.cost),
        }
    }
}

/// Whom an address stands for: in IPv6 one subscriber has at least a whole /64.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() & !u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(calls: u32, burst: u32) -> Option<Rate> {
        Some(Rate { calls, per: SECOND, burst })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_bucket_lets_its_burst_through_and_then_its_pace() {
        let start = Instant::now();
        let buckets = Buckets::new(RateLimits { function: rate(10, 3), client: None }, start);
        let take = |after: Duration| buckets.take(None, address("192.0.2.1"), start + after);
        for _ in 0..3 {
            take(Duration::ZERO).unwrap();
        }
        let refused = take(Duration::ZERO).unwrap_err();
        assert_eq!((refused.limit, refused.wait), ("function", SECOND / 10));
        assert!(take(SECOND / 11).is_err());
        take(SECOND / 10).unwrap();
        assert!(take(SECOND / 10).is_err());
        let passed = (0..1000).filter(|ms| take(SECOND + Duration::from_millis(*ms)).is_ok());
        assert!((10..=13).contains(&passed.count()));
    }

    #[test]
    fn each_client_has_a_bucket_and_a_refused_call_takes_nothing_of_the_common_one() {
        let now = Instant::now();
        let limits = RateLimits { function: rate(1, 3), client: rate(1, 1) };
        let buckets = Buckets::new(limits, now);
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        buckets.take(None, one, now).unwrap();
        for _ in 0..5 {
            assert_eq!(buckets.take(None, one, now).unwrap_err().limit, "client");
        }
        buckets.take(None, other, now).unwrap();
        // By name, an address means nothing.
        buckets.take(Some("key:a"), one, now).unwrap();
        assert_eq!(buckets.take(Some("key:a"), other, now).unwrap_err().limit, "client");
        assert_eq!(buckets.take(Some("key:b"), other, now).unwrap_err().limit, "function");
        // And it has taken nothing of its own.
        buckets.take(Some("key:b"), other, now + SECOND).unwrap();
        let again = buckets.take(Some("key:b"), other, now + SECOND).unwrap_err();
        assert_eq!(again.limit, "client");
    }

    #[test]
    fn an_address_of_ipv6_is_as_wide_as_a_subscriber() {
        assert_eq!(network(address("2001:db8::1")), network(address("2001:db8::ffff:1:2")));
        assert_ne!(network(address("2001:db8::1")), network(address("2001:db8:0:1::1")));
        assert_eq!(network(address("::ffff:192.0.2.1")), network(address("192.0.2.1")));
        assert_ne!(network(address("192.0.2.1")), network(address("192.0.2.2")));
    }

    #[test]
    fn a_crowd_of_strangers_takes_a_bounded_memory_and_those_gone_by_are_forgotten() {
        let now = Instant::now();
        let pace = Pace::of(Rate { calls: 1, per: SECOND, burst: 1 });
        let mut clients = Clients::new(pace, 3);
        let mut take = |key, now| {
            let (key, full_at) = clients.next(key, now)?;
            clients.full_at.insert(key, full_at);
            Ok::<_, Duration>(clients.full_at.len())
        };
        for key in 1..=3 {
            take(key, now).unwrap();
        }
        assert_eq!(take(4, now), Ok(4));
        assert!(take(5, now).is_err(), "those beyond share a bucket");
        assert!(take(1, now).is_err());
        assert_eq!(take(5, now + 2 * SECOND), Ok(1));
    }
}
