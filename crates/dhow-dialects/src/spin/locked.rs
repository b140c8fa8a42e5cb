//! Locked applications: the JSON that `spin registry push` writes, of the versions 0 and 1, and
//! what dhow keeps of an application. Source of the format: `spin_locked_app` of Spin 3 and 4.

use std::collections::BTreeMap;

use dhow_core::application::{
    Application, Component, Executor, File, MOST_FILES, Trigger, Variable, WAGI_ARGV,
};
use dhow_core::digest::Digest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::check::{check, inside};
use super::{Locked, manifest};
use crate::problem::{FieldError, Problems};

/// Bytes of a locked application.
pub const MOST_BYTES: usize = 8 << 20;

#[derive(Deserialize)]
struct Document {
    spin_lock_version: u64,
    #[serde(default)]
    must_understand: Vec<String>,
    #[serde(default)]
    host_requirements: BTreeMap<String, Value>,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    variables: BTreeMap<String, LockedVariable>,
    #[serde(default)]
    triggers: Vec<LockedTrigger>,
    #[serde(default)]
    components: Vec<LockedComponent>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    name: String,
    version: Option<String>,
    /// Of applications with one kind of trigger.
    trigger: Option<Global>,
    /// By kind of trigger.
    #[serde(default)]
    triggers: BTreeMap<String, Global>,
}

#[derive(Deserialize)]
struct Global {
    base: Option<String>,
}

#[derive(Deserialize)]
struct LockedVariable {
    default: Option<String>,
    #[serde(default)]
    secret: bool,
}

#[derive(Deserialize)]
struct LockedTrigger {
    #[serde(default)]
    id: String,
    trigger_type: String,
    #[serde(default)]
    trigger_config: Value,
}

#[derive(Deserialize)]
struct LockedComponent {
    id: String,
    #[serde(default)]
    metadata: ComponentMetadata,
    source: Content,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    files: Vec<LockedFile>,
    #[serde(default)]
    config: BTreeMap<String, String>,
    #[serde(default)]
    dependencies: BTreeMap<String, Value>,
}

#[derive(Deserialize, Default)]
struct ComponentMetadata {
    #[serde(default)]
    allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    allowed_http_hosts: Vec<String>,
    #[serde(default)]
    key_value_stores: Vec<String>,
    #[serde(default)]
    databases: Vec<String>,
    #[serde(default)]
    ai_models: Vec<String>,
}

#[derive(Deserialize)]
struct Content {
    digest: Option<String>,
}

#[derive(Deserialize)]
struct LockedFile {
    path: String,
    #[serde(flatten)]
    content: Content,
}

