use http::StatusCode;
use serde_json::{Value, json};

use super::rig::{Rig, SECRET, read};

impl Rig {
    async fn with(&self, credentials: &str, method: &str, path: &str, body: &Value) -> Answered {
        let mut request = self.request(method, path).header("content-type", "application/json");
        if !credentials.is_empty() {
            request = request.header("authorization", credentials);
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, body) = read(self.send(request, body).await).await;
        Answered { status, body }
    }

    /// Makes a token; what to send to use it.
    async fn token(&self, name: &str, scopes: &[&str]) -> String {
        let wanted = json!({"name": name, "scopes": scopes, "expires": "1h"});
        let made = self.with(&bearer(SECRET), "POST", "/api/v1/tokens", &wanted).await;
        assert_eq!(made.status, 201, "{}", made.body);
        bearer(made.body["token"].as_str().unwrap())
    }
}

struct Answered {
    status: StatusCode,
    body: Value,
}

fn bearer(secret: &str) -> String {
    format!("Bearer {secret}")
}

#[tokio::test]
async fn without_credentials_nothing_is_said_but_health() {
    let rig = Rig::asking().await;
    for (method, path) in [
        ("GET", "/api/v1/functions"),
        ("GET", "/api/v1/version"),
        ("GET", "/api/v1/tokens"),
        ("POST", "/api/v1/tokens"),
        ("PUT", "/api/v1/namespaces/default/functions/a"),
        ("GET", "/api/v1/nothing"),
        ("GET", "/"),
    ] {
        for credentials in ["", "Bearer wrong", "Basic YWRtaW46d3Jvbmc=", "Bearer ", "What ever"] {
            let answer = rig.with(credentials, method, path, &Value::Null).await;
            assert_eq!(answer.status, 401, "{credentials} {method} {path}");
            assert_eq!(answer.body["reason"], "unauthorized");
        }
    }
    let answer = rig.send(rig.request("GET", "/healthz"), "").await;
    assert_eq!(answer.status(), 200);
    let answer = rig.send(rig.request("GET", "/api/v1/functions"), "").await;
    assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"dhow\"");
}

#[tokio::test]
async fn the_admin_secret_is_a_bearer_or_admins_password() {
    let rig = Rig::asking().await;
    let basic = |pair: &str| {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    };
    for (credentials, status) in [
        (bearer(SECRET), 200),
        (basic(&format!("admin:{SECRET}")), 200),
        (basic(&format!("root:{SECRET}")), 401),
        (basic("admin:"), 401),
    ] {
        let answer = rig.with(&credentials, "GET", "/api/v1/tokens", &Value::Null).await;
        assert_eq!(answer.status, status, "{credentials}");
    }
}

#[tokio::test]
async fn a_token_may_do_what_it_says_and_no_more() {
    let rig = Rig::asking().await;
    let read = rig.token("reader", &["read"]).await;
    let shop = rig.token("shop", &["deploy:shop"]).await;
    let invoke = rig.token("caller", &["invoke"]).await;
    let of = |namespace: &str| format!("/api/v1/namespaces/{namespace}/functions/a");
    for (credentials, method, path, allowed) in [
        (&read, "GET", "/api/v1/functions".to_owned(), true),
        (&read, "GET", of("shop"), true),
        (&read, "DELETE", of("shop"), false),
        (&read, "POST", "/api/v1/artifacts".to_owned(), false),
        (&read, "GET", "/api/v1/tokens".to_owned(), false),
        (&read, "GET", "/api/v1/unheard-of".to_owned(), false),
        (&shop, "GET", of("shop"), true),
        (&shop, "DELETE", of("shop"), true),
        (&shop, "GET", of("other"), false),
        (&shop, "DELETE", of("other"), false),
        (&shop, "POST", "/api/v1/tokens".to_owned(), false),
        (&invoke, "GET", "/api/v1/version".to_owned(), true),
        (&invoke, "GET", "/api/v1/functions".to_owned(), false),
    ] {
        let answer = rig.with(credentials, method, &path, &Value::Null).await;
        assert_eq!(answer.status != 403, allowed, "{method} {path}: {}", answer.body);
        assert_ne!(answer.status, 401);
        if !allowed {
            assert_eq!(answer.body["reason"], "forbidden");
        }
    }
}

#[tokio::test]
async fn a_listing_has_what_may_be_seen() {
    let rig = Rig::asking().await;
    let digest = rig.module(&[dhow_core::abi::Abi::Http], &[]);
    for namespace in ["default", "shop"] {
        let mut manifest = super::rig::manifest("a", &digest);
        manifest["metadata"]["namespace"] = json!(namespace);
        let path = format!("/api/v1/namespaces/{namespace}/functions/a");
        assert_eq!(rig.with(&bearer(SECRET), "PUT", &path, &manifest).await.status, 201);
    }
    let namespaces = async |credentials: &str| {
        let answer = rig.with(credentials, "GET", "/api/v1/functions", &Value::Null).await;
        let items = answer.body["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["namespace"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(namespaces(&bearer(SECRET)).await, ["default", "shop"]);
    let shop = rig.token("shop", &["read:shop"]).await;
    assert_eq!(namespaces(&shop).await, ["shop"]);
}

#[tokio::test]
async fn a_token_is_told_once_and_ends_when_it_is_revoked() {
    let rig = Rig::asking().await;
    let token = rig.token("ci", &["read"]).await;
    let functions = "/api/v1/functions";
    assert_eq!(rig.with(&token, "GET", functions, &Value::Null).await.status, 200);
    let listed = rig.with(&bearer(SECRET), "GET", "/api/v1/tokens", &Value::Null).await;
    let secret = token.strip_prefix("Bearer ").unwrap();
    assert!(!listed.body.to_string().contains(secret), "{}", listed.body);
    assert_eq!(listed.body["items"][0]["name"], "ci");
    assert_eq!(listed.body["items"][0]["expired"], false);

    let again = json!({"name": "ci", "scopes": ["admin"]});
    let answer = rig.with(&bearer(SECRET), "POST", "/api/v1/tokens", &again).await;
    assert_eq!((answer.status.as_u16(), &answer.body["reason"]), (409, &json!("conflict")));

    let revoke = "/api/v1/tokens/ci";
    let answer = rig.with(&bearer(SECRET), "DELETE", revoke, &Value::Null).await;
    assert_eq!(answer.status, 204);
    assert_eq!(rig.with(&token, "GET", functions, &Value::Null).await.status, 401);
    assert_eq!(rig.with(&bearer(SECRET), "DELETE", revoke, &Value::Null).await.status, 404);
}

#[tokio::test]
async fn where_nobody_is_asked_what_is_given_counts_all_the_same() {
    let rig = Rig::new().await;
    let token = rig.token("reader", &["read:shop"]).await;
    for (credentials, status) in [("", 200), (token.as_str(), 403), ("Bearer wrong", 401)] {
        let answer = rig.with(credentials, "GET", "/api/v1/tokens", &Value::Null).await;
        assert_eq!(answer.status, status, "{credentials}");
    }
}
