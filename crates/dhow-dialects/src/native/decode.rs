//! A document as a Function, or everything that is wrong with it.

use dhow_core::abi::{Abi, Io};
use dhow_core::function::{Function, ImageSource, Source, Template};
use dhow_core::limits::ARGS_AND_ENV;
use dhow_core::metadata::{MOST_METADATA, Metadata};
use dhow_core::name::{FunctionName, Label};
use serde_json::Value;

use super::access::access;
use super::limits::{limits, reuse};
use super::routes::routes;
use super::{API_VERSION, KIND, asynchronous, grants, key_value};
use crate::fields::{self, Known, Object, Shown};
use crate::problem::FieldError;

const DOCUMENT: Known =
    Known { fields: &["apiVersion", "kind", "metadata", "spec"], unsupported: &[] };
const METADATA: Known =
    Known { fields: &["name", "namespace", "labels", "annotations"], unsupported: &[] };
const SPEC: Known = Known {
    fields: &[
        "source",
        "abi",
        "io",
        "args",
        "env",
        "limits",
        "reuse",
        "async",
        "routes",
        "auth",
        "cors",
        "rateLimit",
        "keyValue",
        "placement",
        "network",
        "secrets",
    ],
    unsupported: &["mounts", "triggers", "scale"],
};
const SOURCE: Known = Known {
    fields: &["path", "blob", "program", "image", "pullSecrets", "command"],
    unsupported: &[],
};
/// The ways in which a source says where the code is; one of them holds.
const PLACES: [&str; 3] = ["path", "blob", "image"];
/// Bytes of an image's reference.
const MOST_REFERENCE: usize = 1024;
const VARIABLE: Known = Known { fields: &["name", "value"], unsupported: &[] };

/// Reads one document. One that names no namespace means the default one.
///
/// # Errors
/// Every field that is wrong, in no promised order, and at least one.
pub fn decode(document: &Value) -> Result<Function, Vec<FieldError>> {
    decode_in(document, &Label::default_namespace())
}

/// [`decode`], where no namespace means `namespace`.
pub(crate) fn decode_in(document: &Value, namespace: &Label) -> Result<Function, Vec<FieldError>> {
    let mut problems = Vec::new();
    match function(document, namespace, &mut problems) {
        Some(function) if problems.is_empty() => Ok(function),
        _ => Err(problems),
    }
}

/// Whether `io` means nothing for guests of this ABI.
pub(super) fn has_no_io(abi: Option<Abi>) -> bool {
    abi == Some(Abi::Http)
}

fn function(
    document: &Value,
    namespace: &Label,
    problems: &mut Vec<FieldError>,
) -> Option<Function> {
    check_kind(document, problems)?;
    let document = Object::open("", document, &DOCUMENT, problems)?;
    let said = document
        .required("metadata", problems)
        .and_then(|_| document.object("metadata", &METADATA, problems));
    let metadata = said.as_ref().map(|said| metadata(said, problems)).unwrap_or_default();
    let name = said.and_then(|said| name(&said, namespace, problems));
    let spec = document
        .required("spec", problems)
        .and_then(|_| document.object("spec", &SPEC, problems))?;
    let source = spec
        .required("source", problems)
        .and_then(|_| spec.object("source", &SOURCE, problems))
        .and_then(|said| source(&said, problems));
    let abi = abi(&spec, problems);
    let template = Template {
        io: io(&spec, abi, problems),
        args: args(&spec, problems),
        env: env(&spec, problems),
        limits: limits(&spec, problems),
        reuse: reuse(&spec, problems),
        asynchronous: asynchronous::decode(&spec, problems),
        stores: key_value::decode(&spec, problems),
        grants: grants::decode(&spec, problems),
    };
    check_args_and_env(&spec, &template, problems);
    check_placement(&spec, problems);
    let routes = routes(&spec, problems);
    let access = access(&spec, problems);
    Some(Function { name: name?, source: source?, abi, template, routes, access, metadata })
}

/// A document of another kind is refused for that alone: its fields are none of ours.
fn check_kind(document: &Value, problems: &mut Vec<FieldError>) -> Option<()> {
    if !document.is_object() {
        let message = format!("the document must be a mapping with `kind: {KIND}` in it");
        problems.push(FieldError::new("", message));
        return None;
    }
    let before = problems.len();
    for (field, right) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        let message = match &document[field] {
            Value::String(said) if said == right => continue,
            Value::String(said) => format!("must be `{right}`, not `{}`", Shown(said)),
            Value::Null => format!("is missing; it must be `{right}`"),
            _ => format!("must be `{right}`"),
        };
        problems.push(FieldError::new(field, message));
    }
    (problems.len() == before).then_some(())
}

