//! A function that is deployed, as `GET /system/functions` tells of it.

use dhow_core::function::Deployed;
use dhow_core::metadata::Metadata;
use serde_json::{Map, Value, json};

use super::extra::Extra;
use super::scaling::{Load, Scaling};
use super::{MARK, shown};

/// What is known of a function besides what was deployed.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Calls that ended since this server began.
    pub calls: u64,
    /// What it does now; what was asked for is filled in from the function itself.
    pub load: Load,
    /// When it was deployed (RFC 3339), where that is known.
    pub created: Option<String>,
}

/// How a function that is deployed scales.
pub fn scaling(function: &Deployed) -> Scaling {
    let none = Metadata::default();
    let metadata = function.metadata.as_deref().unwrap_or(&none);
    Scaling::of(metadata, &function.revision.template)
}

/// How many replicas a function has that does this; what was asked for is its own to say.
pub fn replicas(function: &Deployed, load: Load) -> u32 {
    let scaled = extra(function).and_then(|extra| extra.scaled);
    scaling(function).replicas(&Load { scaled, ..load })
}

fn extra(function: &Deployed) -> Option<Extra> {
    let mark = function.metadata.as_deref()?.annotations.get(MARK)?;
    Some(Extra::decode(mark))
}

/// The JSON of a function's status. What is nothing or 0 is left out, as OpenFaaS does it.
pub fn status(function: &Deployed, seen: &Seen) -> Value {
    let none = Metadata::default();
    let metadata = function.metadata.as_deref().unwrap_or(&none);
    let extra = extra(function).unwrap_or_default();
    let revision = &function.revision;
    let template = &revision.template;
    let image = match (extra.image.as_str(), &revision.image) {
        ("", Some(image)) => image.reference.clone(),
        ("", None) => revision.digest.to_string(),
        (image, _) => image.to_owned(),
    };
    let replicas = replicas(function, seen.load);
    let annotations = metadata.annotations.iter().filter(|(name, _)| *name != MARK);
    let annotations: Map<_, _> =
        annotations.map(|(name, text)| (name.clone(), json!(text))).collect();
    let env: Map<_, _> =
        template.env.iter().map(|(name, text)| (name.clone(), json!(text))).collect();

    let mut status = Map::new();
    let mut say = |name: &str, value: Value| drop(status.insert(name.to_owned(), value));
    say("name", json!(function.name.name.as_str()));
    say("image", json!(image));
    say("namespace", json!(shown(&function.name.namespace)));
    if let Some(process) = extra.process {
        say("envProcess", json!(process));
    }
    if !env.is_empty() {
        say("envVars", Value::Object(env));
    }
    for (name, list) in [("constraints", extra.constraints), ("secrets", extra.secrets)] {
        if !list.is_empty() {
            say(name, json!(list));
        }
    }
    say("labels", json!(metadata.labels));
    say("annotations", Value::Object(annotations));
    for (name, resources) in [("limits", extra.limits), ("requests", extra.requests)] {
        if let Some(resources) = resources.encode() {
            say(name, resources);
        }
    }
    say("readOnlyRootFilesystem", json!(extra.read_only));
    if seen.calls > 0 {
        say("invocationCount", json!(seen.calls));
    }
    if replicas > 0 {
        say("replicas", json!(replicas));
        say("availableReplicas", json!(replicas));
    }
    if let Some(created) = &seen.created {
        say("createdAt", json!(created));
    }
    Value::Object(status)
}
