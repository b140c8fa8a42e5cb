//! The data port: functions by name and by route, and the platform's answers.

use super::rig::{Server, wait_for};

#[test]
fn a_deployed_function_answers_under_its_name() {
    let server = Server::start();
    server.deploy("hello", &[]);
    for path in ["/function/hello", "/function/hello.default", "/function/hello/any/path?q"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.text().as_str()), (200, "Hello, world!\n"), "{path}");
        let id = answer.headers["x-call-id"].to_str().unwrap();
        assert_eq!(id.len(), 32, "{id}");
    }
    let answer = server.get("/function/nobody");
    assert_eq!((answer.status, answer.reason()), (404, "not-found"));
    let json = answer.json();
    assert!(json["error"].as_str().unwrap().contains("nobody"));
    for field in ["reason", "hint", "call_id"] {
        assert!(json[field].is_string(), "{json}");
    }
}

#[test]
fn a_function_sees_its_own_path_and_a_route_the_whole_one() {
    let server = Server::start();
    server.deploy("http-kit", &["--route", "/kit/*", "--route", "/headers"]);
    let seen = |path: &str| server.get(path).text();
    assert!(seen("/function/http-kit/headers?a=b").contains(":path: /headers?a=b"));
    assert!(seen("/headers?a=b").contains(":path: /headers?a=b"));
    assert_eq!(server.get("/kit/nothing/here").status, 404);
    let text = server.call("GET", "/headers", &[("x-forwarded-for", "192.0.2.7")], b"").text();
    assert!(text.contains("x-forwarded-for: 192.0.2.7, 127.0.0.1"), "{text}");
    assert!(text.contains("x-forwarded-proto: http"), "{text}");
    assert!(!text.contains("\nconnection:"), "{text}");
}

#[test]
fn routes_choose_by_host_path_and_method() {
    let server = Server::start();
    server.deploy("hello", &["--route", "/greet", "--method", "GET"]);
    server.deploy("echo", &["--route", "/greet", "--method", "POST"]);
    server.deploy("env", &["--route", "/greet", "--host", "other.example"]);
    assert_eq!(server.get("/greet").text(), "Hello, world!\n");
    assert_eq!(server.post("/greet", b"echoed").text(), "echoed");
    let answer = server.call("DELETE", "/greet", &[], b"");
    assert_eq!((answer.status, answer.reason()), (405, "method-not-allowed"));
    assert_eq!(answer.headers["allow"], "POST, GET, HEAD");
    let answer = server.call("GET", "/greet", &[("host", "other.example:80")], b"");
    assert!(answer.text().contains("Http_Host=other.example:80"), "{}", answer.text());

    let said = server.fails(&[
        "deploy",
        "thief",
        server.guest("hello").to_str().unwrap(),
        "--route",
        "/greet",
    ]);
    assert!(said.contains("/greet") && (said.contains("hello") || said.contains("echo")), "{said}");
    assert_eq!(server.get("/greet").text(), "Hello, world!\n");
}

#[test]
fn limits_are_answered_with_their_reason() {
    let server = Server::start();
    server.deploy("burn", &["--cpu-time", "100ms"]);
    server.deploy("sleep", &["--timeout", "300ms"]);
    server.deploy("membomb", &["--memory", "8Mi"]);
    server.deploy("trap", &[]);
    server.deploy("exit", &[]);
    server.deploy("http-kit", &[]);
    for (path, body, status, reason) in [
        ("/function/burn", "", 504, "cpu-time"),
        ("/function/sleep", "60000", 504, "wall-time"),
        ("/function/membomb", "", 500, "memory"),
        ("/function/trap", "unreachable", 500, "trap"),
        ("/function/http-kit/panic", "", 500, "trap"),
        ("/function/http-kit/noresponse", "", 502, "bad-response"),
    ] {
        let answer = server.post(path, body.as_bytes());
        assert_eq!((answer.status, answer.reason()), (status, reason), "{path}");
        assert_eq!(answer.json()["reason"], reason);
    }
    let answer = server.post("/function/exit", b"3");
    assert_eq!((answer.status, answer.reason()), (500, "guest-exit"));
    assert_eq!(answer.text(), "leaving with 3\n");
    let outcome = server.outcome("burn");
    assert_eq!(outcome["reason"], "cpu-time");
    assert!(outcome["cpu_us"].as_u64().unwrap() >= 100_000, "{outcome}");
}

#[test]
fn the_request_bodys_limit_holds_with_and_without_a_length() {
    let server = Server::start();
    let folder = server.path();
    std::fs::write(folder.join("echo.wasm"), dhow_testkit::guest("echo")).unwrap();
    let manifest = folder.join("function.yaml");
    std::fs::write(
        &manifest,
        "apiVersion: dhow.dev/v1alpha1\nkind: Function\nmetadata: {name: echo}\n\
         spec: {source: {path: echo.wasm}, limits: {requestBody: 1Ki}}\n",
    )
    .unwrap();
    server.ok(&["apply", "-f", manifest.to_str().unwrap()]);
    assert_eq!(server.post("/function/echo", &[7; 1024]).status, 200);
    let answer = server.post("/function/echo", &[7; 1025]);
    assert_eq!((answer.status, answer.reason()), (413, "payload-too-large"));
    let answer = super::protocol::chunked(&server.gateway, "/function/echo", 5000);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[test]
fn a_new_revision_replaces_the_old_one() {
    let server = Server::start();
    server.deploy_as("f", "hello", &[]);
    assert_eq!(server.get("/function/f").text(), "Hello, world!\n");
    server.deploy_as("f", "echo", &[]);
    assert_eq!(server.post("/function/f", b"second").text(), "second");
    let status = server.admin("GET", "/api/v1/namespaces/default/functions/f", b"").json();
    assert_eq!(status["revision"], 2, "{status}");
    // The same again changes nothing.
    server.deploy_as("f", "echo", &[]);
    let status = server.admin("GET", "/api/v1/namespaces/default/functions/f", b"").json();
    assert_eq!(status["revision"], 2, "{status}");
    server.ok(&["delete", "f"]);
    assert_eq!(server.get("/function/f").status, 404);
    server.deploy_as("f", "hello", &[]);
    let status = server.admin("GET", "/api/v1/namespaces/default/functions/f", b"").json();
    assert_eq!(status["revision"], 3, "numbers are not used again: {status}");
}

#[test]
fn what_was_deployed_is_there_after_a_kill() {
    let server = Server::start();
    server.deploy("hello", &["--route", "/greet"]);
    let folder = server.kill();
    let server = Server::in_folder(folder, &[]);
    assert_eq!(server.get("/greet").text(), "Hello, world!\n");
    let outcome = server.outcome("hello");
    assert_eq!(outcome["cold"], true, "{outcome}");
    assert!(outcome["load_us"].as_u64().unwrap() > 0, "{outcome}");
}

#[test]
fn health_is_answered_and_ends_with_the_term_signal() {
    let mut server = Server::with(&["--drain-delay", "1s"]);
    server.deploy("sleep", &[]);
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/readyz").status, 200);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| server.post("/function/sleep", b"2500"));
        wait_for(|| {
            (server.metric("dhow_calls_in_flight{function=\"sleep\",namespace=\"default\"}")
                == Some(1.0))
            .then_some(())
        });
        server.signal("TERM");
        wait_for(|| (server.get("/readyz").status == 503).then_some(()));
        // It still serves, and the call in flight is answered.
        assert_eq!(server.get("/healthz").status, 200);
        assert_eq!(slow.join().unwrap().text().trim(), "slept 2500");
    });
    wait_for(|| server.has_ended().then_some(()));
}
