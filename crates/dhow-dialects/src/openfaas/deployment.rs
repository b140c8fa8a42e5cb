//! The body of `POST` and `PUT /system/functions`: one function as JSON.

use dhow_core::name::FunctionName;

use super::meaning::{Meant, meaning};
use super::said::{self, Words};
use crate::document;
use crate::fields::{Known, Object};
use crate::problem::{FieldError, Problems};

const DEPLOYMENT: Known = Known {
    fields: &[
        "service",
        "image",
        "namespace",
        "envProcess",
        "envVars",
        "constraints",
        "secrets",
        "labels",
        "annotations",
        "limits",
        "requests",
        "readOnlyRootFilesystem",
        // Old clients send them, and nobody reads them.
        "registryAuth",
        "network",
    ],
    unsupported: &[],
};
const WORDS: Words =
    Words { process: "envProcess", env: "envVars", read_only: "readOnlyRootFilesystem" };

/// Reads a deployment.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str) -> Result<Meant, Problems> {
    let documents = document::parse(text)?;
    let [value] = documents.as_slice() else {
        return Err(FieldError::new("", "the body must be one JSON object").into());
    };
    let mut problems = vec![];
    let meant = Object::open("", value, &DEPLOYMENT, &mut problems)
        .and_then(|object| deployment(&object, &mut problems));
    match meant {
        Some(meant) if problems.is_empty() => Ok(meant),
        _ => Err(Problems { fields: problems }),
    }
}

fn deployment(object: &Object<'_>, problems: &mut Vec<FieldError>) -> Option<Meant> {
    let said = said::read(object, &WORDS, problems);
    let name = object
        .required("service", problems)
        .and_then(|_| object.parsed("service", str::parse, problems));
    let namespace = match object.get("namespace") {
        None => super::namespace("").ok(),
        Some(_) => object.parsed("namespace", super::namespace, problems),
    };
    let name = namespace.zip(name).map(|(namespace, name)| FunctionName { namespace, name });
    meaning(name, said, problems)
}
