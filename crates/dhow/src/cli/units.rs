//! Amounts for people.

use std::time::Duration;

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

/// Bytes for people.
pub(super) fn mebibytes(bytes: u64) -> String {
    // A picture of a size; nothing is computed with it.
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    format!("{mebibytes:.1} MiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_the_unit_that_fits() {
        for (micros, text) in
            [(7, "7 µs"), (1_500, "1.50 ms"), (42_400, "42 ms"), (1_500_000, "1.50 s")]
        {
            assert_eq!(length(Duration::from_micros(micros)), text);
        }
    }
}