/// Whether `bytes` may be a locked application: a JSON object, and no module.
pub fn is_one(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{")
}

/// Reads a locked application.
///
/// # Errors
/// What is wrong with it, and what of it is not provided.
pub fn decode(bytes: &[u8]) -> Result<Locked, Problems> {
    if bytes.len() > MOST_BYTES {
        let message = format!("it has more than {MOST_BYTES} bytes");
        return Err(FieldError::new("", message).into());
    }
    let document: Document = serde_json::from_slice(bytes).map_err(|error| {
        Problems::from(FieldError::new("", format!("it is no locked application: {error}")))
    })?;
    let mut problems = Vec::new();
    let application = application(document, &mut problems);
    check(&application, "components", &mut problems);
    if problems.is_empty() { Ok(application) } else { Err(Problems { fields: problems }) }
}

/// Reads what [`encode`] wrote: every content has its digest.
///
/// # Errors
/// As [`decode`], and where a digest is missing.
pub fn decode_kept(bytes: &[u8]) -> Result<Application, Problems> {
    let locked = decode(bytes)?;
    locked.with_contents(|component| {
        let missing = |what: &str| {
            let path = format!("components.{}.{what}", component.id);
            Problems::from(FieldError::new(path, "has no digest"))
        };
        let file = |file: &File<Option<Digest>>| {
            let content = file.content.ok_or_else(|| missing("files"))?;
            Ok::<_, Problems>(File { path: file.path.clone(), content })
        };
        let files = component.files.iter().map(file).collect::<Result<_, _>>()?;
        Ok((component.source.ok_or_else(|| missing("source"))?, files))
    })
}

fn application(document: Document, problems: &mut Vec<FieldError>) -> Locked {
    if document.spin_lock_version > 1 {
        let message = format!("is {}; versions 0 and 1 are read", document.spin_lock_version);
        problems.push(FieldError::new("spin_lock_version", message));
    }
    for part in document.must_understand.iter().filter(|part| *part != "host_requirements") {
        let message = format!("demands `{part}`, which is not known here");
        problems.push(FieldError::new("must_understand", message));
    }
    for (name, said) in &document.host_requirements {
        if name != "local_service_chaining" && said.as_str() != Some("optional") {
            let path = format!("host_requirements.{name}");
            problems.push(FieldError::new(path, "is not provided by this version of dhow"));
        }
    }
    let Metadata { name, version, trigger, triggers } = document.metadata;
    let base = triggers.get("http").or(trigger.as_ref()).and_then(|global| global.base.clone());
    let variable = |LockedVariable { default, secret }| Variable { default, secret };
    let variables = document.variables.into_iter().map(|(name, one)| (name, variable(one)));
    let mut application = Application {
        name,
        version,
        base: base.unwrap_or_else(|| "/".to_owned()),
        variables: variables.collect(),
        components: Vec::with_capacity(document.components.len()),
        triggers: vec![],
    };
    let files: usize = document.components.iter().map(|component| component.files.len()).sum();
    if files > MOST_FILES {
        let message = format!("have {files} files together; at most {MOST_FILES}");
        problems.push(FieldError::new("components", message));
        return application;
    }
    for one in document.components {
        application.components.push(component(one, problems));
    }
    for (index, one) in document.triggers.into_iter().enumerate() {
        let path = match one.id.as_str() {
            "" => format!("triggers[{index}]"),
            id => format!("triggers.{id}"),
        };
        trigger_of(&path, one, &mut application, problems);
    }
    application
}

fn component(
    one: LockedComponent,
    problems: &mut Vec<FieldError>,
) -> Component<Option<Digest>, Vec<File<Option<Digest>>>> {
    let path = format!("components.{}", one.id);
    let metadata = one.metadata;
    for (field, lists) in [("databases", &metadata.databases), ("ai_models", &metadata.ai_models)] {
        manifest::refuse_lists(&format!("{path}.metadata.{field}"), field, lists, problems);
    }
    if let Some(name) = one.dependencies.keys().next() {
        manifest::refuse_dependency(&format!("{path}.dependencies"), name, problems);
    }
    let mut digest = |path: &str, content: &Content| {
        let parsed = content.digest.as_deref().map(str::parse).transpose();
        parsed.unwrap_or_else(|error: dhow_core::digest::BadDigest| {
            problems.push(FieldError::new(path, error.to_string()));
            None
        })
    };
    let source = digest(&format!("{path}.source"), &one.source);
    let mut files = Vec::with_capacity(one.files.len());
    for (index, LockedFile { path: seen, content }) in one.files.into_iter().enumerate() {
        let path = format!("{path}.files[{index}]");
        let content = digest(&path, &content);
        files.push((path, seen, content));
    }
    let files = files.into_iter().filter_map(|(path, seen, content)| match inside(&seen) {
        Ok(inside) if !inside.is_empty() => Some(File { path: inside, content }),
        Ok(_) => {
            problems.push(FieldError::new(path, "names no file"));
            None
        }
        Err(why) => {
            problems.push(FieldError::new(path, why));
            None
        }
    });
    let files = files.collect();
    let mut outbound = metadata.allowed_outbound_hosts;
    outbound.extend(manifest::outbound_of_http(&metadata.allowed_http_hosts));
    Component {
        id: one.id,
        source,
        files,
        env: one.env,
        variables: one.config,
        outbound,
        stores: metadata.key_value_stores,
        executor: Executor::Http,
    }
}

fn trigger_of(
    path: &str,
    one: LockedTrigger,
    application: &mut Locked,
    problems: &mut Vec<FieldError>,
) {
    if one.trigger_type != "http" {
        return manifest::refuse_trigger(path, &one.trigger_type, problems);
    }
    let config = one.trigger_config;
    let Some(id) = config["component"].as_str() else {
        return problems.push(FieldError::new(format!("{path}.component"), "is missing"));
    };
    let Some(component) = application.component(id) else {
        let message = format!("`{id}` is no component of the application");
        return problems.push(FieldError::new(format!("{path}.component"), message));
    };
    let route = manifest::route(&format!("{path}.route"), &config["route"], problems);
    let executor = manifest::executor(&format!("{path}.executor"), &config["executor"], problems);
    manifest::set_executor(
        path,
        &mut application.components[component].executor,
        executor,
        problems,
    );
    if let Some(route) = route {
        application.triggers.push(Trigger { component, route });
    }
}

/// Writes an application; [`decode_kept`] reads it. The same application gives the same bytes.
pub fn encode(application: &Application) -> Vec<u8> {
    let Application { name, version, base, variables, components, triggers } = application;
    let variable = |Variable { default, secret }: &Variable| {
        let mut written = json!({});
        if let Some(default) = default {
            written["default"] = json!(default);
        }
        if *secret {
            written["secret"] = json!(true);
        }
        written
    };
    let variables: BTreeMap<_, _> =
        variables.iter().map(|(name, one)| (name, variable(one))).collect();
    let mut metadata = json!({"name": name, "triggers": {"http": {"base": base}}});
    if let Some(version) = version {
        metadata["version"] = json!(version);
    }
    let document = json!({
        "spin_lock_version": 1,
        "metadata": metadata,
        "variables": variables,
        "components": components.iter().map(encode_component).collect::<Vec<_>>(),
        "triggers": triggers
            .iter()
            .enumerate()
            .map(|(index, trigger)| encode_trigger(index, trigger, components))
            .collect::<Vec<_>>(),
    });
    document.to_string().into_bytes()
}

fn encode_component(component: &Component) -> Value {
    let Component { id, source, files, env, variables, outbound, stores, executor: _ } = component;
    let file = |File { path, content }: &File| json!({"path": path, "digest": content.to_string()});
    json!({
        "id": id,
        "metadata": {"allowed_outbound_hosts": outbound, "key_value_stores": stores},
        "source": {"content_type": "application/wasm", "digest": source.to_string()},
        "env": env,
        "files": files.iter().map(file).collect::<Vec<_>>(),
        "config": variables,
    })
}

fn encode_trigger(index: usize, trigger: &Trigger, components: &[Component]) -> Value {
    let component = components.get(trigger.component);
    let route = match &trigger.route {
        Some(route) => json!(route),
        None => json!({"private": true}),
    };
    let executor = match component.map(|component| &component.executor) {
        Some(Executor::Wagi { argv }) => json!({"type": "wagi", "argv": argv}),
        _ => json!({"type": "http"}),
    };
    json!({
        "id": format!("trigger-{index}"),
        "trigger_type": "http",
        "trigger_config": {
            "component": component.map(|component| component.id.as_str()),
            "route": route,
            "executor": executor,
        },
    })
}

/// The arguments of a WAGI program.
pub(super) fn argv(said: Option<&str>) -> String {
    said.filter(|argv| !argv.is_empty()).unwrap_or(WAGI_ARGV).to_owned()
}
