//! The format as a whole: what reads, what is refused and where, and that encoding loses nothing.

use std::time::Duration;

use dhow_core::abi::{Abi, Io};
use dhow_core::access::Access;
use dhow_core::digest::Digest;
use dhow_core::function::{Function, ImageSource, Reuse, Source, Template};
use dhow_core::grant::Grants;
use dhow_core::key_value::{Room, StoreGrant};
use dhow_core::limits::{self, Bounds, Limits};
use dhow_core::metadata::{MOST_METADATA, Metadata};
use dhow_core::name::FunctionName;
use dhow_core::queue::{self, AsyncPolicy, RetryPolicy};
use dhow_core::route::Route;
use http::{Method, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn parse_documents(text: &str) -> Result<Vec<Function>, Problems> {
    super::parse_documents(text, &Label::default_namespace())
}

const GOOD: &str = "{apiVersion: dhow.dev/v1alpha1, kind: Function, metadata: {name: a}, \
                    spec: {source: {path: a.wasm}}}";

fn with_spec(spec: &str) -> String {
    format!(
        "apiVersion: dhow.dev/v1alpha1\nkind: Function\nmetadata: {{name: a}}\n\
         spec: {{source: {{path: a.wasm}}, {spec}}}\n"
    )
}

fn problems(text: &str) -> Vec<(String, String)> {
    let problems = parse_documents(text).expect_err(text);
    problems.fields.into_iter().map(|field| (field.path, field.message)).collect()
}

/// The one problem of a text.
fn problem(text: &str) -> (String, String) {
    let mut all = problems(text);
    assert_eq!(all.len(), 1, "{text}: {all:?}");
    all.remove(0)
}

#[test]
fn the_shortest_document_has_every_default() {
    let function = parse_documents(GOOD).unwrap().remove(0);
    assert_eq!(
        function,
        Function {
            name: FunctionName::parse("a.default").unwrap(),
            source: Source::Path("a.wasm".to_owned()),
            abi: None,
            template: Template::default(),
            routes: vec![],
            access: Access::default(),
            metadata: Metadata::default(),
        }
    );
}

#[test]
fn every_field_is_read() {
    let function = parse_documents(
        r#"
apiVersion: dhow.dev/v1alpha1
kind: Function
metadata: {name: hello, namespace: shop, labels: {a.b/c: "1"}, annotations: {note: hi}}
spec:
  source: {blob: "sha256:a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5", program: hello.wasm}
  abi: command
  io: cgi
  args: [-v, "1"]
  env:
  - {name: GREETING, value: hi}
  - name: EMPTY
  limits:
    memory: 64Mi
    cpuTime: 2s
    cpu: 0.5
    timeout: 1m30s
    stream: true
    idleTimeout: 5s
    concurrency: 7
    queue: 0
    requestBody: 1048576
    responseBody: 2Mi
    output: 3Mi
    logs: 4Ki
  reuse: {calls: 20, concurrent: 2, idle: 10s}
  async:
    queue: slow
    retry: {attempts: 3, minWait: 500ms, maxWait: 1m, statuses: [503, 404, 503]}
    keepResult: 1h
  keyValue: {stores: [{name: default, shared: carts, size: 1Mi}]}
  placement: pool
  network: {allow: ["https://api.example.com"]}
  secrets: [token]
  routes:
  - path: /users/{id}
    methods: [GET, HEAD]
    host: "*.example.com"
  - path: /files/*
"#,
    )
    .unwrap()
    .remove(0);
    assert_eq!(
        function,
        Function {
            name: FunctionName::parse("hello.shop").unwrap(),
            source: Source::Blob {
                digest: Digest::from_bytes([0xa5; 32]),
                program: Some("hello.wasm".to_owned()),
            },
            abi: Some(Abi::Command),
            template: Template {
                io: Io::Cgi,
                args: vec!["-v".to_owned(), "1".to_owned()],
                env: vec![
                    ("GREETING".to_owned(), "hi".to_owned()),
                    ("EMPTY".to_owned(), String::new()),
                ],
                limits: Limits {
                    memory: 64 << 20,
                    cpu_time: Duration::from_secs(2),
                    cpu_millis: Some(500),
                    timeout: Duration::from_secs(90),
                    stream: true,
                    idle_timeout: Duration::from_secs(5),
                    concurrency: 7,
                    queue: 0,
                    request_body: 1 << 20,
                    response_body: 2 << 20,
                    output: 3 << 20,
                    logs: 4 << 10,
                },
                reuse: Reuse { calls: 20, concurrent: 2, idle: Duration::from_secs(10) },
                asynchronous: AsyncPolicy {
                    queue: "slow".parse().unwrap(),
                    retry: RetryPolicy {
                        attempts: 3,
                        min_wait: Duration::from_millis(500),
                        max_wait: Duration::from_secs(60),
                        statuses: vec![StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE],
                    },
                    keep_result: Duration::from_secs(3600),
                },
                stores: vec![StoreGrant {
                    name: "default".parse().unwrap(),
                    shared: Some("carts".parse().unwrap()),
                    room: Room { size: 1 << 20, ..Room::default() },
                }],
                grants: Grants {
                    network: vec!["https://api.example.com".parse().unwrap()],
                    secrets: vec!["token".parse().unwrap()],
                },
            },
            routes: vec![
                Route {
                    host: Some("*.example.com".to_owned()),
                    path: "/users/{id}".to_owned(),
                    methods: vec![Method::GET, Method::HEAD],
                },
                Route { host: None, path: "/files/*".to_owned(), methods: vec![] },
            ],
            access: Access::default(),
            metadata: Metadata {
                labels: [("a.b/c".to_owned(), "1".to_owned())].into(),
                annotations: [("note".to_owned(), "hi".to_owned())].into(),
            },
        }
    );
}

#[test]
fn everything_wrong_is_named_at_once() {
    let text = r"
apiVersion: dhow.dev/v1alpha1
kind: Function
metadata: {name: Hello, namespace: -x, uid: 7, labels: {app: 1}}
spec:
  source: {path: ''}
  abi: wasm
  io: pipe
  args: [1, ok]
  env: [{name: A=B}, {value: x}, {name: C, value: 5}]
  limits: {memory: 1Ki, cpuTime: -1s, timeout: 30, concurrency: 0, memmory: 1Mi}
  reuse: {calls: many}
  routes: [{path: x}, {methods: [get]}, nope]
  extra: 1
";
    let found = problems(text);
    let mut paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "metadata.labels.app",
            "metadata.name",
            "metadata.namespace",
            "metadata.uid",
            "spec.abi",
            "spec.args[0]",
            "spec.env[0].name",
            "spec.env[1].name",
            "spec.env[2].value",
            "spec.extra",
            "spec.io",
            "spec.limits.concurrency",
            "spec.limits.cpuTime",
            "spec.limits.memmory",
            "spec.limits.memory",
            "spec.limits.timeout",
            "spec.reuse.calls",
            "spec.routes[0].path",
            "spec.routes[1].methods[0]",
            "spec.routes[1].path",
            "spec.routes[2]",
            "spec.source.path",
        ]
    );
    let message = |at: &str| &found.iter().find(|(path, _)| path == at).unwrap().1;
    assert_eq!(message("spec.limits.memory"), "is 1Ki; it must be from 64Ki to 4Gi");
    assert_eq!(message("spec.limits.concurrency"), "is 0; it must be from 1 to 10000");
    assert!(message("spec.limits.memmory").ends_with("did you mean `memory`?"));
    assert!(message("spec.limits.cpuTime").starts_with("it is negative"));
    assert!(message("spec.env[2].value").ends_with("put it in quotes"));
}

#[test]
fn what_this_version_does_not_run_is_refused_by_name() {
    for (spec, path) in [
        ("mounts: [{source: ., path: /data}]", "spec.mounts"),
        ("triggers: {cron: []}", "spec.triggers"),
        ("scale: {max: 3}", "spec.scale"),
        ("placement: pod", "spec.placement"),
        ("abi: spin", "spec.abi"),
        ("abi: actor", "spec.abi"),
        ("abi: server", "spec.abi"),
    ] {
        let (at, message) = problem(&with_spec(spec));
        assert_eq!(at, path);
        assert!(message.ends_with("is not supported by this version of dhow"), "{message}");
    }
    assert!(parse_documents(&with_spec("placement: pool, mounts: null")).is_ok());
}

#[test]
fn an_image_is_a_source_of_its_own() {
    let source = |text: &str| GOOD.replace("path: a.wasm", text);
    let text =
        source("image: registry.example/a:v1, pullSecrets: [one, two], command: [/b.wasm, -v]");
    let read = parse_documents(&text).unwrap().remove(0);
    let pull_secrets = ["one", "two"].map(|name| name.parse().unwrap()).to_vec();
    let reference = "registry.example/a:v1".to_owned();
    let command = ["/b.wasm", "-v"].map(str::to_owned).to_vec();
    assert_eq!(read.source, Source::Image(ImageSource { reference, pull_secrets, command }));
    for (text, path, part) in [
        ("image: a, path: b", "spec.source.image", "has both `path` and `image`"),
        ("image: a, program: b", "spec.source.program", "beside `blob` only"),
        ("path: a, pullSecrets: [b]", "spec.source.pullSecrets", "beside `image` only"),
        ("path: a, command: [b]", "spec.source.command", "beside `image` only"),
        ("image: a, command: ['']", "spec.source.command", "begins with the module's path"),
        ("image: a, command: [b, \"a\\0b\"]", "spec.source.command[1]", "NUL"),
        ("image: a, pullSecrets: [B]", "spec.source.pullSecrets[0]", "not allowed"),
        ("image: 'a b'", "spec.source.image", "has a blank"),
        ("image: ''", "spec.source.image", "is empty"),
    ] {
        let (at, message) = problem(&source(text));
        assert_eq!(at, path, "{text}");
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn each_field_has_its_bounds() {
    for (spec, path, part) in [
        ("limits: {memory: 5Gi}", "spec.limits.memory", "from 64Ki to 4Gi"),
        ("limits: {memory: -1}", "spec.limits.memory", "negative"),
        ("limits: {memory: 99999999999999999999999}", "spec.limits.memory", "is not a unit"),
        ("limits: {memory: [1]}", "spec.limits.memory", "must be a quantity, not a list"),
        ("limits: {cpuTime: 25h}", "spec.limits.cpuTime", "from 1ms to 24h"),
        ("limits: {cpu: 0}", "spec.limits.cpu", "from 1m to 1024"),
        ("limits: {cpu: 0.0001}", "spec.limits.cpu", "whole number of thousandths"),
        ("limits: {timeout: 0s}", "spec.limits.timeout", "from 1ms to 24h"),
        ("limits: {timeout: 1000000000h}", "spec.limits.timeout", "too large"),
        ("limits: {stream: 'yes'}", "spec.limits.stream", "`true` or `false`, not text"),
        ("limits: {queue: 1.5}", "spec.limits.queue", "whole number, not a fraction"),
        ("limits: {queue: -1}", "spec.limits.queue", "is -1; it must be from 0 to 100000"),
        ("limits: {queue: 4294967296}", "spec.limits.queue", "is 4294967296"),
        ("limits: {queue: '7'}", "spec.limits.queue", "whole number, not text"),
        ("limits: {output: 2Gi}", "spec.limits.output", "from 0 to 1Gi"),
        ("limits: 7", "spec.limits", "must be a mapping, not a number"),
        ("reuse: {calls: 0}", "spec.reuse.calls", "from 1 to 1000000"),
        ("reuse: {concurrent: 1001}", "spec.reuse.concurrent", "from 1 to 1000"),
        ("reuse: {idle: 2d}", "spec.reuse.idle", "`d` is not a unit"),
        ("args: x", "spec.args", "must be a list, not text"),
        ("args: [\"a\\0b\"]", "spec.args[0]", "NUL"),
        ("env: [{name: \"\"}]", "spec.env[0].name", "empty"),
        ("env: [{name: A, value: \"\\0\"}]", "spec.env[0].value", "NUL"),
        ("env: [{name: A}, {name: A}]", "spec.env[1].name", "twice"),
        ("env: [{name: A, valueFrom: {}}]", "spec.env[0].valueFrom", "here it has name, value"),
        ("abi: http, io: keeper", "spec.io", "`abi` is not `command`"),
        ("routes: [{path: /a}, {path: /a}]", "spec.routes[1]", "twice"),
        ("routes: [{path: /a, host: 'a:80'}]", "spec.routes[0].host", "without a port"),
        ("routes: [{path: /a, methods: [GET, GET]}]", "spec.routes[0].methods[1]", "twice"),
        ("placement: moon", "spec.placement", "must be `pool`"),
    ] {
        let (at, message) = problem(&with_spec(spec));
        assert_eq!(at, path, "{spec}: {message}");
        assert!(message.contains(part), "{spec}: {message}");
    }
}

#[test]
fn code_comes_from_one_place() {
    for (source, path, part) in [
        ("source: {}", "spec.source.path", "missing"),
        ("source: {path: a, blob: b}", "spec.source.blob", "one place"),
        ("source: {path: a, program: b}", "spec.source.program", "beside `blob`"),
        ("source: {blob: 'md5:00'}", "spec.source.blob", "64 lower-case hex"),
        ("source: {path: a, url: b}", "spec.source.url", "here it has path, blob, program"),
        ("source: a.wasm", "spec.source", "must be a mapping, not text"),
        ("io: stdio", "spec.source", "is missing"),
    ] {
        let (at, message) = problem(&GOOD.replace("source: {path: a.wasm}", source));
        assert_eq!(at, path, "{source}: {message}");
        assert!(message.contains(part), "{source}: {message}");
    }
    let digest = Digest::from_bytes([1; 32]);
    for program in ["a/b", "", "..\\u0000"] {
        let blob = format!("source: {{blob: '{digest}', program: \"{program}\"}}");
        let (at, _) = problem(&GOOD.replace("source: {path: a.wasm}", &blob));
        assert_eq!(at, "spec.source.program");
    }
}

#[test]
fn arguments_and_environment_have_one_budget() {
    let fits = limits::ARGS_AND_ENV - 2 - "A".len();
    let env =
        |bytes: usize| with_spec(&format!("env: [{{name: A, value: {}}}]", "x".repeat(bytes)));
    assert!(parse_documents(&env(fits)).is_ok());
    assert_eq!(problem(&env(fits + 1)).0, "spec.env");
    let args = with_spec(&format!("args: [{}]", "x,".repeat(limits::ARGS_AND_ENV / 2 + 1)));
    assert_eq!(problem(&args).0, "spec.args");
}

#[test]
fn a_document_of_another_kind_is_refused_for_that_alone() {
    let deployment = "{apiVersion: apps/v1, kind: Deployment, metadata: {}, spec: {a: 1}}";
    let paths: Vec<_> = problems(deployment).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["apiVersion", "kind"]);
    assert_eq!(problem("hello").0, "");
    assert_eq!(problems("{}").len(), 2);
    assert_eq!(
        problem("{apiVersion: dhow.dev/v1alpha1, kind: Function, spec: {source: {path: a}}}").0,
        "metadata"
    );
    assert_eq!(
        problem("{apiVersion: dhow.dev/v1alpha1, kind: Function, metadata: {name: a}}").0,
        "spec"
    );
}

#[test]
fn one_wrong_document_refuses_all_and_is_named() {
    let wrong = GOOD.replace("name: a", "name: A");
    let text = format!("---\n{GOOD}\n---\n# empty\n---\n{wrong}\n");
    assert_eq!(problem(&text).0, "document 2: metadata.name");
    assert_eq!(problem(&wrong).0, "metadata.name");
    assert_eq!(parse_documents(&format!("{GOOD}\n---\n{GOOD}\n")).unwrap().len(), 2);
}

#[test]
fn a_document_without_a_namespace_is_of_the_one_that_is_given() {
    let shop = "shop".parse().unwrap();
    let own = GOOD.replace("name: a", "name: a, namespace: own");
    let functions = super::parse_documents(&format!("{GOOD}\n---\n{own}"), &shop).unwrap();
    let names: Vec<_> = functions.iter().map(|function| function.name.to_string()).collect();
    assert_eq!(names, ["a.shop", "a.own"]);
}

#[test]
fn unreadable_text_is_named_by_its_line() {
    assert!(problem("a: 1\nb: [").0.starts_with("line 2, column"));
}

fn within<T>(bounds: Bounds<T>) -> impl Strategy<Value = T>
where
    T: Copy + std::fmt::Debug,
    std::ops::RangeInclusive<T>: Strategy<Value = T>,
{
    bounds.least..=bounds.most
}

fn duration_within(bounds: Bounds<Duration>) -> impl Strategy<Value = Duration> {
    let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap();
    (nanoseconds(bounds.least)..=nanoseconds(bounds.most)).prop_map(Duration::from_nanos)
}

fn any_limits() -> impl Strategy<Value = Limits> {
    (
        (
            within(limits::MEMORY),
            duration_within(limits::CPU_TIME),
            prop::option::of(within(limits::CPU_MILLIS)),
            duration_within(limits::TIMEOUT),
            any::<bool>(),
            duration_within(limits::IDLE_TIMEOUT),
        ),
        (
            within(limits::CONCURRENCY),
            within(limits::QUEUE),
            within(limits::BODY),
            within(limits::BODY),
            within(limits::OUTPUT),
            within(limits::LOGS),
        ),
    )
        .prop_map(|(first, second)| Limits {
            memory: first.0,
            cpu_time: first.1,
            cpu_millis: first.2,
            timeout: first.3,
            stream: first.4,
            idle_timeout: first.5,
            concurrency: second.0,
            queue: second.1,
            request_body: second.2,
            response_body: second.3,
            output: second.4,
            logs: second.5,
        })
}

fn any_source() -> impl Strategy<Value = Source> {
    prop_oneof![
        "[^\0]{1,20}".prop_map(Source::Path),
        (any::<[u8; 32]>(), prop::option::of("[^/\0]{1,20}")).prop_map(|(bytes, program)| {
            Source::Blob { digest: Digest::from_bytes(bytes), program }
        }),
        (
            "[a-z:/@.]{1,20}",
            prop::collection::vec("[a-z]{1,5}", 0..3),
            prop::collection::vec("[^\0]{1,5}", 0..3),
        )
            .prop_map(|(reference, secrets, command)| {
                let pull_secrets = secrets.iter().map(|name| name.parse().unwrap()).collect();
                Source::Image(ImageSource { reference, pull_secrets, command })
            }),
    ]
}

fn any_routes() -> impl Strategy<Value = Vec<Route>> {
    let route = (
        prop::option::of("(\\*\\.)?[a-z0-9]{1,8}(\\.[a-z]{1,3})?"),
        "(/[a-z0-9%~]{1,5}|/\\{x\\}){0,1}(/[a-z]{1,4}){0,2}(/|/\\*)",
        prop::sample::subsequence(vec![Method::GET, Method::POST, Method::DELETE], 0..=3),
    )
        .prop_map(|(host, path, methods)| Route { host, path, methods });
    prop::collection::vec(route, 0..5).prop_map(|mut routes| {
        let mut seen: Vec<Route> = Vec::new();
        routes.retain(|route| {
            let new = !seen.contains(route);
            seen.push(route.clone());
            new
        });
        routes
    })
}

#[test]
fn what_may_not_be_allowed_is_named() {
    let path = |spec: &str| problem(&with_spec(spec)).0;
    assert_eq!(path("network: {allow: [api.example.com]}"), "spec.network.allow[0]");
    assert_eq!(path("network: {allow: ['http://a', 'http://a']}"), "spec.network.allow[1]");
    assert_eq!(path("secrets: [a, a]"), "spec.secrets[1]");
    assert_eq!(path("secrets: [A]"), "spec.secrets[0]");
    assert_eq!(path("network: {allow: ['tcp://a:1']}"), "spec.network.allow[0]");
    assert_eq!(path("network: {deny: ['http://a']}"), "spec.network.deny");
}

#[test]
fn retries_are_refused_that_make_no_sense() {
    let path = |spec: &str| problem(&with_spec(spec)).0;
    assert_eq!(path("async: {queue: Slow}"), "spec.async.queue");
    assert_eq!(path("async: {retries: 3}"), "spec.async.retries");
    assert_eq!(path("async: {retry: {attempts: 0}}"), "spec.async.retry.attempts");
    assert_eq!(path("async: {retry: {minWait: 3m}}"), "spec.async.retry.minWait");
    assert_eq!(path("async: {retry: {statuses: [503, 200]}}"), "spec.async.retry.statuses[1]");
    assert_eq!(path("async: {keepResult: 169h}"), "spec.async.keepResult");
}

fn any_async() -> impl Strategy<Value = AsyncPolicy> {
    (
        "[a-z]{1,9}",
        within(queue::ATTEMPTS),
        duration_within(queue::MIN_WAIT),
        duration_within(queue::MAX_WAIT),
        prop::collection::btree_set(400_u16..600, 0..5),
        duration_within(queue::KEEP_RESULT),
    )
        .prop_map(|(queue, attempts, min_wait, max_wait, statuses, keep_result)| AsyncPolicy {
            queue: queue.parse().unwrap(),
            retry: RetryPolicy {
                attempts,
                min_wait: min_wait.min(max_wait),
                max_wait,
                statuses: statuses.into_iter().map(|s| StatusCode::from_u16(s).unwrap()).collect(),
            },
            keep_result,
        })
}

fn any_metadata() -> impl Strategy<Value = Metadata> {
    let texts = || prop::collection::btree_map("[a-z./-]{0,10}", ".{0,20}", 0..3);
    (texts(), texts()).prop_map(|(labels, annotations)| Metadata { labels, annotations })
}

#[test]
fn metadata_has_a_bound() {
    let document = |length: usize| {
        let text = "x".repeat(length);
        format!(
            "{{apiVersion: dhow.dev/v1alpha1, kind: Function, spec: {{source: {{path: a}}}}, \
             metadata: {{name: a, labels: {{l: {text}}}, annotations: {{a: b}}}}}}"
        )
    };
    assert!(parse_documents(&document(MOST_METADATA - 3)).is_ok());
    assert_eq!(problem(&document(MOST_METADATA - 2)).0, "metadata.annotations");
    let (path, _) = problem(&document(1).replace("{a: b}", "[a]"));
    assert_eq!(path, "metadata.annotations");
}

fn any_function() -> impl Strategy<Value = Function> {
    let label = "[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?";
    (
        (label, label).prop_map(|(name, namespace)| format!("{name}.{namespace}")),
        any_source(),
        prop::sample::select(vec![None, Some(Abi::Http), Some(Abi::Command)]),
        prop::sample::select(vec![Io::Stdio, Io::Keeper, Io::Cgi]),
        prop::collection::vec("[^\0]{0,20}", 0..4),
        prop::collection::btree_map("[^=\0]{1,10}", "[^\0]{0,20}", 0..4),
        any_limits(),
        (
            within(limits::REUSE_CALLS),
            within(limits::REUSE_CONCURRENT),
            duration_within(limits::REUSE_IDLE),
        ),
        (any_async(), prop::sample::select(vec![Grants::default(), super::grants::tests::full()])),
        any_routes(),
        (
            prop::sample::select(vec![Access::default(), super::access::tests::full()]),
            any_metadata(),
        ),
    )
        .prop_map(
            |(
                name,
                source,
                abi,
                io,
                args,
                env,
                limits,
                reuse,
                (asynchronous, grants),
                routes,
                (access, metadata),
            )| {
                Function {
                    name: FunctionName::parse(&name).unwrap(),
                    source,
                    abi,
                    template: Template {
                        io: if abi == Some(Abi::Http) { Io::default() } else { io },
                        args,
                        env: env.into_iter().collect(),
                        limits,
                        reuse: Reuse { calls: reuse.0, concurrent: reuse.1, idle: reuse.2 },
                        asynchronous,
                        stores: vec![],
                        grants,
                    },
                    routes,
                    access,
                    metadata,
                }
            },
        )
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9/{}*=]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop::sample::select(vec![
            "source", "path", "blob", "abi", "io", "args", "env", "name", "value", "limits",
            "memory", "timeout", "reuse", "calls", "routes", "methods", "host", "odd\n",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..6).prop_map(|members| {
                members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn an_encoded_function_decodes_as_itself(function in any_function()) {
        let encoded = encode(&function);
        prop_assert_eq!(decode(&encoded), Ok(function.clone()));
        let text = crate::document::print(&encoded);
        prop_assert_eq!(parse_documents(&text), Ok(vec![function]));
    }

    #[test]
    fn whatever_is_refused_is_refused_with_a_reason(metadata in any_json(), spec in any_json()) {
        let document =
            json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec});
        if let Err(problems) = decode(&document) {
            prop_assert!(!problems.is_empty());
        }
    }
}
