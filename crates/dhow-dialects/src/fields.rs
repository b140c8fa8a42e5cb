//! Reading values field by field. A wrong field is noted with its path and reading goes on, so
//! that a person sees everything that is wrong at once.
//!
//! A `null` is a field that is not there, as in Kubernetes.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;

use dhow_core::limits::Bounds;
use dhow_core::quantity;
use serde_json::{Map, Value};

use crate::meant::meant;
use crate::problem::FieldError;

/// A mapping that is being read.
pub(crate) struct Object<'v> {
    path: String,
    members: &'v Map<String, Value>,
}

/// Fields that a mapping may have: those that are read, and those of the format that this version
/// does not run.
pub(crate) struct Known {
    /// Read.
    pub(crate) fields: &'static [&'static str],
    /// Refused by name, so that nobody believes that they have an effect.
    pub(crate) unsupported: &'static [&'static str],
}

impl<'v> Object<'v> {
    /// `value` as a mapping, with every field noted that is not `known`.
    pub(crate) fn open(
        path: impl Into<String>,
        value: &'v Value,
        known: &Known,
        problems: &mut Vec<FieldError>,
    ) -> Option<Self> {
        let path = path.into();
        let Value::Object(members) = value else {
            problems.push(FieldError::new(path, format!("must be a mapping, not {}", kind(value))));
            return None;
        };
        let object = Self { path, members };
        for (name, value) in members {
            if known.unsupported.contains(&name.as_str()) && !value.is_null() {
                problems.push(FieldError::new(object.at(name), unsupported(name)));
            } else if !known.fields.contains(&name.as_str())
                && !known.unsupported.contains(&name.as_str())
            {
                problems.push(FieldError::new(object.at(name), unknown(name, known.fields)));
            }
        }
        Some(object)
    }

    /// The path of the field `name`.
    pub(crate) fn at(&self, name: &str) -> String {
        member(&self.path, name)
    }

    /// The field, when it is there.
    pub(crate) fn get(&self, name: &str) -> Option<&'v Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    /// The field, or a problem.
    pub(crate) fn required(&self, name: &str, problems: &mut Vec<FieldError>) -> Option<&'v Value> {
        let value = self.get(name);
        if value.is_none() {
            problems.push(FieldError::new(self.at(name), "is missing"));
        }
        value
    }

    /// The field as a mapping, when it is there.
    pub(crate) fn object(
        &self,
        name: &str,
        known: &Known,
        problems: &mut Vec<FieldError>,
    ) -> Option<Self> {
        Self::open(self.at(name), self.get(name)?, known, problems)
    }

    /// The elements of a list, each with its path; none when the field is not there.
    pub(crate) fn list(
        &self,
        name: &str,
        problems: &mut Vec<FieldError>,
    ) -> impl Iterator<Item = (String, &'v Value)> + use<'v> {
        let path = self.at(name);
        let elements = match self.get(name) {
            None => &[],
            Some(Value::Array(elements)) => elements.as_slice(),
            Some(other) => {
                let message = format!("must be a list, not {}", kind(other));
                problems.push(FieldError::new(path.as_str(), message));
                &[]
            }
        };
        elements.iter().enumerate().map(move |(index, value)| (format!("{path}[{index}]"), value))
    }

    /// The field as text.
    pub(crate) fn text(&self, name: &str, problems: &mut Vec<FieldError>) -> Option<&'v str> {
        text(&self.at(name), self.get(name)?, problems)
    }

    /// The field as text that `parse` understands.
    pub(crate) fn parsed<T, E: Display>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
        problems: &mut Vec<FieldError>,
    ) -> Option<T> {
        let text = self.text(name, problems)?;
        noted(self.at(name), parse(text).map_err(|error| error.to_string()), problems)
    }

    /// The field as a mapping of texts; empty when it is not there.
    pub(crate) fn texts(
        &self,
        name: &str,
        problems: &mut Vec<FieldError>,
    ) -> BTreeMap<String, String> {
        let path = self.at(name);
        let members = match self.get(name) {
            None => return BTreeMap::new(),
            Some(Value::Object(members)) => members,
            Some(_) => {
                problems.push(FieldError::new(path, "must be a mapping of texts"));
                return BTreeMap::new();
            }
        };
        let mut texts = BTreeMap::new();
        for (key, value) in members {
            if let Some(text) = text(&member(&path, key), value, problems) {
                texts.insert(key.clone(), text.to_owned());
            }
        }
        texts
    }

    /// The field as `true` or `false`.
    pub(crate) fn flag(&self, name: &str, problems: &mut Vec<FieldError>) -> Option<bool> {
        let value = self.get(name)?;
        let flag = value
            .as_bool()
            .ok_or_else(|| format!("must be `true` or `false`, not {}", kind(value)));
        noted(self.at(name), flag, problems)
    }

    /// The field as a whole number within `bounds`.
    pub(crate) fn count(
        &self,
        name: &str,
        bounds: Bounds<u32>,
        problems: &mut Vec<FieldError>,
    ) -> Option<u32> {
        let value = self.get(name)?;
        let count = match value {
            Value::Number(number) if !number.is_f64() => number
                .as_u64()
                .and_then(|count| u32::try_from(count).ok())
                .ok_or_else(|| outside(number, bounds, |count| count.to_string()))
                .and_then(|count| within(count, bounds, |count| count.to_string())),
            _ => Err(format!("must be a whole number, not {}", kind(value))),
        };
        noted(self.at(name), count, problems)
    }

    /// The field as a size in bytes within `bounds`: a quantity, or a number of bytes.
    pub(crate) fn size(
        &self,
        name: &str,
        bounds: Bounds<u64>,
        problems: &mut Vec<FieldError>,
    ) -> Option<u64> {
        let text = self.quantity(name, problems)?;
        let size = quantity::parse_bytes(&text)
            .map_err(|error| error.to_string())
            .and_then(|size| within(size, bounds, quantity::print_bytes));
        noted(self.at(name), size, problems)
    }

    /// The field as a CPU rate within `bounds`: a quantity, or a number of cores.
    pub(crate) fn rate(
        &self,
        name: &str,
        bounds: Bounds<u32>,
        problems: &mut Vec<FieldError>,
    ) -> Option<u32> {
        let text = self.quantity(name, problems)?;
        let rate = quantity::parse_cpu(&text)
            .map_err(|error| error.to_string())
            .and_then(|rate| within(rate, bounds, quantity::print_cpu));
        noted(self.at(name), rate, problems)
    }

    /// The field as a duration within `bounds`.
    pub(crate) fn duration(
        &self,
        name: &str,
        bounds: Bounds<Duration>,
        problems: &mut Vec<FieldError>,
    ) -> Option<Duration> {
        let text = self.quantity(name, problems)?;
        let duration = quantity::parse_duration(&text)
            .map_err(|error| error.to_string())
            .and_then(|duration| within(duration, bounds, quantity::print_duration));
        noted(self.at(name), duration, problems)
    }

    /// A quantity's text; a bare number stands for its digits.
    fn quantity(&self, name: &str, problems: &mut Vec<FieldError>) -> Option<String> {
        match self.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            other => {
                let message = format!("must be a quantity, not {}", kind(other));
                problems.push(FieldError::new(self.at(name), message));
                None
            }
        }
    }
}

