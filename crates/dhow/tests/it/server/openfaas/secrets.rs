//! Secrets by way of OpenFaaS' API.

use serde_json::{Value, json};

use super::Stack;

#[test]
fn secrets_are_created_replaced_listed_by_name_and_deleted() {
    let stack = Stack::new(&["hello", "http-given"]);
    let secret = |method: &str, body: Value| stack.system(method, "secrets", &body).status;
    assert_eq!(stack.system("GET", "secrets", &Value::Null).json(), json!([]));
    assert_eq!(secret("PUT", json!({"name": "key", "value": "v"})), 404);
    assert_eq!(secret("POST", json!({"name": "key", "value": "v"})), 202);
    assert_eq!(secret("POST", json!({"name": "key", "value": "v"})), 409);
    assert_eq!(secret("PUT", json!({"name": "key", "rawValue": "aGk="})), 202);
    assert_eq!(secret("PUT", json!({"name": "key", "rawValue": "?"})), 400);
    assert_eq!(secret("POST", json!({"name": "A key", "value": "v"})), 422);
    assert_eq!(secret("POST", json!({"name": "of-shop", "namespace": "shop", "value": "v"})), 202);
    let listed = stack.system("GET", "secrets?namespace=openfaas-fn", &Value::Null);
    assert_eq!(listed.json(), json!([{"name": "key", "namespace": "openfaas-fn"}]));
    let wrong = stack.system("POST", "secrets", &json!({"name": "k", "value": ["hunter2"]}));
    assert_eq!(wrong.status, 400);
    assert!(!wrong.text().contains("hunter2"), "{}", wrong.text());

    stack.deployed("hello", json!({"secrets": ["key"]}));
    assert_eq!(stack.status("hello")["secrets"], json!(["key"]));
    assert!(stack.server.ok(&["secret", "list"]).contains("key"));
    // A function has the values of those that it names, as files.
    stack.deployed("http-given", json!({"secrets": ["key"]}));
    let asked = b"FILE /var/openfaas/secrets/key\nLIST /var/openfaas/secrets";
    let answer = stack.server.post("/function/http-given", asked);
    assert_eq!(answer.text().lines().collect::<Vec<_>>(), ["hi", "key"]);
    assert_eq!(secret("DELETE", json!({"name": "key"})), 202);
    assert_eq!(secret("DELETE", json!({"name": "key"})), 404);
}
