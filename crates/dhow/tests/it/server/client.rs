//! The client's commands against a real server.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::rig::{DHOW, Server, text, wait_for};

#[test]
fn list_describe_and_version_show_what_is_there() {
    let server = Server::start();
    server.deploy("hello", &["--route", "/greet", "--memory", "16Mi"]);
    server.deploy("echo", &["--namespace", "other"]);
    let list = server.ok(&["list"]);
    assert!(list.contains("hello"), "{list}");
    let json: serde_json::Value =
        serde_json::from_str(&server.ok(&["list", "-o", "json"])).unwrap();
    assert!(json.to_string().contains("\"hello\""), "{json}");
    assert!(server.ok(&["list", "--namespace", "other"]).contains("echo"));
    server.get("/greet");
    server.outcome("hello");
    let described = server.ok(&["describe", "hello"]);
    for says in ["/greet", "16Mi", "command"] {
        assert!(described.contains(says), "{says} is not in\n{described}");
    }
    assert!(server.ok(&["version"]).contains("0.1.0"));
    assert!(server.fails(&["describe", "nobody"]).contains("nobody"));
}

#[test]
fn invoke_prints_the_answer_and_with_i_its_head_and_outcome() {
    let server = Server::start();
    server.deploy("echo", &[]);
    assert_eq!(server.ok(&["invoke", "echo", "-d", "some data"]), "some data");
    let output = server.dhow(&["invoke", "echo", "-d", "x", "-i"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(out.starts_with("HTTP/1.1 200"), "{out}");
    assert!(out.to_lowercase().contains("x-call-id: "), "{out}");
    assert!(err.contains("CPU") && err.contains("run"), "{err}");
    server.deploy("trap", &[]);
    let output = server.dhow(&["invoke", "trap", "-d", "oob"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("trap"));
}

#[test]
fn logs_show_the_past_and_follow() {
    let server = Server::start();
    server.deploy("http-kit", &[]);
    server.get("/function/http-kit/log");
    let first = wait_for(|| {
        Some(server.ok(&["logs", "http-kit"])).filter(|logs| logs.lines().count() >= 2)
    });
    assert_eq!(first.lines().count(), 2, "{first}");

    let mut follow = Command::new(DHOW)
        .args(["logs", "http-kit", "-f"])
        .env("DHOW_SERVER", &server.admin)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().is_ok() && lines.next().unwrap().is_ok());
    server.get("/function/http-kit/log");
    assert!(lines.next().unwrap().is_ok(), "the new line does not come");
    follow.kill().unwrap();
    follow.wait().unwrap();
}

#[test]
fn apply_takes_many_documents_or_none() {
    let server = Server::start();
    for guest in ["hello", "echo"] {
        server.guest(guest);
    }
    let manifest = server.path().join("functions.yaml");
    let function = |name: &str, more: &str| {
        format!(
            "apiVersion: dhow.dev/v1alpha1\nkind: Function\nmetadata: {{name: {name}}}\n\
             spec: {{source: {{path: {name}.wasm}}{more}}}\n---\n"
        )
    };
    let manifest_path = manifest.to_str().unwrap();
    std::fs::write(&manifest, function("hello", "") + &function("echo", ", oops: 1")).unwrap();
    let said = server.fails(&["apply", "-f", manifest_path]);
    assert!(said.contains("spec.oops"), "{said}");
    assert_eq!(server.get("/function/hello").status, 404, "half of it was applied");
    // Routes are taken by others, in the catalog or in the same manifest.
    let taken = ", routes: [{path: /taken}]";
    let owner = server.path().join("hello.wasm");
    server.ok(&["deploy", "owner", owner.to_str().unwrap(), "--route", "/taken"]);
    std::fs::write(&manifest, function("hello", "") + &function("echo", taken)).unwrap();
    let said = server.fails(&["apply", "-f", manifest_path]);
    assert!(said.contains("echo") && said.contains("owner"), "{said}");
    assert_eq!(server.get("/function/hello").status, 404, "half of it was applied");
    let contested = ", routes: [{path: /contested}]";
    std::fs::write(&manifest, function("hello", contested) + &function("echo", contested)).unwrap();
    let said = server.fails(&["apply", "-f", manifest_path]);
    assert!(said.contains("echo.default: spec.routes") && said.contains("hello"), "{said}");
    assert_eq!(server.get("/function/hello").status, 404, "half of it was applied");
    std::fs::write(&manifest, function("hello", "") + &function("echo", "")).unwrap();
    server.ok(&["apply", "-f", manifest_path]);
    assert_eq!(server.get("/function/hello").status, 200);
    assert_eq!(server.post("/function/echo", b"x").text(), "x");
    server.ok(&["delete", "-f", manifest_path]);
    assert_eq!(server.get("/function/hello").status, 404);
}

#[test]
fn run_and_inspect_need_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let guest = |name: &str| {
        let path = folder.path().join(format!("{name}.wasm"));
        std::fs::write(&path, dhow_testkit::guest(name)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let dhow = |args: &[&str]| {
        let mut command = Command::new(DHOW);
        command.args(args).env_clear().stdin(Stdio::null()).output().unwrap()
    };
    let output = dhow(&["run", &guest("sort"), "--", "3", "1", "2"]);
    assert_eq!(text(&output.stdout), "1 2 3 \n");
    let output = dhow(&["run", &guest("exit"), "--", "7"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(text(&output.stdout), "leaving with 7\n");
    assert!(text(&output.stderr).contains("err 7"));
    let output = dhow(&["run", &guest("http-kit"), "--path", "/echo", "-X", "POST", "-d", "hi"]);
    assert_eq!(text(&output.stdout), "hi");
    let output = dhow(&["run", &guest("burn"), "--cpu-time", "50ms"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cpu-time"));
    let output = dhow(&["inspect", &guest("http-lean"), "-o", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["abi"], "http");
    assert!(json["imports"].to_string().contains("wasi:http/types@0.2"), "{json}");
}
