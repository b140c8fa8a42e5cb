//! `spin.toml`, of the manifest versions 1 and 2. Source of the format: `spin_manifest` of Spin 3
//! and 4.

use std::collections::BTreeMap;

use dhow_core::application::{Application, Component, Executor, Trigger, Variable};
use serde_json::{Map, Value};

use super::check::{check, inside};
use super::locked::argv;
use super::{Mount, Mounts, Source, Sources};
use crate::fields::{self, Known, Object, Shown};
use crate::problem::{FieldError, Problems};

/// Bytes of a manifest.
pub const MOST_BYTES: usize = 1 << 20;

const FIRST: Known = Known {
    fields: &[
        "spin_manifest_version",
        "spin_version",
        "name",
        "version",
        "description",
        "authors",
        "trigger",
        "variables",
        "component",
    ],
    unsupported: &[],
};
const SECOND: Known = Known {
    fields: &["spin_manifest_version", "application", "variables", "trigger", "component"],
    unsupported: &[],
};
const APPLICATION: Known = Known {
    fields: &["name", "version", "description", "authors", "trigger", "tool", "targets"],
    unsupported: &[],
};
const VARIABLE: Known = Known { fields: &["required", "default", "secret"], unsupported: &[] };
const TRIGGER: Known =
    Known { fields: &["id", "component", "route", "executor"], unsupported: &["components"] };
const FIRST_TRIGGER: Known = Known { fields: &["route", "executor"], unsupported: &[] };
const COMPONENT: Known = Known {
    fields: &[
        "id",
        "trigger",
        "source",
        "description",
        "variables",
        "config",
        "environment",
        "files",
        "exclude_files",
        "allowed_http_hosts",
        "allowed_outbound_hosts",
        "key_value_stores",
        "sqlite_databases",
        "ai_models",
        "build",
        "tool",
        "targets",
        "dependencies",
        "dependencies_inherit_configuration",
        "profile",
    ],
    unsupported: &[],
};
const SOURCE: Known =
    Known { fields: &["url", "digest"], unsupported: &["registry", "package", "version"] };
const MOUNT: Known = Known { fields: &["source", "destination"], unsupported: &[] };

/// Reads a `spin.toml`.
///
/// # Errors
/// Everything that is wrong with it, or is not provided, by field.
pub fn decode(text: &str) -> Result<Sources, Problems> {
    if text.len() > MOST_BYTES {
        return Err(FieldError::new("", format!("it has more than {MOST_BYTES} bytes")).into());
    }
    let document: Value = toml::from_str(text)
        .map_err(|error| Problems::from(FieldError::new("", format!("it is no TOML: {error}"))))?;
    let mut problems = Vec::new();
    let version = match (&document["spin_manifest_version"], &document["spin_version"]) {
        (Value::Null, version) | (version, _) => version,
    };
    let application = match version {
        Value::String(first) if first == "1" => first_version(&document, &mut problems),
        Value::Number(second) if second.as_u64() == Some(2) => {
            second_version(&document, &mut problems)
        }
        Value::Null => {
            let message = "is missing; it is 2, or \"1\" for the older format";
            return Err(FieldError::new("spin_manifest_version", message).into());
        }
        other => {
            let message = format!("is {other}; the formats 2 and \"1\" are read");
            return Err(FieldError::new("spin_manifest_version", message).into());
        }
    };
    if let Some(application) = &application {
        check(application, "component", &mut problems);
    }
    match application {
        Some(application) if problems.is_empty() => Ok(application),
        _ => Err(Problems { fields: problems }),
    }
}

