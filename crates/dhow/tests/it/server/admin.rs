//! The admin port: who may speak to it, and what it refuses.

use dhow_testkit::contract::Contract;

use super::rig::{Server, call};

#[test]
fn a_strangers_page_reaches_nothing() {
    let server = Server::start();
    let url = format!("{}/api/v1/functions", server.admin);
    assert_eq!(call(&url, "GET", &[], b"").status, 200);
    for headers in [
        [("host", "evil.example")],
        [("origin", "http://evil.example")],
        [("origin", "null")],
        [("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "same-site")],
    ] {
        let answer = call(&url, "GET", &headers, b"");
        assert_eq!(answer.status, 403, "{headers:?}");
        assert_eq!(answer.json()["reason"], "foreign-origin");
    }
    assert_eq!(call(&url, "GET", &[("origin", &server.admin)], b"").status, 200);
}

#[test]
fn every_wrong_field_is_named_and_nothing_is_deployed() {
    let server = Server::start();
    let manifest = br#"{"apiVersion":"dhow.dev/v1alpha1","kind":"Function","metadata":{"name":"f"},
        "spec":{"source":{"blob":"sha256:00"},"abi":"what","limits":{"memory":"-1","timeout":"900d",
        "cpuTime":"0s","concurrency":0},"extra":1}}"#;
    let answer = server.admin("PUT", "/api/v1/namespaces/default/functions/f", manifest);
    assert_eq!(answer.status, 400);
    let json = answer.json();
    let paths: Vec<_> =
        json["fields"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap()).collect();
    for path in [
        "spec.source.blob",
        "spec.abi",
        "spec.limits.memory",
        "spec.limits.timeout",
        "spec.limits.cpuTime",
        "spec.limits.concurrency",
        "spec.extra",
    ] {
        assert!(paths.contains(&path), "{path} is not in {paths:?}");
    }
    assert_eq!(
        server.admin("GET", "/api/v1/functions", b"").json()["items"],
        serde_json::json!([])
    );
}

#[test]
fn a_refused_module_says_why() {
    let server = Server::start();
    let path = server.path().join("not.wasm");
    std::fs::write(&path, "just text").unwrap();
    let said = server.fails(&["deploy", "f", path.to_str().unwrap()]);
    assert!(said.contains("no WebAssembly"), "{said}");
    std::fs::write(&path, r#"(module (import "env" "puts" (func)) (func (export "_start")))"#)
        .unwrap();
    let said = server.fails(&["deploy", "f", path.to_str().unwrap()]);
    assert!(said.contains("env puts"), "{said}");
    assert_eq!(server.get("/function/f").status, 404);
}

#[test]
fn what_this_version_does_not_run_is_refused_by_name() {
    let server = Server::start();
    let path = server.path().join("actor.wat");
    std::fs::write(
        &path,
        r#"(module (import "wapc" "__guest_response" (func (param i32 i32)))
            (func (export "__guest_call") (param i32 i32) (result i32) i32.const 1))"#,
    )
    .unwrap();
    let said = server.fails(&["deploy", "f", path.to_str().unwrap()]);
    assert!(said.contains("actor"), "{said}");
}

#[test]
fn the_api_describes_itself() {
    let server = Server::start();
    // The document that every answer is held against, and no other.
    let document = server.admin("GET", "/api/v1/openapi.json", b"").json();
    assert_eq!(document, *Contract::of_dhow().document());
    let version = server.admin("GET", "/api/v1/version", b"").json();
    assert_eq!(version["gateway"], server.gateway);
}
