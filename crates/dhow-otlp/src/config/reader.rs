//! Variables of the environment, as values; what makes no sense is noted and goes on as if it had
//! not been said, so that all of it is found.

use std::cell::RefCell;
use std::time::Duration;

use super::ConfigError;

pub(super) struct Reader<'e> {
    environment: &'e dyn Fn(&str) -> Option<String>,
    problems: RefCell<Vec<String>>,
}

impl<'e> Reader<'e> {
    pub(super) fn new(environment: &'e dyn Fn(&str) -> Option<String>) -> Self {
        Self { environment, problems: RefCell::default() }
    }

    pub(super) fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        let problems = self.problems.into_inner();
        if problems.is_empty() { Ok(value) } else { Err(ConfigError { problems }) }
    }

    /// What a variable says; an empty one says nothing (OpenTelemetry's rule).
    pub(super) fn said(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.is_empty())
    }

    /// The first variable that says something, and what.
    pub(super) fn first(&self, names: &[String]) -> Option<(String, String)> {
        names.iter().find_map(|name| Some((name.clone(), self.said(name)?)))
    }

    /// Notes that a variable, whose value may be shown, makes no sense.
    pub(super) fn refuse(&self, name: &str, why: &str) {
        let value = self.said(name).unwrap_or_default();
        let shown: String = value.chars().take(100).flat_map(char::escape_debug).collect();
        self.problem(format!("{name} is `{shown}`, which {why}"));
    }

    /// Notes a problem of a value that may be a secret.
    pub(super) fn problem(&self, what: String) {
        let mut problems = self.problems.borrow_mut();
        // What holds for both signals is read for each.
        if !problems.contains(&what) {
            problems.push(what);
        }
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.said(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(super) fn count(&self, name: &str, default: usize) -> usize {
        let Some(value) = self.said(name) else { return default };
        match value.parse() {
            Ok(count @ 1..=1_000_000) => count,
            _ => {
                self.refuse(name, "is no number from 1 to 1000000");
                default
            }
        }
    }

    pub(super) fn millis(&self, name: &str, default: Duration) -> Duration {
        let Some(value) = self.said(name) else { return default };
        match value.parse() {
            Ok(millis @ 1..=86_400_000) => Duration::from_millis(millis),
            _ => {
                self.refuse(name, "is no number of milliseconds from 1 to a day");
                default
            }
        }
    }

    pub(super) fn ratio(&self, name: &str) -> f64 {
        let Some(value) = self.said(name) else { return 1.0 };
        match value.parse() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => {
                self.refuse(name, "is no number from 0 to 1");
                1.0
            }
        }
    }

    /// `key=value,…`, the values percent-encoded (W3C Baggage). Values may be secrets.
    pub(super) fn pairs(&self, name: &str) -> Vec<(String, String)> {
        let Some(list) = self.said(name) else { return vec![] };
        let pairs = list.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let read = pairs.filter_map(|pair| {
            let read = pair.split_once('=').and_then(|(key, value)| {
                let key = key.trim();
                Some((key.to_owned(), decode(value.trim())?)).filter(|_| !key.is_empty())
            });
            if read.is_none() {
                self.problem(format!("{name} is no list of `key=value`, separated by commas"));
            }
            read
        });
        read.collect()
    }
}

/// Text without its percent-encoding.
fn decode(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded() {
        let environment = |_: &str| Some("a=1, b = x%2Cy%3D ,,c=".to_owned());
        let reader = Reader::new(&environment);
        let pairs = reader.pairs("LIST");
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("a", "1"), ("b", "x,y="), ("c", "")]);
        assert!(reader.finish(()).is_ok());
        for wrong in ["a", "=1", "a=%", "a=%zz", "a=%ff"] {
            let environment = |_: &str| Some(wrong.to_owned());
            let reader = Reader::new(&environment);
            reader.pairs("LIST");
            assert!(reader.finish(()).is_err(), "{wrong}");
        }
    }
}
