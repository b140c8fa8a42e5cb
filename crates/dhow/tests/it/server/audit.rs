//! The audit log: who had what done.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use super::rig::{Server, call, client_with, text};

fn records(said: &str) -> Vec<Value> {
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn told(record: &Value) -> (&str, &str, &str, u64, &str) {
    let of = |key: &str| record[key].as_str().unwrap_or("");
    let status = record["status"].as_u64().unwrap();
    (of("who"), of("action"), of("object"), status, of("reason"))
}

#[test]
fn every_control_call_has_its_record_and_outlives_a_kill() {
    let server = Server::start();
    server.deploy("hello", &[]);
    server.get("/function/hello");
    server.ok(&["list"]);
    server.fails(&["delete", "nobody"]);
    let origin = [("origin", "http://evil.example")];
    assert_eq!(
        call(&format!("{}/api/v1/functions", server.admin), "GET", &origin, b"").status,
        403
    );
    server.admin("POST", "/api/v1/a-secret-path", b"");
    let server = Server::in_folder(server.kill(), &[]);
    server.ok(&["delete", "hello"]);

    let records = records(&server.ok(&["audit", "-o", "json"]));
    let hello = "namespaces/default/functions/hello";
    let nobody = "namespaces/default/functions/nobody";
    let expected = [
        ("loopback", "uploadArtifact", "artifacts", 200, ""),
        ("loopback", "deployFunction", hello, 201, ""),
        ("loopback", "deleteFunction", nobody, 404, "not-found"),
        ("unknown", "listFunctions", "functions", 403, "foreign-origin"),
        ("loopback", "-", "", 404, "not-found"),
        ("loopback", "deleteFunction", hello, 204, ""),
    ];
    assert_eq!(records.iter().map(told).collect::<Vec<_>>(), expected);
    assert!(records[0]["detail"].as_str().unwrap().starts_with("sha256:"));
    assert!(records[1]["detail"].as_str().unwrap().starts_with("revision 1, sha256:"));
    let table = server.ok(&["audit", "--tail", "1"]);
    assert!(table.starts_with("TIME") && table.lines().count() == 2, "{table}");
    assert_eq!(server.ok(&["audit", "--since", "1h", "-o", "name"]).lines().count(), 6);
    let file = server.path().join("data/audit/audit.log");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_record_names_the_token_and_no_secret() {
    let server = Server::with(&["--auth"]);
    let secret = std::fs::read_to_string(server.path().join("data/admin-secret")).unwrap();
    let with = |token: &str, args: &[&str]| {
        let output = client_with(&server.admin, args, &[("DHOW_TOKEN", token)]);
        (output.status.success(), text(&output.stdout))
    };
    let admin = secret.trim();
    let (_, token) = with(admin, &["token", "create", "ci", "--scope", "deploy:shop"]);
    let token = token.trim();
    let hello = server.guest("hello");
    let deploy = |name: &str| with(token, &["deploy", name, hello.to_str().unwrap()]).0;
    assert!(deploy("hello.shop") && !deploy("hello"));
    assert!(!with("dhow_wrong-secret", &["list"]).0);
    assert!(!with(token, &["audit"]).0, "the audit log is for those who may do everything");

    let (_, said) = with(admin, &["audit", "-o", "json"]);
    let records = records(&said);
    let told: Vec<_> = records.iter().map(told).collect();
    for expected in [
        ("admin", "createToken", "tokens", 201, ""),
        ("token:ci", "deployFunction", "namespaces/shop/functions/hello", 201, ""),
        ("token:ci", "deployFunction", "namespaces/default/functions/hello", 403, "forbidden"),
        ("unknown", "listFunctions", "functions", 401, "unauthorized"),
        ("token:ci", "readAudit", "audit", 403, "forbidden"),
    ] {
        assert!(told.contains(&expected), "{expected:?} is not in\n{told:#?}");
    }
    let kept = std::fs::read_to_string(server.path().join("data/audit/audit.log")).unwrap();
    for secret in [admin, token, "dhow_wrong-secret"] {
        assert!(!kept.contains(secret));
    }
}