fn second_version(document: &Value, problems: &mut Vec<FieldError>) -> Option<Sources> {
    let document = Object::open("", document, &SECOND, problems)?;
    let about = document
        .required("application", problems)
        .and_then(|_| document.object("application", &APPLICATION, problems))?;
    let mut application = Application {
        name: about
            .required("name", problems)
            .and_then(|_| about.text("name", problems))?
            .to_owned(),
        version: about.text("version", problems).map(str::to_owned),
        base: base(about.get("trigger").map_or(&Value::Null, |trigger| &trigger["http"])),
        variables: variables(&document, problems),
        components: vec![],
        triggers: vec![],
    };
    for (id, value) in table(&document, "component", problems) {
        let path = fields::member("component", id);
        if let Some(component) = component(&path, id, value, problems) {
            application.components.push(component);
        }
    }
    for (kind, value) in table(&document, "trigger", problems) {
        let path = fields::member("trigger", kind);
        if kind != "http" {
            refuse_trigger(&path, kind, problems);
            continue;
        }
        for (index, value) in value.as_array().map_or(&[][..], Vec::as_slice).iter().enumerate() {
            trigger(&format!("{path}[{index}]"), value, &mut application, problems);
        }
    }
    Some(application)
}

fn trigger(
    path: &str,
    value: &Value,
    application: &mut Sources,
    problems: &mut Vec<FieldError>,
) -> Option<()> {
    let said = Object::open(path, value, &TRIGGER, problems)?;
    let component = match said.required("component", problems)? {
        Value::String(id) => application.component(id).or_else(|| {
            let message = format!("`{}` is no component of the application", Shown(id));
            problems.push(FieldError::new(said.at("component"), message));
            None
        })?,
        inline => {
            // As Spin names them.
            let id = format!("inline-component-{}", application.components.len());
            let id = said.text("id", problems).map_or(id, |id| format!("{id}-component"));
            let component = component(&said.at("component"), &id, inline, problems)?;
            application.components.push(component);
            application.components.len() - 1
        }
    };
    let null = Value::Null;
    let get = |field: &str| said.get(field).unwrap_or(&null);
    let executor = executor(&said.at("executor"), get("executor"), problems);
    set_executor(path, &mut application.components[component].executor, executor, problems);
    let route = route(&said.at("route"), get("route"), problems)?;
    application.triggers.push(Trigger { component, route });
    Some(())
}

fn first_version(document: &Value, problems: &mut Vec<FieldError>) -> Option<Sources> {
    let document = Object::open("", document, &FIRST, problems)?;
    let trigger = document.required("trigger", problems)?;
    match trigger["type"].as_str() {
        Some("http") => {}
        Some(kind) => refuse_trigger("trigger.type", kind, problems),
        None => problems.push(FieldError::new("trigger.type", "is missing")),
    }
    let mut application = Application {
        name: document
            .required("name", problems)
            .and_then(|_| document.text("name", problems))?
            .to_owned(),
        version: document.text("version", problems).map(str::to_owned),
        base: base(trigger),
        variables: variables(&document, problems),
        components: vec![],
        triggers: vec![],
    };
    for (path, value) in document.list("component", problems) {
        let id = value["id"].as_str().unwrap_or_default();
        let Some(mut component) = component(&path, id, value, problems) else { continue };
        let at = format!("{path}.trigger");
        let Some(said) = Object::open(at.as_str(), &value["trigger"], &FIRST_TRIGGER, problems)
        else {
            continue;
        };
        let null = Value::Null;
        let get = |field: &str| said.get(field).unwrap_or(&null);
        component.executor =
            executor(&said.at("executor"), get("executor"), problems).unwrap_or_default();
        let route = route(&said.at("route"), get("route"), problems);
        application.components.push(component);
        if let Some(route) = route {
            let component = application.components.len() - 1;
            application.triggers.push(Trigger { component, route });
        }
    }
    Some(application)
}

