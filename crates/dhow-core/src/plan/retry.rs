//! What follows an attempt to run an asynchronous call.
//!
//! The wait before the next attempt is exponential backoff with full jitter: a random part of
//! `min(max_wait, min_wait * 2^(attempts - 1))`, so that calls which failed together do not come
//! back together.

use std::time::Duration;

use http::StatusCode;

use crate::outcome::Reason;
use crate::queue::RetryPolicy;

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// What was answered.
    pub status: StatusCode,
    /// Why the platform answered; `None` when the guest did.
    pub failure: Option<Reason>,
    /// No instance could be made.
    pub has_no_instance: bool,
    /// How long whoever answered wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is answered.
    Finished,
    /// Once more after this time.
    Again(Duration),
    /// It found no place and did not run: once more after this time, and it does not count.
    Deferred(Duration),
    /// It is given up.
    Dead,
}

/// Decides what follows `attempt`, when `before` attempts that counted ended earlier. `random` is
/// evenly spread over all of `u32`.
pub fn after(policy: &RetryPolicy, before: u32, attempt: Attempt, random: u32) -> Next {
    let made = before.saturating_add(1);
    if attempt.found_no_place() {
        // Between one and two times the shortest wait: nothing is gained by pressing.
        let jitter = part(policy.min_wait, random);
        return Next::Deferred((policy.min_wait + jitter).min(policy.max_wait));
    }
    if policy.statuses.contains(&attempt.status) {
        return match made < policy.attempts {
            true => Next::Again(wait(policy, made, attempt.retry_after, random)),
            false => Next::Dead,
        };
    }
    match attempt.failure {
        Some(_) => Next::Dead,
        None => Next::Finished,
    }
}

impl Attempt {
    /// Whether the call was refused before it could begin, for what others use at the time.
    fn found_no_place(&self) -> bool {
        match self.failure {
            Some(
                Reason::Concurrency | Reason::Overloaded | Reason::QuotaCalls | Reason::QuotaCpu,
            ) => true,
            Some(Reason::QuotaMemory) => self.has_no_instance,
            _ => false,
        }
    }
}

/// The wait after `made` attempts. What `Retry-After` asks for is kept, up to `max_wait`.
pub fn wait(
    policy: &RetryPolicy,
    made: u32,
    retry_after: Option<Duration>,
    random: u32,
) -> Duration {
    let doublings = made.saturating_sub(1).min(31);
    let ceiling = policy.min_wait.saturating_mul(1 << doublings).min(policy.max_wait);
    let asked = retry_after.unwrap_or_default().min(policy.max_wait);
    part(ceiling, random).max(asked)
}

/// A random part of `whole`.
fn part(whole: Duration, random: u32) -> Duration {
    whole.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answered(status: u16) -> Attempt {
        let status = StatusCode::from_u16(status).unwrap();
        Attempt { status, failure: None, has_no_instance: false, retry_after: None }
    }

    fn policies() -> impl Strategy<Value = RetryPolicy> {
        (1_u32..=100, 1_u64..=3_600_000, 1_u64..=86_400_000).prop_map(|(attempts, min, max)| {
            RetryPolicy {
                attempts,
                min_wait: Duration::from_millis(min.min(max)),
                max_wait: Duration::from_millis(max),
                ..RetryPolicy::default()
            }
        })
    }

    #[test]
    fn what_a_guest_says_is_an_answer_unless_its_status_is_retried() {
        let policy = RetryPolicy::default();
        for status in [200, 204, 302, 400, 404, 501] {
            assert_eq!(after(&policy, 0, answered(status), 0), Next::Finished, "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(after(&policy, 0, answered(status), 0), Next::Again(Duration::ZERO));
            assert_eq!(after(&policy, 9, answered(status), 0), Next::Dead);
        }
    }

    #[test]
    fn what_the_platform_will_never_do_is_given_up_and_a_lack_of_room_is_no_attempt() {
        let policy = RetryPolicy::default();
        let failed = |reason: Reason| Attempt {
            status: reason.status(),
            failure: Some(reason),
            has_no_instance: false,
            retry_after: None,
        };
        for reason in [Reason::NotFound, Reason::PayloadTooLarge, Reason::BadRequest] {
            assert_eq!(after(&policy, 0, failed(reason), 0), Next::Dead, "{reason}");
        }
        for reason in [Reason::Trap, Reason::WallTime, Reason::NotReady, Reason::Memory] {
            assert_eq!(after(&policy, 0, failed(reason), 0), Next::Again(Duration::ZERO));
            assert_eq!(after(&policy, 9, failed(reason), 0), Next::Dead);
        }
        for reason in
            [Reason::Concurrency, Reason::Overloaded, Reason::QuotaCalls, Reason::QuotaCpu]
        {
            let next = after(&policy, 99, failed(reason), 0);
            assert_eq!(next, Next::Deferred(policy.min_wait), "{reason}");
        }
        // A guest that was refused more has begun; one that could not be made has not.
        let refused = failed(Reason::QuotaMemory);
        assert_eq!(after(&policy, 9, refused, 0), Next::Dead);
        let refused = Attempt { has_no_instance: true, ..refused };
        assert_eq!(after(&policy, 9, refused, 0), Next::Deferred(policy.min_wait));
    }

    #[test]
    fn retry_after_is_honoured_up_to_the_longest_wait() {
        let policy = RetryPolicy::default();
        let asked = |seconds| wait(&policy, 1, Some(Duration::from_secs(seconds)), 0);
        assert_eq!(asked(30), Duration::from_secs(30));
        assert_eq!(asked(100_000), policy.max_wait);
    }

    proptest! {
        #[test]
        fn waits_are_spread_below_a_ceiling_that_doubles(
            policy in policies(), made in 1_u32..200, random: u32,
        ) {
            let least = wait(&policy, made, None, 0);
            let found = wait(&policy, made, None, random);
            let most = wait(&policy, made, None, u32::MAX);
            prop_assert_eq!(least, Duration::ZERO);
            prop_assert!(found <= most && most <= policy.max_wait);
            let next = wait(&policy, made + 1, None, u32::MAX);
            prop_assert!(next == policy.max_wait || next == most * 2);
        }

        #[test]
        fn a_call_is_run_as_often_as_its_policy_says(policy in policies(), random: u32) {
            let mut made = 0;
            while let Next::Again(after) = after(&policy, made, answered(503), random) {
                prop_assert!(after <= policy.max_wait);
                made += 1;
            }
            prop_assert_eq!(made + 1, policy.attempts);
        }
    }
}
