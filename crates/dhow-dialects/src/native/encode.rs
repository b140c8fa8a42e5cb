//! A Function as a document.

use dhow_core::function::{Function, ImageSource, Source, Template};
use dhow_core::limits::Limits;
use dhow_core::metadata::Metadata;
use dhow_core::name::Label;
use dhow_core::quantity::{print_bytes, print_cpu, print_duration};
use dhow_core::route::Route;
use http::Method;
use serde_json::{Value, json};

use super::{API_VERSION, KIND, access};

/// The document of `function`, which [`super::decode()`] reads as an equal one.
///
/// Every limit is written, also where it is the default: a document that is kept must mean the
/// same after the defaults have changed.
pub fn encode(function: &Function) -> Value {
    let Template { io, args, env, limits, reuse, asynchronous, stores, grants } =
        &function.template;
    let mut spec = json!({
        "source": source(&function.source),
        "abi": function.abi.map_or("auto", |abi| abi.as_str()),
        "limits": encode_limits(limits),
        "reuse": {
            "calls": reuse.calls,
            "concurrent": reuse.concurrent,
            "idle": print_duration(reuse.idle),
        },
        "async": super::asynchronous::encode(asynchronous),
    });
    if !super::decode::has_no_io(function.abi) {
        spec["io"] = json!(io.as_str());
    }
    if !args.is_empty() {
        spec["args"] = json!(args);
    }
    if !env.is_empty() {
        let variable = |(name, value): &(String, String)| json!({"name": name, "value": value});
        spec["env"] = env.iter().map(variable).collect();
    }
    if !function.routes.is_empty() {
        spec["routes"] = function.routes.iter().map(route).collect();
    }
    if let Some(stores) = super::key_value::encode(stores) {
        spec["keyValue"] = stores;
    }
    super::grants::encode(grants, &mut spec);
    access::encode(&function.access, &mut spec);
    json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata(function),
        "spec": spec,
    })
}

fn metadata(function: &Function) -> Value {
    let mut written = json!({
        "name": function.name.name.as_str(),
        "namespace": function.name.namespace.as_str(),
    });
    let Metadata { labels, annotations } = &function.metadata;
    for (field, texts) in [("labels", labels), ("annotations", annotations)] {
        if !texts.is_empty() {
            written[field] = json!(texts);
        }
    }
    written
}

fn source(source: &Source) -> Value {
    match source {
        Source::Path(path) => json!({"path": path}),
        Source::Blob { digest, program: None } => json!({"blob": digest.to_string()}),
        Source::Blob { digest, program: Some(program) } => {
            json!({"blob": digest.to_string(), "program": program})
        }
        Source::Image(ImageSource { reference, pull_secrets, command }) => {
            let mut written = json!({"image": reference});
            if !pull_secrets.is_empty() {
                written["pullSecrets"] = pull_secrets.iter().map(Label::as_str).collect();
            }
            if !command.is_empty() {
                written["command"] = json!(command);
            }
            written
        }
    }
}

fn encode_limits(limits: &Limits) -> Value {
    let Limits {
        memory,
        cpu_time,
        cpu_millis,
        timeout,
        stream,
        idle_timeout,
        concurrency,
        queue,
        request_body,
        response_body,
        output,
        logs,
    } = limits;
    let mut written = json!({
        "memory": print_bytes(*memory),
        "cpuTime": print_duration(*cpu_time),
        "timeout": print_duration(*timeout),
        "stream": stream,
        "idleTimeout": print_duration(*idle_timeout),
        "concurrency": concurrency,
        "queue": queue,
        "requestBody": print_bytes(*request_body),
        "responseBody": print_bytes(*response_body),
        "output": print_bytes(*output),
        "logs": print_bytes(*logs),
    });
    if let Some(millis) = cpu_millis {
        written["cpu"] = json!(print_cpu(*millis));
    }
    written
}

fn route(route: &Route) -> Value {
    let mut written = json!({"path": route.path});
    if !route.methods.is_empty() {
        written["methods"] = route.methods.iter().map(Method::as_str).collect();
    }
    if let Some(host) = &route.host {
        written["host"] = json!(host);
    }
    written
}
