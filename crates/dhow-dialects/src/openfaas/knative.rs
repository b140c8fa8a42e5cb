//! `Service` documents of serving.knative.dev/v1, as far as
//! `faas-cli generate --api=serving.knative.dev/v1` writes them.

use std::collections::BTreeMap;

use dhow_core::name::{FunctionName, Label};
use serde_json::{Map, Value, json};

use super::crd::{METADATA, namespace_of};
use super::meaning::{Meant, meaning};
use super::said::{self, Words};
use crate::fields::{self, Known, Object};
use crate::problem::FieldError;

/// The `apiVersion` of Knative's services.
pub const API_VERSION: &str = "serving.knative.dev/v1";
const KIND: &str = "Service";
/// Where OpenFaaS' functions find their secrets.
const SECRETS: &str = "/var/openfaas/secrets/";

const fn known(fields: &'static [&'static str]) -> Known {
    Known { fields, unsupported: &[] }
}
const DOCUMENT: Known = known(&["apiVersion", "kind", "metadata", "spec", "status"]);
const SPEC: Known = known(&["template"]);
const TEMPLATE: Known = known(&["metadata", "spec"]);
const POD: Known = known(&["containers", "volumes"]);
const CONTAINER: Known = known(&["name", "image", "env", "volumeMounts"]);
const VARIABLE: Known = known(&["name", "value"]);
const MOUNT: Known = known(&["name", "mountPath", "readOnly"]);
const VOLUME: Known = known(&["name", "secret"]);
const SECRET: Known = known(&["secretName"]);
const WORDS: Words = Words { process: "process", env: "environment", read_only: "readOnly" };

/// Reads one document. One that names no namespace means `namespace`.
pub(crate) fn parse(
    document: &Value,
    namespace: &Label,
    problems: &mut Vec<FieldError>,
) -> Option<Meant> {
    if document["kind"] != KIND {
        problems.push(FieldError::new("kind", format!("must be `{KIND}`")));
        return None;
    }
    let document = Object::open("", document, &DOCUMENT, problems)?;
    let metadata = document
        .required("metadata", problems)
        .and_then(|_| document.object("metadata", &METADATA, problems))?;
    let name = metadata
        .required("name", problems)
        .and_then(|_| metadata.parsed("name", str::parse::<Label>, problems));
    let namespace = namespace_of(&metadata, namespace, problems);
    let pod = document
        .required("spec", problems)
        .and_then(|_| document.object("spec", &SPEC, problems))
        .and_then(|spec| spec.object("template", &TEMPLATE, problems))
        .and_then(|template| template.object("spec", &POD, problems))?;
    let containers: Vec<_> = pod.list("containers", problems).collect();
    let [(path, container)] = containers.as_slice() else {
        let message = format!("has {} containers; a function is one", containers.len());
        problems.push(FieldError::new(pod.at("containers"), message));
        return None;
    };
    let container = Object::open(path.as_str(), container, &CONTAINER, problems)?;
    let secrets = secrets(&pod, &container, problems);
    let env = env(&container, problems);
    // What is said of a pod, in the words of a function.
    let function = json!({"image": container.get("image"), "environment": env, "secrets": secrets});
    let all = known(&["image", "environment", "secrets"]);
    let function = Object::open(path.as_str(), &function, &all, problems)?;
    let said = said::read(&function, &WORDS, problems);
    let name = namespace.zip(name).map(|(namespace, name)| FunctionName { namespace, name });
    meaning(name, said, problems)
}

fn env(container: &Object<'_>, problems: &mut Vec<FieldError>) -> Map<String, Value> {
    let mut env = Map::new();
    for (path, value) in container.list("env", problems) {
        let Some(said) = Object::open(path, value, &VARIABLE, problems) else { continue };
        let Some(name) = said.required("name", problems).and_then(Value::as_str) else { continue };
        let value = said.get("value").cloned().unwrap_or_else(|| json!(""));
        env.insert(name.to_owned(), value);
    }
    env
}

/// Secrets that are mounted where OpenFaaS mounts them.
fn secrets(
    pod: &Object<'_>,
    container: &Object<'_>,
    problems: &mut Vec<FieldError>,
) -> Vec<String> {
    let mut volumes = BTreeMap::new();
    for (path, value) in pod.list("volumes", problems) {
        let Some(volume) = Object::open(path, value, &VOLUME, problems) else { continue };
        let secret = volume
            .required("secret", problems)
            .and_then(|_| volume.object("secret", &SECRET, problems));
        let named = secret.and_then(|secret| secret.text("secretName", problems));
        if let (Some(name), Some(secret)) = (volume.text("name", problems), named) {
            volumes.insert(name, secret);
        }
    }
    let mut secrets = vec![];
    for (path, value) in container.list("volumeMounts", problems) {
        let Some(mount) = Object::open(path.as_str(), value, &MOUNT, problems) else { continue };
        let name = mount.text("name", problems).unwrap_or_default();
        let place = mount.text("mountPath", problems).unwrap_or_default();
        match volumes.get(name) {
            Some(secret) if place.starts_with(SECRETS) => secrets.push((*secret).to_owned()),
            _ => {
                let message = format!("only secrets are mounted, below {SECRETS}");
                problems.push(FieldError::new(fields::member(&path, "mountPath"), message));
            }
        }
    }
    secrets
}
