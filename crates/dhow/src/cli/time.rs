//! Times and durations for people.

use std::time::Duration;

use serde_json::Value;

/// A moment that the server said: milliseconds since 1970, or text, which is shown as it is.
pub(super) fn moment(value: &Value) -> String {
    match value {
        Value::Number(number) => number.as_u64().map(rfc3339).unwrap_or_default(),
        Value::String(text) => text.clone(),
        _ => String::new(),
    }
}

/// A length of time in three digits or so.
pub(super) fn length(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    match nanoseconds {
        0..1_000_000 => format!("{:.0} µs", duration.as_secs_f64() * 1e6),
        1_000_000..10_000_000 => format!("{:.2} ms", duration.as_secs_f64() * 1e3),
        10_000_000..1_000_000_000 => format!("{:.0} ms", duration.as_secs_f64() * 1e3),
        _ => format!("{:.2} s", duration.as_secs_f64()),
    }
}

/// Seconds of UTC as RFC 3339 writes them.
fn rfc3339(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days, for days since 1970 and later: eras of 400 years that
    // begin on the 1st of March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!(
        "{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        era * 400 + year + carry,
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds * 1000), text);
        }
        assert_eq!(moment(&Value::from("yesterday")), "yesterday");
        assert_eq!(moment(&Value::Null), "");
    }

    #[test]
    fn a_length_has_the_unit_that_fits() {
        for (micros, text) in
            [(7, "7 µs"), (1_500, "1.50 ms"), (42_400, "42 ms"), (1_500_000, "1.50 s")]
        {
            assert_eq!(length(Duration::from_micros(micros)), text);
        }
    }
}
