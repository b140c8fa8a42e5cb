//! W3C Trace Context (Recommendation of 23 November 2021) in headers.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");

/// Bytes of a `tracestate` that are kept with a span; the guest gets all of it.
const MOST_STATE: usize = 512;
/// Characters of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// What a caller said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    /// Whether it is followed.
    pub(crate) sampled: bool,
    /// Its `tracestate`.
    pub(crate) state: String,
}

/// Reads the headers. `None` when they say nothing that can be believed.
pub(crate) fn read(headers: &HeaderMap) -> Option<Caller> {
    let mut values = headers.get_all(PARENT).iter();
    let (only, None) = (values.next()?, values.next()) else { return None };
    let (trace_id, span_id, sampled) = parse(only.as_bytes())?;
    Some(Caller { trace_id, span_id, sampled, state: state(headers) })
}

/// Makes the headers say that `span_id` asks.
pub(crate) fn write(headers: &mut HeaderMap, trace_id: u128, span_id: u64, sampled: bool) {
    let value = format!("00-{trace_id:032x}-{span_id:016x}-{:02x}", u8::from(sampled));
    headers.insert(PARENT, HeaderValue::try_from(value).expect("hex digits and dashes"));
}

/// Removes a state that belongs to no trace.
pub(crate) fn forget_state(headers: &mut HeaderMap) {
    headers.remove(STATE);
}

/// `00-TRACE-SPAN-FLAGS`; later versions may go on after another dash.
fn parse(value: &[u8]) -> Option<(u128, u64, bool)> {
    let (known, rest) = value.split_at_checked(LENGTH)?;
    let (version, later) = (&known[..2], rest.starts_with(b"-"));
    let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
    let version = u8::try_from(hex(version)?).ok()?;
    if !dashes || version == 0xff || !(rest.is_empty() || (version > 0 && later)) {
        return None;
    }
    let trace_id = hex(&known[3..35])?;
    let span_id = u64::try_from(hex(&known[36..52])?).ok()?;
    let flags = hex(&known[53..55])?;
    (trace_id != 0 && span_id != 0).then_some((trace_id, span_id, flags & 1 == 1))
}

/// Lower case alone, as the format has it.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0u128, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

/// The lists of all its headers as one; one that is too long is none.
fn state(headers: &HeaderMap) -> String {
    let lists = headers.get_all(STATE).iter().filter_map(|list| list.to_str().ok());
    let state = lists.collect::<Vec<_>>().join(",");
    if state.len() <= MOST_STATE { state } else { String::new() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn of(parents: &[&str], states: &[&str]) -> Option<Caller> {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(PARENT, parent.parse().unwrap());
        }
        for state in states {
            headers.append(STATE, state.parse().unwrap());
        }
        read(&headers)
    }

    #[test]
    fn a_caller_is_believed_when_it_keeps_to_the_format() {
        let caller = of(&[&format!("00-{TRACE}-{SPAN}-01")], &["a=1", "b=2,c=3"]).unwrap();
        let expected = Caller {
            trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            span_id: 0x00f0_67aa_0ba9_02b7,
            sampled: true,
            state: "a=1,b=2,c=3".to_owned(),
        };
        assert_eq!(caller, expected);
        assert!(!of(&[&format!("00-{TRACE}-{SPAN}-02")], &[]).unwrap().sampled);
        assert!(of(&[&format!("cc-{TRACE}-{SPAN}-01-what-comes")], &[]).unwrap().sampled);
        let long = format!("a={}", "x".repeat(MOST_STATE));
        assert_eq!(of(&[&format!("00-{TRACE}-{SPAN}-01")], &[&long]).unwrap().state, "");
    }

    #[test]
    fn whoever_does_not_is_nobody() {
        for wrong in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01 "),
            format!("cc-{TRACE}-{SPAN}-01.more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0x-{TRACE}-{SPAN}-01"),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
        ] {
            assert_eq!(of(&[&wrong], &[]), None, "{wrong}");
        }
        let right = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(of(&[&right, &right], &[]), None);
        assert_eq!(of(&[], &["a=1"]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace_id in 1..=u128::MAX, span_id in 1..=u64::MAX, sampled: bool) {
            let mut headers = HeaderMap::new();
            write(&mut headers, trace_id, span_id, sampled);
            let caller = Caller { trace_id, span_id, sampled, state: String::new() };
            prop_assert_eq!(read(&headers), Some(caller));
        }

        #[test]
        fn no_header_makes_it_panic(value in "[ -~]{0,80}") {
            let _ = parse(value.as_bytes());
        }
    }
}
