//! Sizes, durations and rates as people write them, read and printed.
//!
//! Sizes and rates are Kubernetes' quantities, durations are Go's (`time.ParseDuration`); the
//! exponent forms of the first and the signs of the second are left out. A value is read exactly
//! or refused: nothing is rounded. What is in bounds for which limit is said in [`crate::limits`].

use std::time::Duration;

/// Why a text is not a quantity. Every message says what would have been right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadQuantity {
    /// Nothing was written.
    #[error("it is empty; write {expected}")]
    Empty {
        /// Examples of what would have been right.
        expected: &'static str,
    },
    /// It begins with a minus.
    #[error("it is negative; write {expected}")]
    Negative {
        /// Examples of what would have been right.
        expected: &'static str,
    },
    /// There is no number where one must stand.
    #[error("there is no number in it where one must stand; write {expected}")]
    Number {
        /// Examples of what would have been right.
        expected: &'static str,
    },
    /// A number is followed by something that is no unit, or by nothing where a unit must stand.
    #[error("`{found}` is not a unit here; write {expected}")]
    Unit {
        /// What stood there, its first characters.
        found: String,
        /// Examples of what would have been right.
        expected: &'static str,
    },
    /// It is finer than what is counted.
    #[error("it is not a whole number of {grain}")]
    Fraction {
        /// What is counted.
        grain: &'static str,
    },
    /// It is more than can be held.
    #[error("it is too large to be held")]
    TooLarge,
}

/// One kind of quantity: what its units are worth, in grains.
struct Scale {
    grain: &'static str,
    units: &'static [(&'static str, u64)],
    expected: &'static str,
    most: u64,
}

const BYTES: Scale = Scale {
    grain: "bytes",
    units: &[
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("", 1),
    ],
    expected: "a size such as 128Mi, 64k or 1048576",
    most: u64::MAX,
};