fn component(
    path: &str,
    id: &str,
    value: &Value,
    problems: &mut Vec<FieldError>,
) -> Option<Component<Source, Mounts>> {
    let said = Object::open(path, value, &COMPONENT, problems)?;
    for field in ["sqlite_databases", "ai_models"] {
        let lists = texts(&said, field, problems);
        refuse_lists(&said.at(field), field, &lists, problems);
    }
    if let Some(Value::Object(dependencies)) = said.get("dependencies")
        && let Some(name) = dependencies.keys().next()
    {
        refuse_dependency(&said.at("dependencies"), name, problems);
    }
    let build = said.get("build").and_then(|build| match &build["command"] {
        Value::String(command) => Some(command.clone()),
        Value::Array(commands) => {
            Some(commands.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" && "))
        }
        _ => None,
    });
    let source = said
        .required("source", problems)
        .and_then(|value| source(&said.at("source"), value, build, problems));
    let mut own = pairs(&said, "variables", problems);
    own.extend(pairs(&said, "config", problems));
    let mut outbound = texts(&said, "allowed_outbound_hosts", problems);
    outbound.extend(outbound_of_http(&texts(&said, "allowed_http_hosts", problems)));
    let files = Mounts {
        mounts: mounts(&said, problems),
        exclude: texts(&said, "exclude_files", problems),
    };
    Some(Component {
        id: id.to_owned(),
        source: source?,
        files,
        env: pairs(&said, "environment", problems),
        variables: own,
        outbound,
        stores: texts(&said, "key_value_stores", problems),
        executor: Executor::Http,
    })
}

fn source(
    path: &str,
    value: &Value,
    build: Option<String>,
    problems: &mut Vec<FieldError>,
) -> Option<Source> {
    if let Value::String(file) = value {
        return Some(Source::Path { path: file.clone(), build });
    }
    if value.get("package").is_some() {
        let message = "is a package of a registry, which is not fetched here; push the application \
                       with `spin registry push` and deploy the image";
        problems.push(FieldError::new(path, message));
        return None;
    }
    let said = Object::open(path, value, &SOURCE, problems)?;
    let url = said.required("url", problems).and_then(|_| said.text("url", problems))?.to_owned();
    if !url.starts_with("https://") && !url.starts_with("http://") {
        problems.push(FieldError::new(said.at("url"), "is no URL of http or https"));
    }
    let digest = said
        .required("digest", problems)
        .and_then(|_| said.parsed("digest", str::parse, problems))?;
    Some(Source::Url { url, digest })
}

fn mounts(said: &Object<'_>, problems: &mut Vec<FieldError>) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for (path, value) in said.list("files", problems) {
        let mount = match value {
            Value::String(pattern) => {
                check_inside(&path, pattern, problems);
                Some(Mount::Pattern(pattern.clone()))
            }
            value => Object::open(path.as_str(), value, &MOUNT, problems).and_then(|said| {
                let mut text = |field: &str| {
                    said.required(field, problems)?;
                    let text = said.text(field, problems)?.to_owned();
                    check_inside(&said.at(field), &text, problems);
                    Some(text)
                };
                let (source, destination) = (text("source"), text("destination"));
                Some(Mount::Placed { source: source?, destination: destination? })
            }),
        };
        mounts.extend(mount);
    }
    mounts
}

fn check_inside(path: &str, text: &str, problems: &mut Vec<FieldError>) {
    if let Err(why) = inside(text) {
        problems.push(FieldError::new(path, why));
    }
}

fn variables(document: &Object<'_>, problems: &mut Vec<FieldError>) -> BTreeMap<String, Variable> {
    let mut variables = BTreeMap::new();
    for (name, value) in table(document, "variables", problems) {
        let path = fields::member("variables", name);
        let Some(said) = Object::open(path.as_str(), value, &VARIABLE, problems) else { continue };
        let required = said.flag("required", problems).unwrap_or_default();
        let default = said.text("default", problems).map(str::to_owned);
        if required == default.is_some() {
            let message = "has either `required = true` or a `default`";
            problems.push(FieldError::new(path, message));
        }
        let secret = said.flag("secret", problems).unwrap_or_default();
        variables.insert(name.clone(), Variable { default, secret });
    }
    variables
}

/// What Spin's older field stands for in the newer one.
pub(super) fn outbound_of_http(hosts: &[String]) -> Vec<String> {
    let mut outbound = Vec::new();
    for host in hosts {
        match host.as_str() {
            "insecure:allow-all" => {
                outbound.extend(["http://*:*", "https://*:*", "http://self"].map(str::to_owned));
            }
            "self" => outbound.push("http://self".to_owned()),
            host if host.contains("://") => outbound.push(host.to_owned()),
            host => outbound.extend([format!("http://{host}"), format!("https://{host}")]),
        }
    }
    outbound
}

