//! `stack.yml`: the functions of a project, as faas-cli reads them.
//!
//! What only a build needs (`lang`, `handler`, `build_args` and their like) is read past: images
//! are built and pushed before they are deployed.

use std::collections::BTreeMap;

use dhow_core::name::{FunctionName, Label};
use serde_json::Value;

use super::meaning::{Meant, meaning};
use super::said::{self, Said, Words};
use super::substitution;
use crate::document;
use crate::fields::{self, Known, Object, Shown};
use crate::problem::FieldError;

const STACK: Known =
    Known { fields: &["version", "provider", "functions", "configuration"], unsupported: &[] };
const PROVIDER: Known = Known { fields: &["name", "gateway", "network"], unsupported: &[] };
const FUNCTION: Known = Known {
    fields: &[
        "image",
        "fprocess",
        "environment",
        "environment_file",
        "secrets",
        "constraints",
        "labels",
        "annotations",
        "limits",
        "requests",
        "readonly_root_filesystem",
        "namespace",
        // Of builds.
        "lang",
        "handler",
        "skip_build",
        "build_options",
        "build_args",
        "build_secrets",
        "platforms",
    ],
    unsupported: &[],
};
const WORDS: Words =
    Words { process: "fprocess", env: "environment", read_only: "readonly_root_filesystem" };
const ENVIRONMENT_FILE: Known = Known { fields: &["environment"], unsupported: &[] };

/// The only provider there is.
const PROVIDER_NAME: &str = "openfaas";

/// What a stack takes from around it.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The namespace of functions that name none.
    pub namespace: &'a Label,
    /// What a variable holds that the text names.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file beside the stack, or why there is none.
    pub file: &'a dyn Fn(&str) -> Result<String, String>,
}

/// Whether a text is a stack: seen before it is read, since its variables are replaced first.
pub(crate) fn is_stack(text: &str) -> bool {
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    has("provider:") && has("functions:")
}

/// The text of a stack with its variables replaced.
pub(crate) fn substitute(text: &str, around: Surroundings<'_>) -> Result<String, Vec<FieldError>> {
    substitution::substitute(text, around.variable)
}

/// Whether a document is a stack.
pub(crate) fn is_document(document: &Value) -> bool {
    document.get("provider").is_some() && document.get("kind").is_none()
}

/// Reads a stack.
pub(crate) fn parse(
    document: &Value,
    around: Surroundings<'_>,
    problems: &mut Vec<FieldError>,
) -> Vec<Meant> {
    let Some(stack) = Object::open("", document, &STACK, problems) else { return vec![] };
    if let Some(provider) = stack.object("provider", &PROVIDER, problems) {
        let check = |name: &str| match name {
            PROVIDER_NAME => Ok(()),
            other => Err(format!("must be `{PROVIDER_NAME}`, not `{}`", Shown(other))),
        };
        provider.required("name", problems);
        provider.parsed("name", check, problems);
    }
    let functions = match stack.required("functions", problems) {
        Some(Value::Object(functions)) => functions,
        Some(_) => {
            problems.push(FieldError::new("functions", "must be a mapping of functions"));
            return vec![];
        }
        None => return vec![],
    };
    let mut all = vec![];
    for (name, value) in functions {
        let path = fields::member("functions", name);
        let Some(object) = Object::open(path.as_str(), value, &FUNCTION, problems) else {
            continue;
        };
        let meant = function(name, &path, &object, around, problems);
        all.extend(meant);
    }
    all
}

fn function(
    name: &str,
    path: &str,
    object: &Object<'_>,
    around: Surroundings<'_>,
    problems: &mut Vec<FieldError>,
) -> Option<Meant> {
    let mut said = said::read(object, &WORDS, problems);
    files(object, &mut said, around, problems);
    let name = name.parse().map_err(|error| format!("`{}`: {error}", Shown(name)));
    let name = fields::noted(path.to_owned(), name, problems);
    let namespace = match object.get("namespace") {
        None => Some(around.namespace.clone()),
        Some(_) => object.parsed("namespace", super::namespace, problems),
    };
    let name = namespace.zip(name).map(|(namespace, name)| FunctionName { namespace, name });
    meaning(name, said, problems)
}

/// Adds the variables of `environment_file`, each file's over those before it and over those of
/// the stack itself.
fn files(
    object: &Object<'_>,
    said: &mut Said,
    around: Surroundings<'_>,
    problems: &mut Vec<FieldError>,
) {
    for (path, value) in object.list("environment_file", problems) {
        let Some(file) = fields::text(&path, value, problems) else { continue };
        let read = (around.file)(file).and_then(|text| variables(&text));
        match read {
            Ok(variables) => said.env.extend(variables),
            Err(message) => {
                problems.push(FieldError::new(path, format!("{}: {message}", Shown(file))));
            }
        }
    }
}

fn variables(text: &str) -> Result<BTreeMap<String, String>, String> {
    let documents = document::parse(text).map_err(|error| error.to_string())?;
    let document = match documents.as_slice() {
        [] => return Ok(BTreeMap::new()),
        [document] => document,
        _ => return Err("has several documents".to_owned()),
    };
    let mut problems = vec![];
    let object = Object::open("", document, &ENVIRONMENT_FILE, &mut problems);
    let variables = object.map(|object| said::scalars(&object, "environment", &mut problems));
    let variables = variables.unwrap_or_default();
    said::check_variables("environment", &variables, &mut problems);
    match problems.first() {
        None => Ok(variables),
        Some(problem) => Err(problem.to_string()),
    }
}
