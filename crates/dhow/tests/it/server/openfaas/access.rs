//! Who may use OpenFaaS' API.

use serde_json::json;

use super::super::rig::{Server, call, client_with, text};
use super::{Stack, header};

#[test]
fn whoever_is_asked_shows_the_secret_or_a_token() {
    let server = Server::with(&["--auth"]);
    let functions = format!("{}/system/functions", server.gateway);
    let with = |said: &[(&str, &str)]| call(&functions, "GET", said, b"");
    let refused = with(&[]);
    assert_eq!((refused.status, refused.text().as_str()), (401, "invalid credentials"));
    assert_eq!(header(&refused, "www-authenticate"), "Basic realm=\"Restricted\"");
    assert_eq!(with(&[("authorization", "Bearer ")]).status, 401);
    assert_eq!(with(&[("authorization", "Bearer nonsense")]).status, 401);
    let browser = with(&[("user-agent", "Mozilla/5.0")]);
    assert_eq!(header(&browser, "www-authenticate"), "Bearer");

    let file = server.path().join("data/admin-secret");
    let secret = std::fs::read_to_string(&file).unwrap();
    let pair = openssl_base64(&format!("admin:{}", secret.trim()));
    assert_eq!(with(&[("authorization", &format!("Basic {pair}"))]).status, 200);
    let env = [("DHOW_TOKEN_FILE", file.to_str().unwrap())];
    let scope = ["token", "create", "reader", "--scope", "read:default"];
    let token = client_with(&server.admin, &scope, &env);
    let bearer = format!("Bearer {}", text(&token.stdout).trim());
    let bearer = [("authorization", bearer.as_str())];
    assert_eq!(with(&bearer).status, 200);
    let url = |path: &str| format!("{}/system/{path}", server.gateway);
    assert_eq!(call(&url("functions?namespace=shop"), "GET", &bearer, b"").status, 403);
    let deployment = json!({"service": "a", "image": "b"}).to_string();
    let deployed = call(&url("functions"), "POST", &bearer, deployment.as_bytes());
    assert_eq!(deployed.status, 403, "{}", deployed.text());
    let secret = json!({"name": "a", "value": "b"}).to_string();
    assert_eq!(call(&url("secrets"), "POST", &bearer, secret.as_bytes()).status, 403);
    assert_eq!(server.get("/function/nobody").status, 404, "functions ask for nothing");
}

/// In base64, by a program that has it.
fn openssl_base64(plain: &str) -> String {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut command = Command::new("openssl");
    command.args(["base64", "-A"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("openssl");
    child.stdin.take().expect("a pipe").write_all(plain.as_bytes()).expect("a reader");
    text(&child.wait_with_output().expect("openssl").stdout).trim().to_owned()
}

#[test]
fn no_page_may_use_it_not_even_a_functions() {
    let stack = Stack::new(&[]);
    let url = format!("{}/system/functions", stack.server.gateway);
    let own = stack.server.gateway.clone();
    for said in [
        ("origin", own.as_str()),
        ("origin", "http://stranger.example"),
        ("sec-fetch-site", "same-origin"),
        ("host", "stranger.example"),
    ] {
        assert_eq!(call(&url, "GET", &[said], b"").status, 403, "{said:?}");
    }
    assert_eq!(call(&url, "GET", &[], b"").status, 200);
    assert_eq!(call(&url, "GET", &[("authorization", "Bearer ")], b"").status, 200);
}