fn name(
    metadata: &Object<'_>,
    namespace: &Label,
    problems: &mut Vec<FieldError>,
) -> Option<FunctionName> {
    let name = metadata
        .required("name", problems)
        .and_then(|_| metadata.parsed("name", str::parse::<Label>, problems));
    let namespace = match metadata.get("namespace") {
        None => Some(namespace.clone()),
        Some(_) => metadata.parsed("namespace", str::parse, problems),
    };
    Some(FunctionName { namespace: namespace?, name: name? })
}

fn metadata(said: &Object<'_>, problems: &mut Vec<FieldError>) -> Metadata {
    let metadata = Metadata {
        labels: said.texts("labels", problems),
        annotations: said.texts("annotations", problems),
    };
    let size = metadata.size();
    if size > MOST_METADATA {
        let message =
            format!("labels and annotations hold {size} bytes together; at most {MOST_METADATA}");
        problems.push(FieldError::new(said.at("annotations"), message));
    }
    metadata
}

fn source(said: &Object<'_>, problems: &mut Vec<FieldError>) -> Option<Source> {
    let program = said.parsed("program", program, problems);
    let pull_secrets = pull_secrets(said, problems);
    let command = command(said, problems);
    let mut places = PLACES.into_iter().filter(|place| said.get(place).is_some());
    let place = places.next();
    if let (Some(first), Some(second)) = (place, places.next()) {
        let message = format!("has both `{first}` and `{second}`; the code comes from one place");
        problems.push(FieldError::new(said.at(second), message));
        return None;
    }
    if said.get("program").is_some() && place != Some("blob") {
        let message = "stands beside `blob` only; files and images have their names already";
        problems.push(FieldError::new(said.at("program"), message));
    }
    for field in ["pullSecrets", "command"] {
        if said.get(field).is_some() && place != Some("image") {
            problems.push(FieldError::new(said.at(field), "stands beside `image` only"));
        }
    }
    match place {
        Some("path") => said.parsed("path", path, problems).map(Source::Path),
        Some("blob") => {
            said.parsed("blob", str::parse, problems).map(|digest| Source::Blob { digest, program })
        }
        Some(_) => said
            .parsed("image", image, problems)
            .map(|reference| Source::Image(ImageSource { reference, pull_secrets, command })),
        None => {
            let message = "is missing; it is the file of a module, beside the manifest, or say \
                           `image` with a reference";
            problems.push(FieldError::new(said.at("path"), message));
            None
        }
    }
}

/// What a reference is made of is judged by whoever pulls it.
fn image(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("is empty; it is HOST/PATH:TAG"),
        _ if text.len() > MOST_REFERENCE => Err("is longer than any reference of an image"),
        _ if text.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Err("has a blank in it; it is HOST/PATH:TAG")
        }
        _ => Ok(text.to_owned()),
    }
}

/// The module within an image, and its first arguments.
fn command(said: &Object<'_>, problems: &mut Vec<FieldError>) -> Vec<String> {
    let mut words = Vec::new();
    let mut bytes = 0;
    for (path, value) in said.list("command", problems) {
        let Some(word) = fields::text(&path, value, problems) else { continue };
        bytes += word.len() + 1;
        if word.contains('\0') {
            problems.push(FieldError::new(path, "has a NUL in it"));
        }
        words.push(word.to_owned());
    }
    if bytes > ARGS_AND_ENV {
        let message = format!("has {bytes} bytes; at most {ARGS_AND_ENV}");
        problems.push(FieldError::new(said.at("command"), message));
    }
    if words.first().is_some_and(String::is_empty) {
        problems.push(FieldError::new(said.at("command"), "begins with the module's path"));
    }
    words
}

fn pull_secrets(said: &Object<'_>, problems: &mut Vec<FieldError>) -> Vec<Label> {
    let mut secrets = Vec::new();
    for (path, value) in said.list("pullSecrets", problems) {
        let Some(text) = fields::text(&path, value, problems) else { continue };
        match text.parse() {
            Ok(name) => secrets.push(name),
            Err(error) => problems.push(FieldError::new(path, format!("{error}"))),
        }
    }
    secrets
}

