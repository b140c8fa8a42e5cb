use dhow_core::abi::Abi;
use serde_json::{Value, json};

use super::rig::{Rig, manifest, path};

async fn deploy(rig: &Rig, namespace: &str, name: &str) {
    let said = manifest(name, &rig.module(&[Abi::Http], &[])).to_string();
    let path = format!("/api/v1/namespaces/{namespace}/functions/{name}");
    let (status, function) = rig.json("PUT", &path, said).await;
    assert!(status.is_success(), "{function}");
}

#[tokio::test]
async fn functions_are_listed_by_namespace() {
    let rig = Rig::new().await;
    for (namespace, name) in [("default", "b"), ("team", "a"), ("default", "a")] {
        deploy(&rig, namespace, name).await;
    }
    for (query, expected) in [
        ("", "a.default b.default a.team"),
        ("?namespace=team", "a.team"),
        ("?namespace=nobody", ""),
    ] {
        let (status, list) = rig.json("GET", &format!("/api/v1/functions{query}"), "").await;
        assert_eq!(status, 200);
        let name = |item: &Value| {
            format!("{}.{}", item["name"].as_str().unwrap(), item["namespace"].as_str().unwrap())
        };
        let names: Vec<_> = list["items"].as_array().unwrap().iter().map(name).collect();
        assert_eq!(names.join(" "), expected);
    }
    let (status, problem) = rig.json("GET", "/api/v1/functions?namespace=A", "").await;
    assert_eq!((status.as_u16(), &problem["fields"][0]["path"]), (400, &json!("namespace")));
}

#[tokio::test]
async fn a_function_that_is_not_there_is_named() {
    let rig = Rig::new().await;
    for (method, below) in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/revisions"),
        ("POST", "/rollback"),
        ("DELETE", "/traffic"),
        ("GET", "/outcomes"),
        ("GET", "/logs"),
    ] {
        let (status, problem) = rig.json(method, &format!("{}{below}", path("hello")), "").await;
        assert_eq!((status.as_u16(), &problem["reason"]), (404, &json!("not-found")), "{below}");
        assert!(problem["error"].as_str().unwrap().contains("`hello`"), "{problem}");
    }
}
