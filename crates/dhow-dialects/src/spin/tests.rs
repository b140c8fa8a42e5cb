//! Manifests as people write them, and what is wrong with others.

use dhow_core::application::{Application, Component, Executor, File, Variable};
use dhow_core::digest::Digest;
use dhow_core::plan::components::Components;

use super::locked::{decode as read_locked, decode_kept, encode};
use super::manifest::decode;
use super::{Mount, Source};

const SECOND: &str = r#"
spin_manifest_version = 2

[application]
name = "shop"
version = "1.2.3"
authors = ["A <a@example.com>"]
[application.trigger.http]
base = "/v1"

[variables]
api_host = { default = "api.example.com" }
password = { required = true, secret = true }

[[trigger.http]]
route = "/cart/:user/..."
component = "cart"

[[trigger.http]]
route = { private = true }
component = "stock"

[[trigger.http]]
id = "old"
route = "/cgi"
component = { source = "cgi.wasm" }
executor = { type = "wagi", argv = "a b" }

[component.cart]
source = "target/cart.wasm"
allowed_outbound_hosts = ["https://{{ api_host }}:*", "http://stock.spin.internal"]
key_value_stores = ["default"]
files = ["images/*.png", { source = "assets", destination = "/" }]
exclude_files = ["images/draft*"]
environment = { MODE = "fast" }
[component.cart.variables]
url = "https://{{ api_host }}/"
[component.cart.build]
command = "cargo build"
[component.cart.tool.mine]
anything = 1