/// A trigger's route; `Some(None)` is a private one.
pub(super) fn route(
    path: &str,
    value: &Value,
    problems: &mut Vec<FieldError>,
) -> Option<Option<String>> {
    match value {
        Value::String(route) => Some(Some(route.clone())),
        Value::Object(said) if said.get("private") == Some(&Value::Bool(true)) => Some(None),
        Value::Null => {
            problems.push(FieldError::new(path, "is missing"));
            None
        }
        _ => {
            problems.push(FieldError::new(path, "must be text, or `{ private = true }`"));
            None
        }
    }
}

pub(super) fn executor(
    path: &str,
    value: &Value,
    problems: &mut Vec<FieldError>,
) -> Option<Executor> {
    let refused = |message: String| FieldError::new(path, message);
    match (value, value["type"].as_str()) {
        (Value::Null, _) => None,
        (_, Some("http" | "spin")) => Some(Executor::Http),
        (_, Some("wagi")) => {
            if let Some(entry) = value["entrypoint"].as_str().filter(|entry| *entry != "_start") {
                let entry = Shown(entry);
                problems.push(refused(format!("begins at `{entry}`; programs begin at `_start`")));
            }
            Some(Executor::Wagi { argv: argv(value["argv"].as_str()) })
        }
        (_, kind) => {
            let kind = kind.unwrap_or_default();
            problems.push(refused(format!("`{}` is not one of http, spin, wagi", Shown(kind))));
            None
        }
    }
}

/// A component is called in one way, whatever leads to it.
pub(super) fn set_executor(
    path: &str,
    executor: &mut Executor,
    said: Option<Executor>,
    problems: &mut Vec<FieldError>,
) {
    match said {
        Some(said) if *executor == Executor::Http => *executor = said,
        Some(said) if said != *executor => {
            let message = "calls its component in another way than the trigger before it";
            problems.push(FieldError::new(format!("{path}.executor"), message));
        }
        _ => {}
    }
}

pub(super) fn refuse_trigger(path: &str, kind: &str, problems: &mut Vec<FieldError>) {
    let message = format!("the trigger `{}` is not provided here; `http` is", Shown(kind));
    problems.push(FieldError::new(path, message));
}

pub(super) fn refuse_lists(
    path: &str,
    field: &str,
    lists: &[String],
    problems: &mut Vec<FieldError>,
) {
    if lists.is_empty() {
        return;
    }
    let what = if field == "ai_models" { "language models" } else { "SQLite databases" };
    problems
        .push(FieldError::new(path, format!("{what} are not provided by this version of dhow")));
}

pub(super) fn refuse_dependency(path: &str, name: &str, problems: &mut Vec<FieldError>) {
    let message = format!(
        "`{}` is to be composed into the component, which is not done here; `spin registry push` \
         does it: deploy the image that it makes",
        Shown(name)
    );
    problems.push(FieldError::new(path, message));
}

fn base(trigger: &Value) -> String {
    trigger["base"].as_str().unwrap_or("/").to_owned()
}

fn table<'v>(
    object: &Object<'v>,
    field: &str,
    problems: &mut Vec<FieldError>,
) -> impl Iterator<Item = (&'v String, &'v Value)> + use<'v> {
    let members: Option<&Map<String, Value>> = match object.get(field) {
        None => None,
        Some(Value::Object(members)) => Some(members),
        Some(_) => {
            problems.push(FieldError::new(object.at(field), "must be a table"));
            None
        }
    };
    members.into_iter().flatten()
}

fn texts(said: &Object<'_>, field: &str, problems: &mut Vec<FieldError>) -> Vec<String> {
    let list: Vec<_> = said.list(field, problems).collect();
    let text =
        |(path, value): &(String, &Value)| fields::text(path, value, problems).map(str::to_owned);
    list.iter().filter_map(text).collect()
}

fn pairs(
    said: &Object<'_>,
    field: &str,
    problems: &mut Vec<FieldError>,
) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    for (name, value) in table(said, field, problems) {
        let path = fields::member(&said.at(field), name);
        if let Some(text) = fields::text(&path, value, problems) {
            pairs.insert(name.clone(), text.to_owned());
        }
    }
    pairs
}
