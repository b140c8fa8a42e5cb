use dhow_core::abi::Abi;
use dhow_core::digest::Digest;
use dhow_core::ports::{Catalog, CatalogError};
use serde_json::{Value, json};

use super::rig::{Rig, manifest, path};

const P2: &str = "wasi:http/incoming-handler@0.2.6";
const P3: &str = "wasi:http/handler@0.3.0";

#[tokio::test]
async fn a_function_is_new_once_and_then_has_revisions() {
    let rig = Rig::new().await;
    let digest = rig.module(&[Abi::Command], &["wasi:cli/run@0.2.6"]);
    let mut said = manifest("hello", &digest);
    said["spec"]["io"] = json!("cgi");
    said["spec"]["routes"] = json!([{"path": "/hi", "methods": ["GET"], "host": "example.com"}]);
    said["spec"]["limits"] = json!({"memory": "64Mi"});
    let (status, function) = rig.put("hello", &said).await;
    assert_eq!(status, 201, "{function}");
    for (field, value) in [
        ("name", json!("hello")),
        ("namespace", json!("default")),
        ("url", json!("http://127.0.0.1:8080/function/hello")),
        ("revision", json!(1)),
        ("abi", json!("command")),
        ("io", json!("cgi")),
        ("digest", json!(digest.to_string())),
        ("program", json!("hello.wasm")),
        ("routes", json!([{"path": "/hi", "methods": ["GET"], "host": "example.com"}])),
        ("in_flight", json!(0)),
        ("calls", json!(0)),
        ("failures", json!(0)),
    ] {
        assert_eq!(function[field], value, "{field}");
    }
    assert_eq!(function["limits"]["memory"], "64Mi");
    assert_eq!(function["limits"]["timeout"], "30s");
    assert!(function["deployed"].as_str().unwrap().ends_with('Z'));
    // What it tells deploys the same again.
    let (status, again) = rig.put("hello", &function["manifest"]).await;
    assert_eq!((status.as_u16(), &again["revision"]), (200, &json!(2)));
    assert_eq!(again["manifest"], function["manifest"]);
}

#[tokio::test]
async fn a_namespace_may_be_left_to_the_path() {
    let rig = Rig::new().await;
    let said = manifest("hello", &rig.module(&[Abi::Http], &[P2])).to_string();
    let (status, function) = rig.json("PUT", "/api/v1/namespaces/team/functions/hello", said).await;
    assert_eq!(status, 201, "{function}");
    assert_eq!(function["namespace"], "team");
    assert_eq!(function["url"], "http://127.0.0.1:8080/function/hello.team");
    assert_eq!(function.get("io"), None);
}

#[tokio::test]
async fn the_answer_waits_for_the_gateway() {
    let rig = Rig::new().await;
    let said = manifest("hello", &rig.module(&[Abi::Http], &[P2]));
    rig.applied.send_replace(0);
    let deployed = async {
        while rig.catalog.snapshot().functions.is_empty() {
            tokio::task::yield_now().await;
        }
        let (status, problem) = rig.json("GET", "/readyz", "").await;
        assert_eq!((status.as_u16(), &problem["reason"]), (503, &json!("not-ready")));
        rig.applied.send_replace(1);
    };
    let ((status, _), ()) = tokio::join!(rig.put("hello", &said), deployed);
    assert_eq!(status, 201);
    assert_eq!(rig.send(rig.request("GET", "/readyz"), "").await.status(), 200);
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let rig = Rig::new().await;
    let digest = rig.module(&[Abi::Http], &[P2]);
    let mut said = manifest("hello", &digest);
    said["spec"]["routes"] = json!([{"path": "/hi"}]);
    let dry = |name| format!("{}?dryRun=true", path(name));
    let (status, function) = rig.json("PUT", &dry("hello"), said.to_string()).await;
    assert_eq!((status.as_u16(), &function["revision"]), (200, &json!(0)));
    assert_eq!(function.get("deployed"), None);
    assert!(rig.catalog.snapshot().functions.is_empty());
    // It is judged like any other.
    rig.put("hello", &said).await;
    said["metadata"]["name"] = json!("other");
    let (status, problem) = rig.json("PUT", &dry("other"), said.to_string()).await;
    assert_eq!((status.as_u16(), &problem["reason"]), (409, &json!("conflict")));
}

/// A refusal names `field`, says what and what to do, and nothing is deployed.
async fn assert_refused(rig: &Rig, said: &Value, status: u16, reason: &str, field: &str) -> Value {
    let before = rig.catalog.snapshot().version;
    let (answered, problem) = rig.put("hello", said).await;
    assert_eq!((answered.as_u16(), &problem["reason"]), (status, &json!(reason)), "{problem}");
    assert_ne!(problem["error"], "");
    assert_ne!(problem["hint"], "");
    let paths: Vec<_> = problem["fields"].as_array().into_iter().flatten().collect();
    let paths: Vec<_> = paths.iter().map(|wrong| wrong["path"].as_str().unwrap()).collect();
    assert_eq!(paths.join(" "), field, "{problem}");
    assert_eq!(rig.catalog.snapshot().version, before);
    problem
}

#[tokio::test]
async fn every_wrong_field_of_a_manifest_is_named() {
    let rig = Rig::new().await;
    let mut said = manifest("hello", &rig.module(&[Abi::Http], &[P2]));
    said["spec"]["limits"] = json!({"memory": "-1", "timeout": "soon"});
    assert_refused(&rig, &said, 400, "invalid", "spec.limits.memory spec.limits.timeout").await;
}

#[tokio::test]
async fn manifest_and_path_agree() {
    let rig = Rig::new().await;
    let mut said = manifest("other", &rig.module(&[Abi::Http], &[P2]));
    said["metadata"]["namespace"] = json!("team");
    assert_refused(&rig, &said, 400, "invalid", "metadata.namespace metadata.name").await;
}

