//! The formats as a whole: that they mean the same, what is refused and where, and what is shown.

use std::time::Duration;

use dhow_core::abi::Abi;
use dhow_core::digest::Digest;
use dhow_core::function::{Deployed, ImageSource, Revision, Source};
use dhow_core::name::Label;
use dhow_core::queue::AsyncPolicy;
use serde_json::{Value, json};

use super::*;
use crate::manifest::{self, Declared, Surroundings};
use crate::problem::Problems;

const DEPLOYMENT: &str = r#"{
    "service": "hello", "image": "registry.example/hello:v1", "namespace": "openfaas-fn",
    "envProcess": "hello.wasm -v  twice", "envVars": {"GREETING": "hi", "exec_timeout": "5s"},
    "constraints": ["zone=a"], "secrets": ["key", "key"],
    "labels": {"com.openfaas.scale.max": "3"},
    "annotations": {"com.openfaas.queue": "slow", "com.openfaas.retry.codes": "503, 429",
                    "com.openfaas.health.http.path": "/", "note": "mine"},
    "limits": {"memory": "64Mi", "cpu": "250m"}, "requests": {"memory": "16Mi", "cpu": ""},
    "readOnlyRootFilesystem": true, "registryAuth": "", "network": "func_functions"
}"#;

const STACK: &str = r#"
version: 1.0
provider:
  name: openfaas
  gateway: ${OPENFAAS_URL:-http://127.0.0.1:8080}
functions:
  hello:
    lang: dockerfile
    handler: ./hello
    skip_build: true
    image: ${REGISTRY}/hello:v1
    fprocess: hello.wasm -v  twice
    environment: {GREETING: none, exec_timeout: 5s}
    environment_file: [first.yml, second.yml]
    constraints: ["zone=a"]
    secrets: [key]
    labels: {com.openfaas.scale.max: 3}
    annotations:
      com.openfaas.queue: slow
      com.openfaas.retry.codes: 503, 429
      com.openfaas.health.http.path: /
      note: mine
    limits: {memory: 64Mi, cpu: 250m}
    requests: {memory: 16Mi}
    readonly_root_filesystem: true
configuration:
  templates: [{name: go, source: "https://example.com/go"}]
"#;

const CRD: &str = r#"
apiVersion: openfaas.com/v1
kind: Function
metadata: {name: hello, namespace: openfaas-fn}
spec:
  name: hello
  image: registry.example/hello:v1
  handler: hello.wasm -v  twice
  environment: {GREETING: hi, exec_timeout: 5s}
  constraints: ["zone=a"]
  secrets: [key]
  labels: {com.openfaas.scale.max: "3"}
  annotations:
    com.openfaas.queue: slow
    com.openfaas.retry.codes: 503, 429
    com.openfaas.health.http.path: /
    note: mine
  limits: {memory: 64Mi, cpu: 250m}
  requests: {memory: 16Mi}
  readOnlyRootFilesystem: true
"#;

fn file(name: &str) -> Result<String, String> {
    match name {
        "first.yml" => Ok("environment: {GREETING: first, OTHER: 1}".to_owned()),
        "second.yml" => Ok("environment:\n  GREETING: hi\n".to_owned()),
        "empty.yml" => Ok("# nothing\n".to_owned()),
        "wrong.yml" => Ok("environment: {A: [1]}".to_owned()),
        _ => Err("there is none".to_owned()),
    }
}

fn read(text: &str) -> Result<Vec<Declared>, Problems> {
    let variable = |name: &str| (name == "REGISTRY").then(|| "registry.example".to_owned());
    let namespace = Label::default_namespace();
    let around = Surroundings { namespace: &namespace, variable: &variable, file: &file };
    manifest::parse(text, around)
}

fn paths(problems: Problems) -> Vec<String> {
    problems.fields.into_iter().map(|problem| problem.path).collect()
}

#[test]
fn a_deployment_is_a_function() {
    let Meant { function, notes, secrets } = parse_deployment(DEPLOYMENT).unwrap();
    assert_eq!(function.name.to_string(), "hello.default");
    let reference = "registry.example/hello:v1".to_owned();
    assert_eq!(
        function.source,
        Source::Image(ImageSource { reference, command: vec![], pull_secrets: vec![] })
    );
    let template = &function.template;
    assert_eq!(template.args, ["-v", "twice"]);
    let env = [("GREETING", "hi"), ("exec_timeout", "5s")];
    assert_eq!(template.env, env.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let limits = &template.limits;
    assert_eq!((limits.memory, limits.cpu_millis), (64 << 20, Some(250)));
    assert_eq!([limits.timeout, limits.cpu_time], [Duration::from_secs(5); 2]);
    assert_eq!((limits.concurrency, limits.queue), (15, 100));
    let AsyncPolicy { queue, retry, .. } = &template.asynchronous;
    assert_eq!(queue.as_str(), "slow");
    assert_eq!(retry.statuses, [429, 503]);
    assert_eq!(secrets, ["key".parse().unwrap()]);
    let mark = &function.metadata.annotations[MARK];
    assert_eq!(Extra::decode(mark).encode(), *mark);
    for (part, note) in
        ["com.openfaas.health.http.path", "constraints", "requests"].iter().zip(&notes)
    {
        assert!(note.contains(part), "{note}");
    }
    assert_eq!(notes.len(), 3, "{notes:?}");
}

#[test]
fn every_format_means_the_same() {
    let Meant { function, notes, .. } = parse_deployment(DEPLOYMENT).unwrap();
    let deployed = Declared { function, notes };
    assert_eq!(read(CRD).unwrap(), std::slice::from_ref(&deployed));
    let mut stack = read(STACK).unwrap();
    let env = &mut stack[0].function.template.env;
    assert_eq!(env.remove(1), ("OTHER".to_owned(), "1".to_owned()));
    assert_eq!(stack, [deployed]);
}

#[test]
fn a_knative_service_of_faas_cli_is_a_function() {
    let service = read(
        "apiVersion: serving.knative.dev/v1\nkind: Service\n\
         metadata: {name: hello, namespace: shop}\n\
         spec: {template: {spec: {containers: [{image: a/b, env: [{name: A, value: x}, \
         {name: fprocess, value: b.wasm -x}], volumeMounts: [{name: v, \
         mountPath: /var/openfaas/secrets/key, readOnly: true}]}], \
         volumes: [{name: v, secret: {secretName: key}}]}}}\n",
    );
    let [Declared { function, .. }] = <[_; 1]>::try_from(service.unwrap()).unwrap();
    assert_eq!(function.name.to_string(), "hello.shop");
    assert_eq!(function.template.args, ["-x"]);
    let extra = Extra::decode(&function.metadata.annotations[MARK]);
    assert_eq!(extra.secrets, ["key"]);
    let mounted = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a}\n\
                   spec: {template: {spec: {containers: [{image: a, volumeMounts: \
                   [{name: v, mountPath: /etc}], ports: []}]}}}";
    assert_eq!(
        paths(read(mounted).unwrap_err()),
        [
            "spec.template.spec.containers[0].ports",
            "spec.template.spec.containers[0].volumeMounts[0].mountPath"
        ]
    );
}

#[test]
fn everything_wrong_with_a_deployment_is_named() {
    let deployment = json!({
        "service": "Hello",
        "namespace": "a b",
        "envVars": {"a=b": "1", "exec_timeout": "never", "max_inflight": "many",
                    "marshal_request": "true"},
        "secrets": ["UPPER", 1],
        "labels": {"com.openfaas.scale.type": "rps", "com.openfaas.scale.min": "0", "a": []},
        "annotations": {"com.openfaas.retry.attempts": "0", "com.openfaas.queue": "A",
                        "com.openfaas.retry.min_wait": "1h", "com.openfaas.retry.codes": "200",
                        MARK: "{}"},
        "limits": {"memory": "1", "cpu": "x", "nvidia.com/gpu": "1"},
        "requests": {"memory": "lots", "disk": "1"},
        "readOnlyRootFilesystem": "yes",
        "image": "b",
        "colour": "blue",
    });
    let mut wrong = paths(parse_deployment(&deployment.to_string()).unwrap_err());
    wrong.sort();
    let mut expected = [
        "annotations",
        "annotations[\"com.openfaas.queue\"]",
        "annotations[\"com.openfaas.retry.attempts\"]",
        "annotations[\"com.openfaas.retry.codes\"]",
        "annotations[\"com.openfaas.retry.min_wait\"]",
        "colour",
        "envVars.exec_timeout",
        "envVars.marshal_request",
        "envVars.max_inflight",
        "envVars[\"a=b\"]",
        "labels.a",
        "labels[\"com.openfaas.scale.min\"]",
        "labels[\"com.openfaas.scale.type\"]",
        "limits.cpu",
        "limits.memory",
        "limits[\"nvidia.com/gpu\"]",
        "namespace",
        "readOnlyRootFilesystem",
        "requests.disk",
        "requests.memory",
        "secrets[0]",
        "secrets[1]",
        "service",
    ];
    expected.sort_unstable();
    assert_eq!(wrong, expected);
    for text in ["", "[]", "{}\n---\n{}", "{\"service\": \"a\"", "{\"service\": \"a\"}"] {
        assert!(parse_deployment(text).is_err(), "{text}");
    }
}

#[test]
fn everything_wrong_with_a_stack_is_named() {
    let stack = "provider: {name: other}\nfunctions:\n  a: {image: x, oops: 1}\n  B: {image: x}\n  \
                 c: {image: x, environment_file: [none.yml, wrong.yml, empty.yml]}\n  d: 1\n  e: {}\n";
    let mut wrong = paths(read(stack).unwrap_err());
    wrong.sort();
    let expected = [
        "functions.B",
        "functions.a.oops",
        "functions.c.environment_file[0]",
        "functions.c.environment_file[1]",
        "functions.d",
        "functions.e.image",
        "provider.name",
    ];
    assert_eq!(wrong, expected);
    assert_eq!(paths(read("provider: {}\nfunctions: ${X^}").unwrap_err()), ["line 2"]);
    let several = format!("{CRD}---\n{}", CRD.replace("kind: Function", "kind: Profile"));
    assert_eq!(paths(read(&several).unwrap_err()), ["document 2: kind"]);
}

#[test]
fn documents_of_several_formats_stand_in_one_text() {
    let native = "apiVersion: dhow.dev/v1alpha1\nkind: Function\nmetadata: {name: own}\n\
                  spec: {source: {path: a.wasm}}\n";
    let both = read(&format!("{native}---\n{CRD}")).unwrap();
    let names: Vec<_> = both.iter().map(|one| one.function.name.name.to_string()).collect();
    assert_eq!(names, ["own", "hello"]);
}

fn deployed(text: &str) -> Deployed {
    let function = parse_deployment(text).unwrap().function;
    let Source::Image(image) = function.source else { panic!("no image") };
    let revision = Revision {
        function: function.name.clone(),
        number: 1,
        digest: Digest::from_bytes([1; 32]),
        image: Some(image),
        program: "hello.wasm".to_owned(),
        abi: Abi::Command,
        template: function.template,
    };
    Deployed {
        name: function.name,
        revision: revision.into(),
        split: vec![],
        rolled_back: None,
        routes: vec![],
        access: None,
        metadata: function.metadata.shared(),
        version: 1,
        deployed_ms: 1,
    }
}

const QUIET: Load = Load { in_flight: 0, last_call_ms: None, since_ms: 0, now_ms: 0, scaled: None };

#[test]
fn what_was_deployed_is_shown_again() {
    let created = Some("2026-01-02T03:04:05Z".to_owned());
    let shown = status(&deployed(DEPLOYMENT), &Seen { calls: 7, load: QUIET, created });
    let mut expected: Value = serde_json::from_str(DEPLOYMENT).unwrap();
    let said = expected.as_object_mut().unwrap();
    for gone in ["service", "registryAuth", "network"] {
        said.remove(gone);
    }
    said.insert("name".to_owned(), json!("hello"));
    said.insert("secrets".to_owned(), json!(["key"]));
    said.insert("requests".to_owned(), json!({"memory": "16Mi"}));
    said.insert("invocationCount".to_owned(), json!(7));
    said.insert("replicas".to_owned(), json!(1));
    said.insert("availableReplicas".to_owned(), json!(1));
    said.insert("createdAt".to_owned(), json!("2026-01-02T03:04:05Z"));
    assert_eq!(shown, expected);
}

#[test]
fn what_is_nothing_is_not_shown() {
    let mut function = deployed(r#"{"service": "a", "image": "b"}"#);
    function.metadata = None;
    let load = Load { scaled: Some(Scaled { replicas: 3, at_ms: 0 }), ..QUIET };
    let shown = status(&function, &Seen { calls: 0, load, created: None });
    let expected = json!({"name": "a", "image": "b", "namespace": "openfaas-fn", "labels": {},
        "annotations": {}, "readOnlyRootFilesystem": false, "replicas": 1, "availableReplicas": 1});
    assert_eq!(shown, expected, "nobody can set what is the function's own to say");
}

#[test]
fn the_default_namespace_has_two_names() {
    for name in ["", "openfaas-fn", "default"] {
        assert_eq!(shown(&namespace(name).unwrap()), OPENFAAS_NAMESPACE);
    }
    assert_eq!(shown(&namespace("shop").unwrap()), "shop");
    assert!(namespace("a b").is_err());
}
