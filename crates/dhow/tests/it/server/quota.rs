//! Quotas of namespaces, held against real guests.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;

use serde_json::Value;

use super::asynchronous::{accepted, show, stands};
use super::rig::{Server, wait_for};

impl Server {
    /// What the namespace `shop` uses.
    fn used(&self, what: &str) -> u64 {
        let quota = self.admin("GET", "/api/v1/namespaces/shop/quota", b"").json();
        quota["used"][what].as_u64().unwrap_or_else(|| panic!("{quota}"))
    }

    /// A call that sleeps until its connection is dropped.
    fn sleeps(&self, function: &str) -> TcpStream {
        let address = self.gateway.trim_start_matches("http://");
        let mut call = TcpStream::connect(address).unwrap();
        write!(
            call,
            "POST /function/{function} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 5\r\n\r\n28000"
        )
        .unwrap();
        call
    }

    fn listed(&self) -> Value {
        serde_json::from_str(&self.ok(&["quota", "list", "-o", "json"])).unwrap()
    }
}

#[test]
fn a_namespace_has_no_more_functions_than_its_quota_also_after_a_kill() {
    let server = Server::start();
    server.deploy_as("one.shop", "hello", &[]);
    server.ok(&["quota", "set", "shop", "--functions", "2", "--memory", "1Gi"]);
    server.deploy_as("two.shop", "hello", &[]);
    let server = Server::in_folder(server.kill(), &[]);
    let hello = server.guest("hello");
    let said = server.fails(&["deploy", "three.shop", hello.to_str().unwrap()]);
    assert!(said.contains("`shop` may have 2 functions, and has 2"), "{said}");
    assert_eq!(server.get("/function/three.shop").status, 404);
    // What is there may change, and others have nothing to do with it.
    server.deploy_as("two.shop", "echo", &[]);
    server.deploy_as("three", "hello", &[]);
    server.ok(&["delete", "one.shop"]);
    server.deploy_as("three.shop", "hello", &[]);
    let listed = server.listed();
    assert_eq!(listed["items"][0]["functions"], 2);
    assert_eq!(listed["items"][0]["memory"], "1Gi");
    assert_eq!(listed["items"][0]["used"]["functions"], 2);
    server.ok(&["quota", "delete", "shop"]);
    server.deploy_as("four.shop", "hello", &[]);
    assert!(server.fails(&["quota", "delete", "shop"]).contains("no quota"));
    assert!(server.fails(&["quota", "set", "shop", "--memory", "1"]).contains("memory"));
}

#[test]
fn a_namespace_has_no_more_calls_in_flight_than_its_quota() {
    let server = Server::start();
    server.deploy_as("sleep.shop", "sleep", &[]);
    server.deploy_as("hello.shop", "hello", &[]);
    server.deploy("hello", &[]);
    server.ok(&["quota", "set", "shop", "--calls", "2"]);
    let calls = [(); 2].map(|()| server.sleeps("sleep.shop"));
    wait_for(|| (server.used("calls") == 2).then_some(()));
    let refused = server.get("/function/hello.shop");
    assert_eq!((refused.status, refused.reason()), (429, "quota-calls"));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(server.get("/function/hello").status, 200, "others are not held up");
    drop(calls);
    wait_for(|| (server.get("/function/hello.shop").status == 200).then_some(()));
    wait_for(|| (server.used("calls") == 0).then_some(()));
}

#[test]
fn a_namespaces_instances_hold_no_more_memory_than_its_quota() {
    let server = Server::start();
    server.deploy_as("sleep.shop", "sleep", &[]);
    server.deploy_as("membomb.shop", "membomb", &["--memory", "64Mi"]);
    server.ok(&["quota", "set", "shop", "--memory", "1Gi"]);
    let call = server.sleeps("sleep.shop");
    let one = wait_for(|| Some(server.used("memory")).filter(|used| *used > 0));
    // Room for that one, and not for two.
    server.ok(&["quota", "set", "shop", "--memory", &(one + one / 2).to_string()]);
    let refused = server.post("/function/sleep.shop", b"0");
    assert_eq!((refused.status, refused.reason()), (503, "quota-memory"));
    assert!(refused.json()["error"].as_str().unwrap().contains("`shop`"));
    drop(call);
    // With the instance its memory comes back.
    wait_for(|| (server.post("/function/sleep.shop", b"0").status == 200).then_some(()));
    server.ok(&["quota", "set", "shop", "--memory", "32Mi"]);
    let refused = server.get("/function/membomb.shop");
    assert_eq!((refused.status, refused.reason()), (503, "quota-memory"));
    wait_for(|| (server.used("memory") == 0).then_some(()));
    server.ok(&["quota", "delete", "shop"]);
    assert_eq!(server.get("/function/membomb.shop").reason(), "memory");
}

#[test]
fn an_asynchronous_call_waits_while_its_namespace_has_no_room_and_that_is_no_attempt() {
    let server = Server::start();
    let manifest = server.path().join("f.yaml");
    let file = server.guest("echo");
    let said = format!(
        "apiVersion: dhow.dev/v1alpha1\nkind: Function\nmetadata: {{name: echo, namespace: shop}}\n\
         spec: {{source: {{path: {}}}, async: {{retry: {{attempts: 1, minWait: 1ms}}}}}}\n",
        file.display()
    );
    std::fs::write(&manifest, said).unwrap();
    server.ok(&["apply", "-f", manifest.to_str().unwrap()]);
    for (quota, reason) in
        [(["--memory", "64Ki"], "quota-memory"), (["--calls", "0"], "quota-calls")]
    {
        server.ok(&[&["quota", "set", "shop"], &quota[..]].concat());
        let keep = [("x-dhow-keep-result", "5m")];
        let call = accepted(&server.call("POST", "/async-function/echo.shop", &keep, b"later"));
        let waits = wait_for(|| Some(show(&server, &call)).filter(|one| one["reason"] == reason));
        assert!(["waiting", "running"].contains(&waits["state"].as_str().unwrap()), "{waits}");
        assert_eq!(waits["attempts"], 0);
        server.ok(&["quota", "delete", "shop"]);
        stands(&server, &call, "done");
    }
}

#[test]
fn a_namespaces_calls_use_no_more_cpu_than_its_quota() {
    let server = Server::start();
    server.deploy_as("burn.shop", "burn", &["--cpu-time", "100ms", "--timeout", "20s"]);
    server.deploy_as("hello.shop", "hello", &["--timeout", "300ms"]);
    server.ok(&["quota", "set", "shop", "--cpu", "50m"]);
    let answer = server.get("/function/burn.shop");
    assert_eq!(answer.reason(), "cpu-time");
    let outcomes = "/api/v1/namespaces/shop/functions/burn/outcomes?limit=1";
    let outcome = wait_for(|| server.admin("GET", outcomes, b"").json()["items"].get(0).cloned());
    let of = |field: &str| outcome[field].as_u64().unwrap();
    // A twentieth of a core, but for the 20 ms that come at once.
    assert!(of("wall_us") > (of("cpu_us") - 30_000) * 15, "{outcome}");

    // A millisecond of CPU is paid off in a second: nothing begins that has less time.
    server.ok(&["quota", "set", "shop", "--cpu", "1m"]);
    thread::scope(|scope| {
        scope.spawn(|| server.get("/function/burn.shop"));
        let refused = wait_for(|| {
            Some(server.get("/function/hello.shop")).filter(|answer| answer.status == 429)
        });
        assert_eq!(refused.reason(), "quota-cpu");
        server.ok(&["quota", "delete", "shop"]);
        wait_for(|| (server.get("/function/hello.shop").status == 200).then_some(()));
    });
}