#[tokio::test]
async fn a_body_is_one_manifest_of_at_most_a_mebibyte() {
    let rig = Rig::new().await;
    let said = manifest("hello", &rig.module(&[Abi::Http], &[P2])).to_string();
    for body in [String::new(), "{".to_owned(), format!("{said}\n---\n{said}")] {
        let (status, problem) = rig.json("PUT", &path("hello"), body).await;
        assert_eq!((status.as_u16(), &problem["reason"]), (400, &json!("invalid")), "{problem}");
    }
    let (status, _) = rig.json("PUT", &path("hello"), &b"\xff"[..]).await;
    assert_eq!(status, 400);
    let (status, problem) = rig.json("PUT", &path("hello"), vec![b' '; (1 << 20) + 1]).await;
    assert_eq!((status.as_u16(), &problem["reason"]), (413, &json!("payload-too-large")));
    let (status, _) = rig.json("PUT", &path("Hello"), said.clone()).await;
    assert_eq!(status, 400);
    let (status, _) = rig.json("PUT", &format!("{}?dry=true", path("hello")), said).await;
    assert_eq!(status, 400);
    assert!(rig.catalog.snapshot().functions.is_empty());
}

#[tokio::test]
async fn code_is_uploaded_before() {
    let rig = Rig::new().await;
    let mut said = manifest("hello", &Digest::from_bytes([9; 32]));
    assert_refused(&rig, &said, 422, "not-found", "").await;
    said["spec"]["source"] = json!({"path": "hello.wasm"});
    assert_refused(&rig, &said, 400, "invalid", "spec.source.path").await;
}

#[tokio::test]
async fn a_refused_module_is_not_deployed() {
    let rig = Rig::new().await;
    for (reason, status) in [("unknown-imports", 422), ("storage-full", 507), ("internal", 500)] {
        let said = manifest("hello", &rig.refused_module(reason));
        let problem = assert_refused(&rig, &said, status, reason, "").await;
        assert_eq!(
            (&problem["error"], &problem["hint"]),
            (&json!("it is wrong"), &json!("mend it"))
        );
    }
}

#[tokio::test]
async fn a_told_abi_is_one_that_the_module_has() {
    let rig = Rig::new().await;
    let mut said = manifest("hello", &rig.module(&[Abi::Command, Abi::Server], &[]));
    said["spec"]["abi"] = json!("http");
    let problem = assert_refused(&rig, &said, 422, "abi-mismatch", "spec.abi").await;
    let message = problem["fields"][0]["message"].as_str().unwrap();
    assert!(message.contains("command or server"), "{message}");
}

#[tokio::test]
async fn abis_of_later_versions_are_refused() {
    let rig = Rig::new().await;
    for abi in [Abi::Spin, Abi::Actor, Abi::Server] {
        let said = manifest("hello", &rig.module(&[abi], &[]));
        let problem = assert_refused(&rig, &said, 422, "unsupported", "spec.abi").await;
        assert!(problem["error"].as_str().unwrap().contains("http and command"), "{problem}");
    }
}

#[tokio::test]
async fn an_instance_is_used_again_only_where_it_can_be() {
    let rig = Rig::new().await;
    let command = rig.module(&[Abi::Command], &[]);
    let (p2, p3) = (rig.module(&[Abi::Http], &[P2]), rig.module(&[Abi::Http], &[P3]));
    let with = |digest, reuse: Value| {
        let mut said = manifest("hello", digest);
        said["spec"]["reuse"] = reuse;
        said
    };
    let (calls, concurrent) = (json!({"calls": 2}), json!({"calls": 2, "concurrent": 2}));
    let field = "spec.reuse.calls";
    assert_refused(&rig, &with(&command, calls.clone()), 422, "invalid", field).await;
    let field = "spec.reuse.concurrent";
    assert_refused(&rig, &with(&command, json!({"concurrent": 2})), 422, "invalid", field).await;
    assert_refused(&rig, &with(&p2, concurrent.clone()), 422, "invalid", field).await;
    assert_eq!(rig.put("hello", &with(&p2, calls)).await.0, 201);
    assert_eq!(rig.put("hello", &with(&p3, concurrent)).await.0, 200);
}

#[tokio::test]
async fn io_is_for_commands() {
    let rig = Rig::new().await;
    let mut said = manifest("hello", &rig.module(&[Abi::Http], &[P2]));
    said["spec"]["io"] = json!("keeper");
    assert_refused(&rig, &said, 422, "invalid", "spec.io").await;
}

#[tokio::test]
async fn a_route_of_another_function_is_a_conflict_that_names_it() {
    let rig = Rig::new().await;
    let digest = rig.module(&[Abi::Http], &[P2]);
    let mut said = manifest("owner", &digest);
    said["spec"]["routes"] = json!([{"path": "/hi"}]);
    assert_eq!(rig.put("owner", &said).await.0, 201);
    said["metadata"]["name"] = json!("hello");
    let problem = assert_refused(&rig, &said, 409, "conflict", "spec.routes").await;
    assert!(problem["error"].as_str().unwrap().contains("owner.default"), "{problem}");
}

#[tokio::test]
async fn a_catalog_that_fails_has_its_names() {
    let rig = Rig::new().await;
    let said = manifest("hello", &rig.module(&[Abi::Http], &[P2]));
    *rig.catalog.failure.lock() = Some(CatalogError::Full);
    assert_refused(&rig, &said, 507, "storage-full", "").await;
    *rig.catalog.failure.lock() = Some(CatalogError::Storage("broken".to_owned()));
    assert_refused(&rig, &said, 500, "internal", "").await;
}