const NANOSECONDS: Scale = Scale {
    grain: "nanoseconds",
    units: &[
        ("h", 3_600_000_000_000),
        ("ms", 1_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("us", 1_000),
        ("µs", 1_000),
        ("ns", 1),
    ],
    expected: "a duration such as 300ms, 30s, 1m30s or 1h",
    // Go's greatest duration, 292 years.
    most: i64::MAX as u64,
};

const MILLIS: Scale = Scale {
    grain: "thousandths of a core",
    units: &[("m", 1), ("", 1_000)],
    expected: "a rate such as 500m, 0.5 or 2",
    most: u32::MAX as u64,
};

/// The digits of one number that are looked at. With the largest unit they still fit in 128 bits.
const MOST_DIGITS: usize = 24;

/// Reads a size in bytes: a number and one of `k M G T` (powers of 1000) or `Ki Mi Gi Ti`
/// (powers of 1024), or nothing. `1.5Gi` is taken because it is a whole number of bytes.
///
/// # Errors
/// When it is not such a text, or more than 64 bits hold.
pub fn parse_bytes(text: &str) -> Result<u64, BadQuantity> {
    BYTES.one(text)
}

/// The shortest text that [`parse_bytes`] reads as `bytes`.
pub fn print_bytes(bytes: u64) -> String {
    BYTES
        .units
        .iter()
        .rev()
        .filter(|(_, worth)| bytes.is_multiple_of(*worth))
        .map(|(unit, worth)| format!("{}{unit}", bytes / worth))
        .min_by_key(String::len)
        .unwrap_or_default()
}

/// Reads a duration: numbers, each with one of the units `h m s ms us µs ns`, added up; or `0`.
///
/// # Errors
/// When it is not such a text, or more than 292 years.
pub fn parse_duration(text: &str) -> Result<Duration, BadQuantity> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = NANOSECONDS.unsigned(text)?;
    let mut nanoseconds = 0_u64;
    while !rest.is_empty() {
        let (number, tail) = split_number(rest);
        let (unit, after) = tail
            .split_at(tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len()));
        nanoseconds = nanoseconds
            .checked_add(NANOSECONDS.value(number, unit)?)
            .filter(|sum| *sum <= NANOSECONDS.most)
            .ok_or(BadQuantity::TooLarge)?;
        rest = after;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The shortest text of whole numbers that [`parse_duration`] reads as `duration`. What is past
/// 292 years, which no limit allows, prints as that.
pub fn print_duration(duration: Duration) -> String {
    const UNITS: [(&str, u64); 6] = [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let total = u64::try_from(duration.as_nanos())
        .map_or(NANOSECONDS.most, |nanoseconds| nanoseconds.min(NANOSECONDS.most));
    if total == 0 {
        return "0s".to_owned();
    }
    // Every choice of units is tried: `90s` beats `1m30s`, `1h1ms` beats `3600001ms`.
    (1_u32..1 << UNITS.len())
        .filter_map(|chosen| {
            let mut rest = total;
            let mut text = String::new();
            for (index, (unit, worth)) in UNITS.iter().enumerate() {
                if chosen & 1 << index != 0 && rest >= *worth {
                    text.push_str(&format!("{}{unit}", rest / worth));
                    rest %= worth;
                }
            }
            (rest == 0).then_some(text)
        })
        .min_by_key(String::len)
        .unwrap_or_default()
}

/// Reads a CPU rate in thousandths of a core: `500m`, or cores such as `2` or `0.5`.
///
/// # Errors
/// When it is not such a text, or not whole thousandths, or more than 32 bits hold.
pub fn parse_cpu(text: &str) -> Result<u32, BadQuantity> {
    u32::try_from(MILLIS.one(text)?).map_err(|_| BadQuantity::TooLarge)
}

/// The shortest text that [`parse_cpu`] reads as `millis`.
pub fn print_cpu(millis: u32) -> String {
    let (cores, thousandths) = (millis / 1000, millis % 1000);
    let in_thousandths = format!("{millis}m");
    let in_cores = match thousandths {
        0 => cores.to_string(),
        _ => format!("{cores}.{}", format!("{thousandths:03}").trim_end_matches('0')),
    };
    if in_cores.len() < in_thousandths.len() { in_cores } else { in_thousandths }
}

impl Scale {
    /// The text, if it begins with neither sign nor nothing.
    fn unsigned<'a>(&self, text: &'a str) -> Result<&'a str, BadQuantity> {
        match text.chars().next() {
            None => Err(BadQuantity::Empty { expected: self.expected }),
            Some('-') => Err(BadQuantity::Negative { expected: self.expected }),
            Some(_) => Ok(text),
        }
    }

    /// A text of one number and one unit.
    fn one(&self, text: &str) -> Result<u64, BadQuantity> {
        let (number, unit) = split_number(self.unsigned(text)?);
        self.value(number, unit)
    }

    /// `number` times what `unit` is worth.
    fn value(&self, number: &str, unit: &str) -> Result<u64, BadQuantity> {
        let (digits, decimals) =
            decimal(number)?.ok_or(BadQuantity::Number { expected: self.expected })?;
        let (_, worth) = self.units.iter().find(|(name, _)| *name == unit).ok_or_else(|| {
            BadQuantity::Unit { found: unit.chars().take(16).collect(), expected: self.expected }
        })?;
        let scaled = digits * u128::from(*worth);
        let divisor = 10_u128.pow(decimals);
        if !scaled.is_multiple_of(divisor) {
            return Err(BadQuantity::Fraction { grain: self.grain });
        }
        u64::try_from(scaled / divisor)
            .ok()
            .filter(|value| *value <= self.most)
            .ok_or(BadQuantity::TooLarge)
    }
}

/// The digits and dots at the front of `text`, and the rest.
fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()))
}

