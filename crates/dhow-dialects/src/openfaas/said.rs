//! A function as somebody says it, in whichever of OpenFaaS' formats.

use std::collections::BTreeMap;

use dhow_core::limits::{CPU_MILLIS, MEMORY};
use dhow_core::name::Label;
use serde_json::Value;

use super::extra::Resources;
use crate::fields::{self, Known, Object, Shown};
use crate::problem::FieldError;

/// What a format calls the fields that are not called the same in all of them.
pub(super) struct Words {
    pub(super) process: &'static str,
    pub(super) env: &'static str,
    pub(super) read_only: &'static str,
}

/// The fields, read but not yet understood, with the paths under which problems are told.
pub(super) struct Said {
    pub(super) image: Option<String>,
    pub(super) process: Option<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) env_path: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) labels_path: String,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) annotations_path: String,
    pub(super) constraints: Vec<String>,
    pub(super) secrets: Vec<Label>,
    pub(super) limits: Resources,
    /// Bytes.
    pub(super) memory: Option<u64>,
    pub(super) cpu_millis: Option<u32>,
    pub(super) requests: Resources,
    pub(super) read_only: bool,
}

const RESOURCES: Known = Known {
    fields: &["memory", "cpu"],
    unsupported: &["nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu"],
};

/// Reads what `object` says of a function.
pub(super) fn read(object: &Object<'_>, words: &Words, problems: &mut Vec<FieldError>) -> Said {
    let limits = object.object("limits", &RESOURCES, problems);
    let requests = object.object("requests", &RESOURCES, problems);
    let memory = limits.as_ref().and_then(|limits| said_memory(limits, problems));
    let cpu_millis = limits.as_ref().and_then(|limits| said_rate(limits, problems));
    if let Some(requests) = &requests {
        said_memory(requests, problems);
        said_rate(requests, problems);
    }
    let env = scalars(object, words.env, problems);
    check_variables(&object.at(words.env), &env, problems);
    Said {
        image: image(object, problems),
        process: object.text(words.process, problems).map(str::to_owned),
        env,
        env_path: object.at(words.env),
        labels: scalars(object, "labels", problems),
        labels_path: object.at("labels"),
        annotations: scalars(object, "annotations", problems),
        annotations_path: object.at("annotations"),
        constraints: texts(object, "constraints", problems),
        secrets: secrets(object, problems),
        limits: limits.as_ref().map(resources).unwrap_or_default(),
        memory,
        cpu_millis,
        requests: requests.as_ref().map(resources).unwrap_or_default(),
        read_only: object.flag(words.read_only, problems).unwrap_or_default(),
    }
}

/// An empty text is a resource that nobody spoke of: clients send both.
fn is_said(object: &Object<'_>, name: &str) -> bool {
    object.get(name).is_some_and(|value| value.as_str() != Some(""))
}

fn said_memory(said: &Object<'_>, problems: &mut Vec<FieldError>) -> Option<u64> {
    is_said(said, "memory").then(|| said.size("memory", MEMORY, problems)).flatten()
}

fn said_rate(said: &Object<'_>, problems: &mut Vec<FieldError>) -> Option<u32> {
    is_said(said, "cpu").then(|| said.rate("cpu", CPU_MILLIS, problems)).flatten()
}

fn resources(said: &Object<'_>) -> Resources {
    let text = |name| said.get(name).and_then(scalar).filter(|text| !text.is_empty());
    Resources { memory: text("memory"), cpu: text("cpu") }
}

/// What a reference is made of is judged by whoever pulls it.
fn image(object: &Object<'_>, problems: &mut Vec<FieldError>) -> Option<String> {
    object.required("image", problems)?;
    let parse = |text: &str| match text {
        "" => Err("is empty; it is HOST/PATH:TAG"),
        _ if text.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Err("has a blank in it; it is HOST/PATH:TAG")
        }
        _ => Ok(text.to_owned()),
    };
    object.parsed("image", parse, problems)
}

/// Notes the names and values that no environment can hold.
pub(super) fn check_variables(
    path: &str,
    variables: &BTreeMap<String, String>,
    problems: &mut Vec<FieldError>,
) {
    for (name, value) in variables {
        let message = match (name.as_str(), value) {
            ("", _) => "a variable has a name",
            (name, _) if name.contains(['=', '\0']) => "a variable's name has no `=` and no NUL",
            (_, value) if value.contains('\0') => "has a NUL in it",
            _ => continue,
        };
        problems.push(FieldError::new(fields::member(path, name), message));
    }
}

/// A mapping whose values are texts, or numbers and truths that mean their text, as Go reads YAML.
pub(super) fn scalars(
    object: &Object<'_>,
    name: &str,
    problems: &mut Vec<FieldError>,
) -> BTreeMap<String, String> {
    let path = object.at(name);
    let members = match object.get(name) {
        None => return BTreeMap::new(),
        Some(Value::Object(members)) => members,
        Some(_) => {
            problems.push(FieldError::new(path, "must be a mapping of texts"));
            return BTreeMap::new();
        }
    };
    let mut all = BTreeMap::new();
    for (key, value) in members {
        match scalar(value) {
            Some(text) => drop(all.insert(key.clone(), text)),
            None => {
                problems.push(FieldError::new(fields::member(&path, key), "must be text"));
            }
        }
    }
    all
}

/// The text of a value that has one. `null` is the empty text, as Go reads YAML.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// A list of texts.
pub(super) fn texts(
    object: &Object<'_>,
    name: &str,
    problems: &mut Vec<FieldError>,
) -> Vec<String> {
    let mut all = Vec::new();
    for (path, value) in object.list(name, problems) {
        all.extend(fields::text(&path, value, problems).map(str::to_owned));
    }
    all
}

fn secrets(object: &Object<'_>, problems: &mut Vec<FieldError>) -> Vec<Label> {
    let mut secrets = Vec::new();
    for (path, value) in object.list("secrets", problems) {
        let Some(text) = fields::text(&path, value, problems) else { continue };
        match text.parse::<Label>() {
            Ok(name) if secrets.contains(&name) => {}
            Ok(name) => secrets.push(name),
            Err(error) => {
                problems.push(FieldError::new(path, format!("`{}`: {error}", Shown(text))));
            }
        }
    }
    secrets
}
