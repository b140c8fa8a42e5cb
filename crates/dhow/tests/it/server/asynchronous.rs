//! Calls that are answered later: taken, run, called back, kept, given up, tried again.

use std::collections::BTreeMap;

use serde_json::Value;

use super::rig::{Answer, Server, text, wait_for};
use super::sink::Sink;

/// The call that a 202 names.
pub(super) fn accepted(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.headers["x-call-id"].to_str().unwrap().to_owned()
}

pub(super) fn show(server: &Server, call: &str) -> Value {
    let answer = server.admin("GET", &format!("/api/v1/calls/{call}"), b"");
    if answer.status == 404 { Value::Null } else { answer.json() }
}

/// Waits until the call stands there.
pub(super) fn stands(server: &Server, call: &str, state: &str) -> Value {
    wait_for(|| Some(show(server, call)).filter(|shown| shown["state"] == state))
}

/// Deploys a guest as `f`, with what its manifest says of asynchronous calls.
pub(super) fn apply(server: &Server, guest: &str, said: &str) {
    let manifest = server.path().join("f.yaml");
    let file = server.guest(guest);
    std::fs::write(
        &manifest,
        format!(
            "apiVersion: dhow.dev/v1alpha1\nkind: Function\nmetadata: {{name: f}}\nspec: \
             {{source: {{path: {}}}, async: {{{said}}}}}\n",
            file.display()
        ),
    )
    .unwrap();
    server.ok(&["apply", "-f", manifest.to_str().unwrap()]);
}

#[test]
fn a_call_is_kept_and_runs_under_the_name_that_was_acknowledged() {
    let server = Server::start();
    server.deploy("echo", &["--route", "/declared"]);
    let keep = ("x-dhow-keep-result", "5m");
    let answer = server.call("POST", "/async-function/echo", &[keep], b"later");
    let call = accepted(&answer);
    let location = answer.headers["location"].to_str().unwrap();
    assert_eq!(location, format!("{}/api/v1/calls/{call}", server.api));
    assert_eq!(answer.text(), "");
    let done = stands(&server, &call, "done");
    assert_eq!((&done["status"], &done["function"]), (&200.into(), &"echo".into()));
    assert_eq!(server.ok(&["calls", "show", &call, "--result"]), "later");
    assert_eq!(server.outcome("echo")["call_id"], call);

    // By preference, at a function's own path and at a route.
    for path in ["/function/echo/x?y", "/declared"] {
        let answer = server.call("POST", path, &[("prefer", "respond-async"), keep], b"so");
        assert_eq!(answer.headers["preference-applied"], "respond-async");
        stands(&server, &accepted(&answer), "done");
    }
    let answer = server.call("POST", "/async-function/nobody", &[], b"");
    assert_eq!((answer.status, answer.reason()), (404, "not-found"));
    let metric = server.metric("dhow_async_enqueued_total");
    assert_eq!(metric, Some(3.0));
    assert_eq!(server.metric("dhow_async_calls{queue=\"default\",state=\"done\"}"), Some(3.0));
    assert_eq!(server.metric("dhow_async_enqueue_seconds_count"), Some(3.0));
}

