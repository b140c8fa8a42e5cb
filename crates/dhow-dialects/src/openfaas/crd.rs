//! `Function` documents of openfaas.com/v1, as `faas-cli generate` writes them.

use dhow_core::name::{FunctionName, Label};
use serde_json::Value;

use super::meaning::{Meant, meaning};
use super::said::{self, Words};
use crate::fields::{Known, Object, Shown};
use crate::problem::FieldError;

/// The `apiVersion` of OpenFaaS' documents.
pub const API_VERSION: &str = "openfaas.com/v1";
/// The `kind` of a function's.
pub const KIND: &str = "Function";

const DOCUMENT: Known =
    Known { fields: &["apiVersion", "kind", "metadata", "spec", "status"], unsupported: &[] };
/// The labels and annotations of a document are the cluster's; a function's are in its spec.
pub(super) const METADATA: Known =
    Known { fields: &["name", "namespace", "labels", "annotations"], unsupported: &[] };
const SPEC: Known = Known {
    fields: &[
        "name",
        "image",
        "handler",
        "environment",
        "constraints",
        "secrets",
        "labels",
        "annotations",
        "limits",
        "requests",
        "readOnlyRootFilesystem",
    ],
    unsupported: &[],
};
const WORDS: Words =
    Words { process: "handler", env: "environment", read_only: "readOnlyRootFilesystem" };

/// Reads one document of this group. One that names no namespace means `namespace`.
pub(crate) fn parse(
    document: &Value,
    namespace: &Label,
    problems: &mut Vec<FieldError>,
) -> Option<Meant> {
    match document["kind"].as_str() {
        Some(KIND) => {}
        Some("Profile" | "FunctionIngress") => {
            let message = "places functions on a cluster; on one machine only `Function` has a \
                           meaning";
            problems.push(FieldError::new("kind", message));
            return None;
        }
        other => {
            let message = format!("must be `{KIND}`, not `{}`", Shown(other.unwrap_or_default()));
            problems.push(FieldError::new("kind", message));
            return None;
        }
    }
    let document = Object::open("", document, &DOCUMENT, problems)?;
    let metadata = document
        .required("metadata", problems)
        .and_then(|_| document.object("metadata", &METADATA, problems));
    let spec = document
        .required("spec", problems)
        .and_then(|_| document.object("spec", &SPEC, problems))?;
    let said = said::read(&spec, &WORDS, problems);
    let metadata = metadata?;
    let namespace = namespace_of(&metadata, namespace, problems);
    // OpenFaaS goes by the name in the spec.
    let name = match spec.get("name") {
        Some(_) => spec.parsed("name", str::parse, problems),
        None => metadata
            .required("name", problems)
            .and_then(|_| metadata.parsed("name", str::parse, problems)),
    };
    let name = namespace.zip(name).map(|(namespace, name)| FunctionName { namespace, name });
    meaning(name, said, problems)
}

/// The namespace of a document.
pub(super) fn namespace_of(
    metadata: &Object<'_>,
    otherwise: &Label,
    problems: &mut Vec<FieldError>,
) -> Option<Label> {
    match metadata.get("namespace") {
        None => Some(otherwise.clone()),
        Some(_) => metadata.parsed("namespace", super::namespace, problems),
    }
}