[component.stock]
source = { url = "https://example.com/s.wasm", digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" }
"#;

const FIRST: &str = r#"
spin_manifest_version = "1"
name = "old"
trigger = { type = "http", base = "/" }
[variables]
greeting = { default = "hi" }
[[component]]
id = "hello"
source = "hello.wasm"
allowed_http_hosts = ["example.com", "insecure:allow-all"]
[component.trigger]
route = "/hello"
executor = { type = "spin" }
[component.config]
text = "{{ greeting }}!"
"#;

fn paths(text: &str) -> Vec<String> {
    let mut paths: Vec<_> =
        decode(text).unwrap_err().fields.into_iter().map(|field| field.path).collect();
    paths.sort_unstable();
    paths
}

#[test]
fn a_manifest_of_version_2_is_read() {
    let shop = decode(SECOND).unwrap();
    assert_eq!((shop.name.as_str(), shop.version.as_deref()), ("shop", Some("1.2.3")));
    assert_eq!(shop.base, "/v1");
    assert_eq!(shop.variables["password"], Variable { default: None, secret: true });
    let cart = &shop.components[shop.component("cart").unwrap()];
    assert_eq!(
        cart.source,
        Source::Path { path: "target/cart.wasm".into(), build: Some("cargo build".into()) }
    );
    assert_eq!(cart.stores, ["default"]);
    assert_eq!(cart.env["MODE"], "fast");
    let placed = Mount::Placed { source: "assets".into(), destination: "/".into() };
    assert_eq!(cart.files.mounts, [Mount::Pattern("images/*.png".into()), placed]);
    assert_eq!(cart.files.exclude, ["images/draft*"]);
    let cgi = &shop.components[shop.component("old-component").unwrap()];
    assert_eq!(cgi.executor, Executor::Wagi { argv: "a b".into() });
    let routes = Components::new(&shop).unwrap();
    let found = routes.find("/v1/cart/ann/x").unwrap();
    assert_eq!(shop.components[found.component].id, "cart");
    assert!(routes.find("/v1/stock").is_none());
}

#[test]
fn a_manifest_of_version_1_is_read() {
    for version in ["spin_manifest_version", "spin_version"] {
        let old = decode(&FIRST.replace("spin_manifest_version", version)).unwrap();
        let hello = &old.components[0];
        assert_eq!(hello.variables["text"], "{{ greeting }}!");
        assert_eq!(
            hello.outbound,
            [
                "http://example.com",
                "https://example.com",
                "http://*:*",
                "https://*:*",
                "http://self"
            ]
        );
        assert_eq!(old.triggers[0].route.as_deref(), Some("/hello"));
    }
}

#[test]
fn everything_that_is_wrong_is_named_by_path() {
    assert_eq!(paths("name = 1"), ["spin_manifest_version"]);
    assert_eq!(paths("spin_manifest_version = 3"), ["spin_manifest_version"]);
    assert_eq!(paths("spin_manifest_version = "), [""]);
    let wrong = r#"
spin_manifest_version = 2
unknown = 1
[application]
name = "x"
[variables]
both = { required = true, default = "" }
[[trigger.http]]
route = "/{x}"
component = "a"
[[trigger.http]]
component = "nobody"
[[trigger.redis]]
channel = "c"
component = "a"
[component.a]
source = "a.wasm"
sqlite_databases = ["default"]
ai_models = ["llama"]
files = ["../secret", { source = "x" }]
variables = { v = "{{ nothing }}" }
[component.a.dependencies]
"x:y" = { path = "y.wasm" }
[component.b]
source = { registry = "r", package = "a:b", version = "1" }
"#;
    assert_eq!(
        paths(wrong),
        [
            "component.a.ai_models",
            "component.a.dependencies",
            "component.a.files[0]",
            "component.a.files[1].destination",
            "component.a.sqlite_databases",
            "component.a.v",
            "component.b.source",
            "trigger",
            "trigger.http[1].component",
            "trigger.redis",
            "unknown",
            "variables.both",
        ]
    );
    let error = decode(&wrong.replace("redis", "sqs")).unwrap_err().to_string();
    assert!(error.contains("the trigger `sqs` is not provided"), "{error}");
}

fn kept() -> Application {
    let digest = |byte: u8| Digest::from_bytes([byte; 32]);
    let sources = decode(SECOND).unwrap();
    let mut next = 0;
    sources
        .with_contents(|_: &Component<_, _>| {
            next += 1;
            let file = File { path: format!("a/{next}"), content: digest(100 + next) };
            Ok::<_, ()>((digest(next), vec![file]))
        })
        .unwrap()
}

#[test]
fn what_is_kept_of_an_application_is_read_as_it_was_written() {
    let application = kept();
    assert_eq!(decode_kept(&encode(&application)), Ok(application.clone()));
    assert_eq!(application.blobs().len(), 6);
    assert_eq!(application.required(), ["password"]);
}

#[test]
fn locked_applications_of_spin_are_read() {
    let locked = r#"{
        "spin_lock_version": 1,
        "must_understand": ["host_requirements"],
        "host_requirements": {"local_service_chaining": "required", "magic": "optional"},
        "metadata": {"name": "a", "trigger": {"type": "http", "base": "/b"}, "origin": "file:///x"},
        "variables": {"v": {"default": "1"}},
        "triggers": [{"id": "t", "trigger_type": "http", "trigger_config":
            {"component": "c", "route": "/c/...", "executor": {"type": "http"}}}],
        "components": [{"id": "c", "metadata": {"allowed_outbound_hosts": ["https://x"]},
            "source": {"content_type": "application/wasm", "source": "file:///x.wasm"},
            "files": [{"inline": "aGk=", "path": "/a/./b.txt"}], "config": {"k": "{{ v }}"}}]
    }"#;
    let application = read_locked(locked.as_bytes()).unwrap();
    assert_eq!(application.base, "/b");
    assert_eq!(application.components[0].files[0].path, "a/b.txt");
    assert_eq!(application.components[0].outbound, ["https://x"]);
    // What dhow keeps names every content by its digest.
    assert!(decode_kept(locked.as_bytes()).is_err());
    for (from, to) in [
        ("\"spin_lock_version\": 1", "\"spin_lock_version\": 2"),
        ("[\"host_requirements\"]", "[\"teleport\"]"),
        ("\"magic\": \"optional\"", "\"magic\": \"required\""),
        ("\"trigger_type\": \"http\"", "\"trigger_type\": \"redis\""),
        ("\"component\": \"c\"", "\"component\": \"d\""),
        ("/a/./b.txt", "/a/../../b.txt"),
        ("{{ v }}", "{{ w }}"),
        (
            "\"metadata\": {\"allowed_outbound_hosts\": [\"https://x\"]}",
            "\"metadata\": {\"databases\": [\"x\"]}",
        ),
        ("\"config\":", "\"dependencies\": {\"a:b\": {}}, \"config\":"),
    ] {
        assert!(locked.contains(from), "{from}");
        assert!(read_locked(locked.replace(from, to).as_bytes()).is_err(), "{to}");
    }
}