/// All digits of `number` as one integer, and how many of them stand after the point.
fn decimal(number: &str) -> Result<Option<(u128, u32)>, BadQuantity> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let count = whole.len() + fraction.len();
    if count > MOST_DIGITS {
        return Err(BadQuantity::TooLarge);
    }
    if count == 0 || fraction.contains('.') {
        return Ok(None);
    }
    let mut digits = 0_u128;
    for digit in whole.bytes().chain(fraction.bytes()) {
        digits = digits * 10 + u128::from(digit - b'0');
    }
    let decimals = u32::try_from(fraction.len()).map_err(|_| BadQuantity::TooLarge)?;
    Ok(Some((digits, decimals)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_kubernetes_quantities() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("64k", 64_000),
            ("64Ki", 64 << 10),
            ("128Mi", 128 << 20),
            ("129M", 129_000_000),
            ("1.5Gi", 3 << 29),
            (".5k", 500),
            ("2Ti", 2 << 40),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_its_reason() {
        let expected = BYTES.expected;
        let unit = |found: &str| BadQuantity::Unit { found: found.to_owned(), expected };
        for (text, reason) in [
            ("", BadQuantity::Empty { expected }),
            ("-1Mi", BadQuantity::Negative { expected }),
            ("Mi", BadQuantity::Number { expected }),
            (".", BadQuantity::Number { expected }),
            ("1.2.3", BadQuantity::Number { expected }),
            ("+1", BadQuantity::Number { expected }),
            (" 1", BadQuantity::Number { expected }),
            ("1 Mi", unit(" Mi")),
            ("1mi", unit("mi")),
            ("1K", unit("K")),
            ("1MiB", unit("MiB")),
            ("1e3", unit("e3")),
            ("١k", BadQuantity::Number { expected }),
            ("1.5", BadQuantity::Fraction { grain: "bytes" }),
            ("18446744073709551616", BadQuantity::TooLarge),
            ("16777216Ti", BadQuantity::TooLarge),
            ("9999999999999999999999999", BadQuantity::TooLarge),
        ] {
            assert_eq!(parse_bytes(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        for (text, duration) in [
            ("0", Duration::ZERO),
            ("0s", Duration::ZERO),
            ("10us", Duration::from_micros(10)),
            ("10µs", Duration::from_micros(10)),
            ("300ms", Duration::from_millis(300)),
            ("30s", Duration::from_secs(30)),
            ("1m30s", Duration::from_secs(90)),
            ("1.5h", Duration::from_secs(5400)),
            ("1h1ms", Duration::new(3600, 1_000_000)),
        ] {
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_its_reason() {
        let expected = NANOSECONDS.expected;
        let unit = |found: &str| BadQuantity::Unit { found: found.to_owned(), expected };
        for (text, reason) in [
            ("", BadQuantity::Empty { expected }),
            ("-5s", BadQuantity::Negative { expected }),
            ("s", BadQuantity::Number { expected }),
            ("5", unit("")),
            ("5 s", unit(" s")),
            ("1m-5s", unit("m-")),
            ("5days", unit("days")),
            ("0.1ns", BadQuantity::Fraction { grain: "nanoseconds" }),
            ("9999999h", BadQuantity::TooLarge),
            ("2562047h2562047h", BadQuantity::TooLarge),
        ] {
            assert_eq!(parse_duration(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn rates_are_thousandths_of_a_core() {
        for (text, millis) in [("1000m", 1000), ("1", 1000), ("0.5", 500), ("2.25", 2250)] {
            assert_eq!(parse_cpu(text), Ok(millis), "{text}");
        }
        let grain = MILLIS.grain;
        assert_eq!(parse_cpu("0.0005"), Err(BadQuantity::Fraction { grain }));
        assert_eq!(parse_cpu("0.5m"), Err(BadQuantity::Fraction { grain }));
        assert_eq!(parse_cpu("4294967.296"), Err(BadQuantity::TooLarge));
        assert!(matches!(parse_cpu("1k"), Err(BadQuantity::Unit { .. })));
    }

    #[test]
    fn the_shortest_exact_form_is_printed() {
        for (bytes, text) in
            [(0, "0"), (1000, "1k"), (1024, "1Ki"), (1 << 30, "1Gi"), (1 << 20 | 1, "1048577")]
        {
            assert_eq!(print_bytes(bytes), text);
        }
        for (duration, text) in [
            (Duration::ZERO, "0s"),
            (Duration::from_secs(90), "90s"),
            (Duration::from_secs(3600), "1h"),
            (Duration::new(3600, 1_000_000), "1h1ms"),
            (Duration::from_millis(1500), "1s500ms"),
            (Duration::from_micros(10), "10us"),
        ] {
            let shortest = print_duration(duration);
            assert!(shortest.len() <= text.len(), "{shortest} for {text}");
            assert_eq!(parse_duration(&shortest), Ok(duration));
        }
        for (millis, text) in [(1, "1m"), (500, "0.5"), (1000, "1"), (1250, "1.25"), (0, "0")] {
            assert_eq!(print_cpu(millis), text);
        }
    }

    proptest! {
        #[test]
        fn a_printed_size_reads_as_itself(bytes: u64, shift in 0_u32..64) {
            prop_assert_eq!(parse_bytes(&print_bytes(bytes >> shift)), Ok(bytes >> shift));
            prop_assert_eq!(parse_bytes(&print_bytes(bytes << shift)), Ok(bytes << shift));
        }

        #[test]
        fn a_printed_duration_reads_as_itself(
            count in 0_u64..=i64::MAX as u64,
            grain in prop::sample::select(vec![1_u64, 1_000, 1_000_000, 1_000_000_000, 60_000_000_000]),
        ) {
            let duration = Duration::from_nanos(count / grain * grain);
            prop_assert_eq!(parse_duration(&print_duration(duration)), Ok(duration));
        }

        #[test]
        fn a_printed_rate_reads_as_itself(millis: u32) {
            prop_assert_eq!(parse_cpu(&print_cpu(millis)), Ok(millis));
        }

        #[test]
        fn no_text_makes_a_reader_panic(text in "[-+0-9.a-zA-Zµ ]{0,40}") {
            let _ = (parse_bytes(&text), parse_duration(&text), parse_cpu(&text));
        }
    }
}
