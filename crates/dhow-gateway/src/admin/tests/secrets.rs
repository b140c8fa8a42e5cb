use http::StatusCode;
use serde_json::json;

use super::rig::Rig;

const PATH: &str = "/api/v1/namespaces/shop/secrets/token";

#[tokio::test]
async fn secrets_are_put_listed_without_values_and_deleted() {
    let rig = Rig::new().await;
    let body = json!({"data": {"key": "aHVudGVyMg=="}}).to_string();
    let status = json!({"name": "token", "namespace": "shop", "type": "Opaque", "keys": ["key"]});
    assert_eq!(rig.json("PUT", PATH, body).await, (StatusCode::OK, status.clone()));
    let kept = rig.secrets.0.lock().values().next().unwrap().values["key"].to_vec();
    assert_eq!(kept, b"hunter2");
    for (path, items) in [
        ("secrets", json!([status])),
        ("namespaces/shop/secrets", json!([status])),
        ("namespaces/default/secrets", json!([])),
    ] {
        let listed = rig.json("GET", &format!("/api/v1/{path}"), "").await;
        assert_eq!(listed, (StatusCode::OK, json!({"items": items})));
    }
    assert_eq!(rig.json("DELETE", PATH, "").await.0, StatusCode::NO_CONTENT);
    assert_eq!(rig.json("DELETE", PATH, "").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_no_secret_is_refused_and_never_quoted() {
    let rig = Rig::new().await;
    for (body, part) in [
        (r#"{"data": {"key": "hunter2!"}}"#, "data.key"),
        (r#"{"data": {"a/b": "aHVudGVyMg=="}}"#, "is not a key"),
        (r#"{"data": {}}"#, "at least one key"),
        (r#"{"data": "hunter2!"}"#, "line 1"),
        (r#"{"type": "kubernetes.io/dockerconfigjson", "data": {"a": ""}}"#, ".dockerconfigjson"),
        (r#"{"hunter2!": 1}"#, "line 1"),
    ] {
        let (status, problem) = rig.json("PUT", PATH, body.to_owned()).await;
        let problem = problem.to_string();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(problem.contains(part) && !problem.contains("hunter2"), "{problem}");
    }
    assert!(rig.secrets.0.lock().is_empty());
    let large = json!({"data": {"key": "A".repeat(3 << 20)}}).to_string();
    assert_eq!(rig.json("PUT", PATH, large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}