/// `value` as text.
pub(crate) fn text<'v>(
    path: &str,
    value: &'v Value,
    problems: &mut Vec<FieldError>,
) -> Option<&'v str> {
    let message = match value {
        Value::String(text) => return Some(text),
        Value::Bool(_) | Value::Number(_) => {
            format!("must be text, not {}; put it in quotes", kind(value))
        }
        _ => format!("must be text, not {}", kind(value)),
    };
    problems.push(FieldError::new(path, message));
    None
}

/// The value, or its error noted under `path`.
pub(crate) fn noted<T>(
    path: String,
    result: Result<T, String>,
    problems: &mut Vec<FieldError>,
) -> Option<T> {
    result.map_err(|message| problems.push(FieldError::new(path, message))).ok()
}

/// The path of the member `name` of what stands at `path`.
pub(crate) fn member(path: &str, name: &str) -> String {
    let plain = !name.is_empty()
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (path, plain) {
        ("", true) => name.to_owned(),
        (_, true) => format!("{path}.{name}"),
        (_, false) => format!("{path}[\"{}\"]", Shown(name)),
    }
}

/// Text of a stranger, shortened and fit for a terminal.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars().take(64) {
            write!(f, "{}", c.escape_debug())?;
        }
        f.write_str(if self.0.chars().nth(64).is_some() { "…" } else { "" })
    }
}

fn unknown(name: &str, known: &[&str]) -> String {
    match meant(name, known.iter().copied()) {
        Some(word) => format!("is not a field of this format; did you mean `{word}`?"),
        None => format!("is not a field of this format; here it has {}", known.join(", ")),
    }
}

fn unsupported(name: &str) -> String {
    format!("`{name}` is part of the format, but is not supported by this version of dhow")
}

fn within<T: PartialOrd + Copy>(
    value: T,
    bounds: Bounds<T>,
    print: impl Fn(T) -> String,
) -> Result<T, String> {
    if value >= bounds.least && value <= bounds.most {
        Ok(value)
    } else {
        Err(outside(print(value), bounds, &print))
    }
}

fn outside<T: Copy>(value: impl Display, bounds: Bounds<T>, print: impl Fn(T) -> String) -> String {
    format!("is {value}; it must be from {} to {}", print(bounds.least), print(bounds.most))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_readable_and_harmless_whatever_the_key() {
        assert_eq!(member("", "spec"), "spec");
        assert_eq!(member("spec", "env"), "spec.env");
        assert_eq!(member("labels", "a.b/c"), "labels[\"a.b/c\"]");
        assert_eq!(member("labels", "\u{1b}[2J"), "labels[\"\\u{1b}[2J\"]");
        assert_eq!(member("a", &"k".repeat(1000)).chars().count(), 64 + 6);
    }
}