fn path(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("is empty; it is the file of a module"),
        _ if text.contains('\0') => Err("has a NUL in it"),
        _ => Ok(text.to_owned()),
    }
}

/// It becomes `argv[0]`, so it has to be a file name.
fn program(text: &str) -> Result<String, &'static str> {
    let is_name = (1..=255).contains(&text.len()) && !text.contains(['/', '\0']);
    if is_name { Ok(text.to_owned()) } else { Err("must be a file name of 1 to 255 bytes") }
}

fn abi(spec: &Object<'_>, problems: &mut Vec<FieldError>) -> Option<Abi> {
    let parse = |text: &str| match text {
        "auto" => Ok(None),
        _ => match text.parse() {
            Ok(abi @ (Abi::Http | Abi::Command)) => Ok(Some(abi)),
            Ok(abi @ (Abi::Spin | Abi::Actor | Abi::Server)) => Err(format!(
                "`{abi}` is part of the format, but is not supported by this version of dhow"
            )),
            Err(_) => Err(format!("`{}` is not one of auto, http, command", Shown(text))),
        },
    };
    spec.parsed("abi", parse, problems).flatten()
}

fn io(spec: &Object<'_>, abi: Option<Abi>, problems: &mut Vec<FieldError>) -> Io {
    if has_no_io(abi) && spec.get("io").is_some() {
        let message = "says how a command is called, and `abi` is not `command`";
        problems.push(FieldError::new(spec.at("io"), message));
    }
    let parse = |text: &str| {
        text.parse::<Io>()
            .map_err(|error| format!("`{}` is not one of {}", Shown(text), error.expected))
    };
    spec.parsed("io", parse, problems).unwrap_or_default()
}

fn args(spec: &Object<'_>, problems: &mut Vec<FieldError>) -> Vec<String> {
    let mut args = Vec::new();
    for (path, value) in spec.list("args", problems) {
        let Some(text) = fields::text(&path, value, problems) else { continue };
        if text.contains('\0') {
            problems.push(FieldError::new(path, "has a NUL in it"));
        } else {
            args.push(text.to_owned());
        }
    }
    args
}

fn env(spec: &Object<'_>, problems: &mut Vec<FieldError>) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (path, value) in spec.list("env", problems) {
        let Some(said) = Object::open(path, value, &VARIABLE, problems) else { continue };
        let name = said
            .required("name", problems)
            .and_then(|_| said.parsed("name", variable_name, problems));
        // Kubernetes' rule: a variable without a value is empty.
        let value = match said.get("value") {
            None => Some(String::new()),
            Some(_) => said.parsed("value", variable_value, problems),
        };
        let (Some(name), Some(value)) = (name, value) else { continue };
        if seen.insert(name.clone()) {
            env.push((name, value));
        } else {
            let message = format!("`{}` stands here twice", Shown(&name));
            problems.push(FieldError::new(said.at("name"), message));
        }
    }
    env
}

fn variable_name(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("is empty"),
        _ if text.contains(['=', '\0']) => Err("may not hold `=` or NUL"),
        _ => Ok(text.to_owned()),
    }
}

fn variable_value(text: &str) -> Result<String, &'static str> {
    if text.contains('\0') { Err("has a NUL in it") } else { Ok(text.to_owned()) }
}

fn check_args_and_env(spec: &Object<'_>, template: &Template, problems: &mut Vec<FieldError>) {
    let args = template.args.iter().map(|arg| arg.len() + 1);
    let env = template.env.iter().map(|(name, value)| name.len() + value.len() + 2);
    let (args, env) = (args.sum::<usize>(), env.sum::<usize>());
    if args + env > ARGS_AND_ENV {
        let field = if args > env { "args" } else { "env" };
        let message =
            format!("args and env hold {} bytes together; at most {ARGS_AND_ENV}", args + env);
        problems.push(FieldError::new(spec.at(field), message));
    }
}

fn check_placement(spec: &Object<'_>, problems: &mut Vec<FieldError>) {
    let parse = |text: &str| match text {
        "pool" => Ok(()),
        "pod" => Err("`pod` is part of the format, but is not supported by this version of dhow"),
        _ => Err("must be `pool`"),
    };
    spec.parsed("placement", parse, problems);
}