#[test]
fn a_guest_sees_the_same_request_as_if_somebody_waited() {
    let server = Server::start();
    server.deploy("env", &[]);
    let seen = |path: &str| {
        let headers = [("x-mine", "1"), ("x-dhow-keep-result", "5m")];
        let answer = server.call("PUT", path, &headers, b"");
        let text = match answer.status {
            202 => {
                let call = accepted(&answer);
                stands(&server, &call, "done");
                server.ok(&["calls", "show", &call, "--result"])
            }
            _ => answer.text(),
        };
        // Which connection it was is not the same.
        let mut lines: Vec<_> =
            text.lines().filter(|line| !line.contains("PORT")).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let now = seen("/function/env/a%20b?c=d");
    assert!(now.iter().any(|line| line == "Http_Path=/a%20b"), "{now:?}");
    assert_eq!(seen("/async-function/env/a%20b?c=d"), now);
}

#[test]
fn the_client_calls_lists_retries_cancels_and_purges() {
    let server = Server::start();
    let manifest = |guest: &str| {
        let retry = "retry: {attempts: 2, minWait: 1ms, maxWait: 1ms}";
        apply(&server, guest, &format!("queue: slow, {retry}, keepResult: 5m"));
    };
    manifest("trap");
    let invoke = || server.ok(&["invoke", "f", "--async", "-d", "unreachable"]).trim().to_owned();
    let (first, second) = (invoke(), invoke());
    let dead = stands(&server, &first, "dead");
    assert_eq!((&dead["reason"], &dead["queue"]), (&"trap".into(), &"slow".into()));
    stands(&server, &second, "dead");
    let list = server.ok(&["calls", "list", "f", "--state", "dead"]);
    assert!(list.contains(&first) && list.contains("trap"), "{list}");
    assert_eq!(server.ok(&["calls", "list", "-o", "name"]).lines().count(), 2);
    let shown = server.ok(&["calls", "show", &first]);
    assert!(shown.contains("Reason:     trap"), "{shown}");
    let described = server.ok(&["describe", "f"]);
    assert!(described.contains("queue slow, 2 attempts"), "{described}");
    assert!(described.contains("Kept calls: 2 dead"), "{described}");

    // Once it is mended, what was given up is tried again, under its name and with its body.
    manifest("echo");
    server.ok(&["calls", "retry", "--dead", "f"]);
    stands(&server, &first, "done");
    assert_eq!(server.ok(&["calls", "show", &first, "--result"]), "unreachable");
    assert!(server.fails(&["calls", "retry", &first]).contains("done"));
    stands(&server, &second, "done");
    server.ok(&["calls", "cancel", &first]);
    assert!(server.fails(&["calls", "show", &first]).contains(&first));
    let purged = server.dhow(&["calls", "purge", "--state", "done"]);
    assert!(text(&purged.stderr).contains("1 calls"), "{}", text(&purged.stderr));
    assert_eq!(server.ok(&["calls", "list", "-o", "name"]), "");
}

#[test]
fn a_key_is_one_call_and_belongs_to_one_request() {
    let server = Server::start();
    server.deploy("echo", &[]);
    let send = |body: &[u8]| {
        server.call("POST", "/async-function/echo", &[("idempotency-key", "order-7")], body)
    };
    let first = accepted(&send(b"x"));
    let again = send(b"x");
    assert_eq!(accepted(&again), first);
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let other = send(b"y");
    assert_eq!((other.status, other.reason()), (422, "bad-request"));
    assert!(other.text().contains("Idempotency-Key"), "{}", other.text());
    let folder = server.kill();
    let server = Server::in_folder(folder, &[]);
    let headers = [("idempotency-key", "order-7")];
    let again = server.call("POST", "/async-function/echo", &headers, b"x");
    assert_eq!(accepted(&again), first);
}

#[test]
fn what_can_not_be_kept_is_refused_by_name() {
    let server = Server::with(&["--async-body", "1Ki"]);
    server.deploy("echo", &[]);
    let path = "/async-function/echo";
    assert_eq!(server.post(path, &[7; 1024]).status, 202);
    let answer = server.post(path, &[7; 1025]);
    assert_eq!((answer.status, answer.reason()), (413, "payload-too-large"));
    let answer = super::protocol::chunked(&server.gateway, path, 5000);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    for (name, value, says) in [
        ("x-callback-url", "/relative", "whole URL"),
        ("x-callback-url", "http://169.254.169.254/latest", "local link"),
        ("x-callback-url", &format!("{}/api/v1/tokens", server.api), "dhow's own ports"),
        ("x-dhow-keep-result", "soon", "x-dhow-keep-result"),
        ("x-dhow-keep-result", "1000h", "at most"),
        ("idempotency-key", "", "1 to 255 bytes"),
    ] {
        let answer = server.call("POST", path, &[(name, value)], b"");
        assert_eq!((answer.status, answer.reason()), (400, "bad-request"), "{name}: {value}");
        assert!(answer.text().contains(says), "{value}: {}", answer.text());
    }
}

#[test]
fn the_answer_is_called_back_with_openfaas_headers() {
    let sink = Sink::start();
    let server = Server::with(&["--egress-allow", &sink.address()]);
    server.deploy("echo", &[]);
    apply(&server, "exit", "retry: {attempts: 1}");
    let callback = sink.url("/hook?a=b");
    let headers = [("x-callback-url", callback.as_str()), ("content-type", "text/x-mine")];
    let call = accepted(&server.call("POST", "/async-function/echo/p", &headers, b"back"));
    let got = wait_for(|| sink.take(&call));
    assert_eq!((got.path.as_str(), got.body.as_slice()), ("/hook?a=b", b"back".as_slice()));
    assert_eq!(got.headers["x-function-name"], "echo");
    assert_eq!(got.headers["x-function-status"], "200");
    assert!(got.headers["x-duration-seconds"].parse::<f64>().is_ok());
    // One that is given up is told, too, and is a dead letter.
    let headers = [("x-callback-url", callback.as_str())];
    let call = accepted(&server.call("POST", "/async-function/f", &headers, b"3"));
    assert_eq!(stands(&server, &call, "dead")["reason"], "guest-exit");
    let got = wait_for(|| sink.take(&call));
    assert_eq!(got.headers["x-function-status"], "500");
    assert_eq!(got.body, b"leaving with 3\n");
}

#[test]
fn a_slow_or_dead_callback_holds_up_nobody_and_is_given_up_by_name() {
    let sink = Sink::start();
    let address = sink.address();
    let server = Server::with(&[
        "--egress-allow",
        &address,
        "--callback-timeout",
        "300ms",
        "--callback-places",
        "2",
    ]);
    server.deploy("echo", &[]);
    server.deploy("hello", &[]);
    let send = |function: &str, url: &str| {
        let path = format!("/async-function/{function}");
        accepted(&server.call("POST", &path, &[("x-callback-url", url)], b"x"))
    };
    let slow: Vec<_> = (0..6).map(|_| send("echo", &sink.url("/never"))).collect();
    let prompt = send("hello", &sink.url("/hook"));
    wait_for(|| sink.take(&prompt));
    for call in &slow {
        let waits = wait_for(|| {
            Some(show(&server, call)).filter(|shown| shown["reason"] == "callback-failed")
        });
        assert_eq!(waits["state"], "callback");
    }
    // A name of this machine is found out when it is connected to.
    let port = address.rsplit(':').next().unwrap();
    let closed = send("hello", &format!("http://localhost:{}/", port.parse::<u16>().unwrap() - 1));
    let dead = stands(&server, &closed, "dead");
    assert_eq!(dead["reason"], "callback-refused");
}

#[test]
fn calls_under_way_end_or_go_back_when_the_server_is_told_to_end() {
    let mut server = Server::with(&["--drain-timeout", "2s"]);
    server.deploy("sleep", &[]);
    let keep = [("x-dhow-keep-result", "5m")];
    let send =
        |ms: &str| accepted(&server.call("POST", "/async-function/sleep", &keep, ms.as_bytes()));
    let (short, long) = (send("700"), send("20000"));
    stands(&server, &short, "running");
    stands(&server, &long, "running");
    server.signal("TERM");
    wait_for(|| server.has_ended().then_some(()));
    let server = Server::in_folder(server.kill(), &[]);
    assert_eq!(show(&server, &short)["state"], "done");
    let shown = show(&server, &long);
    assert!(["waiting", "running"].contains(&shown["state"].as_str().unwrap()), "{shown}");
    assert_eq!(shown["attempts"], 0);
    server.ok(&["calls", "cancel", &long]);
}

#[test]
fn a_queue_has_its_own_places() {
    let server = Server::with(&["--queue", "narrow=1"]);
    apply(&server, "sleep", "queue: narrow");
    for _ in 0..5 {
        accepted(&server.post("/async-function/f", b"300"));
    }
    let mut most = BTreeMap::new();
    wait_for(|| {
        let depth = |state: &str| {
            server.metric(&format!("dhow_async_calls{{queue=\"narrow\",state=\"{state}\"}}"))
        };
        let running = depth("running").unwrap_or(0.0);
        *most.entry(running.to_string()).or_insert(0) += 1;
        (depth("waiting").is_none() && depth("running").is_none()).then_some(())
    });
    assert!(most.keys().all(|running| running == "0" || running == "1"), "{most:?}");
    assert_eq!(
        server.metric("dhow_async_attempts_total{end=\"finished\",work=\"run\"}"),
        Some(5.0)
    );
}

#[test]
fn a_backup_has_the_calls() {
    let server = Server::start();
    server.deploy("trap", &[]);
    let large = vec![b'x'; 100_000];
    let call = accepted(&server.post("/async-function/trap", &large));
    wait_for(|| show(&server, &call)["reason"].is_string().then_some(()));
    let archive = server.path().join("backup.tar.gz");
    let archive = archive.to_str().unwrap();
    server.ok(&["backup", archive]);
    let other = tempfile::tempdir().unwrap();
    let data = other.path().join("data");
    server.ok(&["restore", archive, "--data", data.to_str().unwrap()]);
    let restored = Server::in_folder(other, &[]);
    assert_eq!(show(&restored, &call)["body"], 100_000);
    restored.deploy_as("trap", "echo", &[]);
    // Its own turn may have come already.
    wait_for(|| {
        let is_retried = restored.dhow(&["calls", "retry", &call]).status.success();
        (is_retried || show(&restored, &call).is_null()).then_some(())
    });
    wait_for(|| show(&restored, &call).is_null().then_some(()));
}
