//! Every committed guest is called at least once, here: a guest without a function of its name in
//! this file does not compile. The guests that are built on demand follow below.

use std::path::PathBuf;
use std::time::Duration;

use dhow_core::abi::{Abi, Io};
use dhow_core::outcome::{Failure, Reason};

use crate::engine::rig::{Answer, Rig};

macro_rules! tested {
    ($guest:ident) => {
        const _: fn() = $guest;
    };
}
dhow_testkit::foreach_guest!(tested);

/// Calls a guest once with the limits of a careful user.
async fn post(guest: &str, path: &str, body: &str) -> Result<Answer, Failure> {
    let rig = Rig::new();
    let target = rig.target(guest, |template| {
        template.limits.cpu_time = Duration::from_millis(200);
        template.limits.memory = 32 << 20;
        template.limits.output = 1 << 20;
        if guest == "cgi" {
            template.io = Io::Cgi;
        }
        if guest == "ticker" || guest == "sort" {
            template.args = vec!["1".to_owned()];
        }
    });
    rig.post(&target, path, body.to_owned()).await
}

/// A test of one guest that answers 200 and says something.
macro_rules! says {
    ($name:ident, $guest:literal, $path:literal, $body:literal, $says:literal) => {
        #[tokio::test]
        async fn $name() {
            let answer = post($guest, $path, $body).await.expect($guest);
            assert_eq!(answer.status, 200);
            assert!(answer.text().contains($says), "{} says {:?}", $guest, answer.text());
        }
    };
}

/// A test of one guest that fails, by name.
macro_rules! fails {
    ($name:ident, $guest:literal, $body:literal, $reason:ident) => {
        #[tokio::test]
        async fn $name() {
            let failure = post($guest, "/", $body).await.expect_err($guest);
            assert_eq!(failure.reason, Reason::$reason, "{failure:?}");
        }
    };
}

says!(hello, "hello", "/", "", "Hello, world!");
says!(echo, "echo", "/", "to be echoed", "to be echoed");
says!(sort, "sort", "/", "", "1");
says!(cgi, "cgi", "/a?b", "body", "QUERY_STRING=b");
says!(env, "env", "/", "", "Http_Method=POST");
says!(sleep, "sleep", "/", "10", "slept 10");
says!(ticker, "ticker", "/", "", "\n");
says!(random, "random", "/", "", "\n");
says!(files, "files", "/", "", "error");
says!(leak, "leak", "/", "", "g0 d1 b0 p0 m1 t0 s4");
says!(memories, "memories", "/", "", "\n");
says!(p2_command, "p2-command", "/", "copied", "copied");
says!(http_lean, "http-lean", "/", "", "Hello, world!");
says!(http_std, "http-std", "/", "", "Hello, world!");
says!(http_lean_p3, "http-lean-p3", "/", "", "Hello, world!");
says!(http_kit, "http-kit", "/echo", "kit", "kit");
says!(http_p3, "http-p3", "/echo", "p3", "p3");
says!(http_ask, "http-ask", "/", "GET http://a.test/", "HttpRequestDenied");
says!(http_ask_p3, "http-ask-p3", "/", "GET http://a.test/", "HttpRequestDenied");
says!(http_given, "http-given", "/", "KEY a", "none");
says!(old_sdk, "old-sdk", "/", "", "old SDK");
fails!(burn, "burn", "", CpuTime);
fails!(membomb, "membomb", "", Memory);
fails!(recurse, "recurse", "", Trap);
fails!(trap, "trap", "oob", Trap);
fails!(exit, "exit", "4", GuestExit);
fails!(flood, "flood", "", BadResponse);
fails!(leak_trap, "leak-trap", "", Trap);

/// A guest that `guests/build.sh` builds into its cache.
fn built(name: &str) -> Vec<u8> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let folder = variable("DHOW_GUEST_CACHE")
        .or_else(|| Some(variable("HOME")?.join(".cache/dhow/guests")))
        .expect("HOME is set");
    let path = folder.join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; `guests/build.sh all` builds it", path.display())
    })
}

#[tokio::test]
async fn go_is_a_command() {
    let rig = Rig::new();
    let target = rig.target_of(&built("go-hello"), Abi::Command, |_| ());
    let answer = rig.post(&target, "/", "Ada").await.unwrap();
    assert!(answer.text().contains("Ada"), "{}", answer.text());
}

#[tokio::test]
async fn javascript_is_a_handler() {
    let rig = Rig::new();
    let target = rig.target_of(&built("js-hello"), Abi::Http, long);
    assert_eq!(rig.get(&target, "/").await.unwrap().status, 200);
    assert_eq!(rig.post(&target, "/", "from the test").await.unwrap().text(), "from the test");
}

#[tokio::test]
async fn python_is_a_handler() {
    let rig = Rig::new();
    let target = rig.target_of(&built("py-hello"), Abi::Http, long);
    assert_eq!(rig.get(&target, "/").await.unwrap().status, 200);
    assert_eq!(rig.post(&target, "/", "from the test").await.unwrap().text(), "from the test");
}

/// Compiling 13 to 18 MB is part of these first calls.
fn long(template: &mut dhow_core::function::Template) {
    template.limits.timeout = Duration::from_secs(600);
    template.limits.memory = 512 << 20;
}
