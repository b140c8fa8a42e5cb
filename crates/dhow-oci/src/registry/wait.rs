//! How long to wait before a step is tried again. Time and chance are arguments.

use std::time::{Duration, SystemTime};

/// The wait before try number `failed + 1`: doubled each time up to `longest`, of which at least
/// half; `chance` (0 to 1) spreads the rest, so that many clients do not come back together.
pub(super) fn backoff(first: Duration, longest: Duration, failed: u32, chance: f64) -> Duration {
    let full = first.saturating_mul(1 << failed.min(20)).min(longest);
    full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

/// What a `Retry-After` header asks for: seconds, or a date.
pub(super) fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(header).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_within_bounds() {
        let wait = |failed, chance| {
            backoff(Duration::from_millis(100), Duration::from_secs(1), failed, chance).as_millis()
        };
        assert_eq!([wait(0, 1.0), wait(1, 1.0), wait(2, 1.0)], [100, 200, 400]);
        assert_eq!([wait(0, 0.0), wait(9, 0.0), wait(u32::MAX, 1.0)], [50, 500, 1000]);
    }

    #[test]
    fn both_forms_of_retry_after_are_read() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_767);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(retry_after(date, now), Some(Duration::from_secs(10)));
        assert_eq!(retry_after(" 7 ", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(date, now + Duration::from_secs(60)), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }
}
