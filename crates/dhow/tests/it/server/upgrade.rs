//! A dhow takes over from the one that runs: no request fails, whoever dies on the way.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use dhow_core::call::CallId;
use dhow_core::name::FunctionName;
use dhow_core::ports::CallQueue as _;
use dhow_core::queue::{CallHead, NewCall};
use dhow_queue::embedded::{self as queue, EmbeddedQueue};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;

use super::asynchronous::{accepted, apply, show, stands};
use super::rig::{Server, call, client, refused, text, up, wait_for};

/// Clients that go on until they are stopped. Each failure is kept.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    failures: Mutex<Vec<String>>,
    answers: AtomicU64,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.stop.load(Relaxed)
    }

    fn count(&self, what: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => drop(self.answers.fetch_add(1, Relaxed)),
            Err(why) => self.failures.lock().push(format!("{what}: {why}")),
        }
    }

    /// Waits until so many more requests have been answered.
    fn more(&self, answers: u64) {
        let least = self.answers.load(Relaxed) + answers;
        wait_for(|| (self.answers.load(Relaxed) >= least).then_some(()));
    }

    /// Ends when it is dropped, also by a test that fails.
    fn ending(&self) -> impl Drop + use<'_> {
        struct Ending<'l>(&'l Load);
        impl Drop for Ending<'_> {
            fn drop(&mut self) {
                self.0.stop.store(true, Relaxed);
            }
        }
        Ending(self)
    }

    /// A connection of HTTP/1.1 that is kept as long as the server says, and not given up for a
    /// moment before it says so.
    fn keeps_a_connection(&self, address: &str, path: &str, answer: &str) {
        let mut kept = None;
        while self.goes_on() {
            let outcome = ask(&mut kept, address, path, answer);
            self.count(path, outcome.map_err(|error| error.to_string()));
        }
    }

    /// A new connection for each request.
    fn connects_anew(&self, address: &str, path: &str, body: &str, answer: &str) {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .max_idle_connections(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        while self.goes_on() {
            let answered = agent.post(format!("{address}{path}")).send(body);
            let outcome = answered
                .and_then(|mut answer| answer.body_mut().read_to_string())
                .map_err(|error| error.to_string())
                .and_then(|found| is(&found, answer));
            self.count(path, outcome);
        }
    }

    /// Calls that are answered later: each has to be taken.
    fn enqueues(&self, address: &str, path: &str) {
        while self.goes_on() {
            let answer = call(&format!("{address}{path}"), "POST", &[], b"");
            let outcome = match answer.status {
                202 => Ok(()),
                status => Err(format!("{status} {}", answer.text())),
            };
            self.count("enqueue", outcome);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Many requests on one connection of HTTP/2.
    fn multiplexes(&self, address: &str, path: &str, answer: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client: Client<_, Empty<Bytes>> =
                Client::builder(TokioExecutor::new()).http2_only(true).build_http();
            let uri: http::Uri = format!("{address}{path}").parse().unwrap();
            while self.goes_on() {
                let some = (0..10).map(|_| async {
                    let answered = client.get(uri.clone()).await.map_err(|e| format!("{e:?}"))?;
                    let body = answered.into_body().collect().await.map_err(|e| e.to_string())?;
                    is(&String::from_utf8_lossy(&body.to_bytes()), answer)
                });
                for outcome in futures_util::future::join_all(some).await {
                    self.count("HTTP/2", outcome);
                }
            }
        });
    }

    /// Deploys one number after the other and asks for it at once: an answer that is older than what
    /// was acknowledged is a failure.
    fn deploys(&self, server: &Addresses, folder: &Path) {
        let file = folder.join("number.wat");
        for number in (0..).take_while(|_| self.goes_on()) {
            std::fs::write(&file, says(&number.to_string())).unwrap();
            let output = client(&server.admin, &["deploy", "number", file.to_str().unwrap()]);
            let outcome = match output.status.success() {
                true => {
                    let answer =
                        call(&format!("{}/function/number", server.gateway), "GET", &[], b"");
                    is(&answer.text(), &number.to_string())
                }
                false => Err(text(&output.stderr)),
            };
            self.count("deploy", outcome);
        }
    }

    /// Lists and scrapes, on connections that are kept.
    fn watches(&self, server: &Addresses) {
        let (mut admin, mut metrics) = (None, None);
        while self.goes_on() {
            let outcome = ask(&mut admin, &server.admin, "/api/v1/version", "");
            self.count("admin", outcome.map_err(|error| error.to_string()));
            let outcome = ask(&mut metrics, &server.metrics, "/metrics", "");
            self.count("metrics", outcome.map_err(|error| error.to_string()));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Where a server is, also for threads that outlive it.
#[derive(Clone)]
struct Addresses {
    gateway: String,
    admin: String,
    metrics: String,
}

fn addresses(server: &Server) -> Addresses {
    // The API's own: the relay before it ends with its server.
    let Server { gateway, api, metrics, .. } = server;
    Addresses { gateway: gateway.clone(), admin: api.clone(), metrics: metrics.clone() }
}

fn is(found: &str, expected: &str) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("`{found}` in place of `{expected}`")),
    }
}

/// One request on a connection that is kept if the answer allows it. An empty `answer` is any.
fn ask(
    kept: &mut Option<BufReader<TcpStream>>,
    address: &str,
    path: &str,
    answer: &str,
) -> std::io::Result<()> {
    let host = address.trim_start_matches("http://");
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => {
            let stream = TcpStream::connect(host)?;
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            stream.set_nodelay(true)?;
            BufReader::new(stream)
        }
    };
    connection
        .get_mut()
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes())?;
    let (mut length, mut is_last, mut status) = (0, false, String::new());
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line)? == 0 {
            return Err(std::io::Error::other("it was closed without a word"));
        }
        let line = line.trim().to_ascii_lowercase();
        match line.split_once(':') {
            _ if line.is_empty() => break,
            Some(("content-length", value)) => length = value.trim().parse().unwrap(),
            Some(("connection", value)) => is_last = value.trim() == "close",
            Some(_) => {}
            None => status = line,
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    if !status.contains(" 200 ") || !answer.is_empty() && body != answer.as_bytes() {
        return Err(std::io::Error::other(format!("{status} {}", text(&body))));
    }
    if !is_last {
        *kept = Some(connection);
    }
    Ok(())
}

/// A command that prints `said`.
fn says(said: &str) -> String {
    let length = said.len();
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\10\00\00\00\{length:02x}\00\00\00")
            (data (i32.const 16) "{said}")
            (func (export "_start")
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
    )
}

fn deploy_that_says(server: &Server, name: &str, said: &str) {
    let file = server.path().join(format!("{name}.wat"));
    std::fs::write(&file, says(said)).unwrap();
    server.ok(&["deploy", name, file.to_str().unwrap()]);
}

#[test]
fn under_load_no_request_fails_while_one_dhow_follows_the_other() {
    const COLD: usize = 30;
    let mut server = Server::start();
    server.deploy("hello", &[]);
    server.deploy("sleep", &[]);
    server.deploy("http-lean", &[]);
    for index in 0..COLD {
        deploy_that_says(&server, &format!("cold{index}"), &format!("cold {index}"));
    }
    let http_lean = server.get("/function/http-lean").text();
    let (at, folder) = (addresses(&server), tempfile::tempdir().unwrap());
    let load = Load::default();
    std::thread::scope(|scope| {
        let _ending = load.ending();
        let (load, at, http_lean) = (&load, &at, &http_lean);
        scope.spawn(|| load.deploys(at, folder.path()));
        scope.spawn(|| load.watches(at));
        scope.spawn(|| load.keeps_a_connection(&at.gateway, "/function/hello", "Hello, world!\n"));
        scope.spawn(|| load.keeps_a_connection(&at.gateway, "/function/http-lean", http_lean));
        scope.spawn(|| load.connects_anew(&at.gateway, "/function/hello", "", "Hello, world!\n"));
        scope.spawn(|| {
            load.connects_anew(&at.gateway, "/function/sleep", "300", "slept 300\n");
        });
        scope.spawn(|| load.enqueues(&at.gateway, "/async-function/hello"));
        scope.spawn(|| load.multiplexes(&at.gateway, "/function/http-lean", http_lean));
        // Functions that no process has called yet, one after the other.
        scope.spawn(|| {
            for index in (0..COLD).take_while(|_| load.goes_on()) {
                let answered =
                    call(&format!("{}/function/cold{index}", at.gateway), "GET", &[], b"");
                load.count("cold", is(&answered.text(), &format!("cold {index}")));
                std::thread::sleep(Duration::from_millis(150));
            }
        });
        for _ in 0..2 {
            load.more(100);
            let mut next = server.take_over(&[]);
            assert_eq!(next.gateway, at.gateway);
            assert_eq!((&next.api, &next.metrics), (&at.admin, &at.metrics));
            load.more(100);
            server.ends_well();
            std::mem::swap(&mut server, &mut next);
        }
        load.more(100);
    });
    // Every call that was taken is run by one dhow or the other, and then forgotten.
    wait_for(|| {
        let kept = server.admin("GET", "/api/v1/calls", b"").json();
        kept["items"].as_array().unwrap().is_empty().then_some(())
    });
    let failures = load.failures.into_inner();
    let answers = load.answers.into_inner();
    assert!(failures.is_empty(), "{} of {answers}: {failures:#?}", failures.len());
}

#[test]
fn a_new_one_that_fails_to_start_leaves_the_old_one_serving() {
    let server = Server::start();
    server.deploy("hello", &[]);
    let at = addresses(&server);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let load = Load::default();
    std::thread::scope(|scope| {
        let _ending = load.ending();
        let (load, at) = (&load, &at);
        scope.spawn(|| load.keeps_a_connection(&at.gateway, "/function/hello", "Hello, world!\n"));
        scope.spawn(|| load.connects_anew(&at.gateway, "/function/hello", "", "Hello, world!\n"));
        scope.spawn(|| load.watches(at));
        load.more(20);
        // Before it has asked for the data folder.
        let said = refused(replace_listen(server.path(), &taken));
        assert!(said.contains(&taken), "{said}");
        load.more(20);
        // After it got the folder: there is no such address space.
        let said = refused(up(server.path(), &["--take-over", "--instances", "4000000000"]));
        assert!(said.contains("--instances"), "{said}");
        load.more(20);
        server.deploy_as("after", "hello", &[]);
        assert_eq!(server.get("/function/after").text(), "Hello, world!\n");
        load.more(20);
    });
    assert_eq!(*load.failures.lock(), Vec::<String>::new());
    // And the next one may.
    let mut server = server;
    let next = server.take_over(&[]);
    server.ends_well();
    assert_eq!(next.get("/function/after").text(), "Hello, world!\n");
}

/// A `dhow up --take-over` that is to listen at `address`, which is taken.
fn replace_listen(folder: &Path, address: &str) -> std::process::Command {
    let mut command = std::process::Command::new(super::rig::DHOW);
    command.args(["up", "--take-over", "--listen", address, "--admin", "127.0.0.1:0"]);
    command.args(["--metrics", "127.0.0.1:0", "--data"]).arg(folder.join("data"));
    command
}

/// One end of the line, by hand.
struct Hand(BufReader<UnixStream>);

impl Hand {
    fn reach(server: &Server) -> Self {
        let stream = UnixStream::connect(server.path().join("data/handover.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(BufReader::new(stream))
    }

    fn say(&mut self, message: &str) {
        self.0.get_mut().write_all(format!("{message}\n").as_bytes()).unwrap();
    }

    fn hears(&mut self, word: &str) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert!(line.contains(&format!("\"say\":\"{word}\"")), "{line} in place of {word}");
        line
    }
}

const HELLO: &str = r#"{"say":"hello","protocol":1,"version":"0.0.0"}"#;

#[test]
fn a_new_one_that_dies_on_the_way_leaves_the_old_one_serving() {
    let server = Server::start();
    server.deploy("hello", &[]);
    for index in 0..4 {
        deploy_that_says(&server, &format!("cold{index}"), "cold");
    }
    for (steps, name) in ["hello", "release", "serving", "taken"].iter().enumerate() {
        let mut hand = Hand::reach(&server);
        hand.say(HELLO);
        hand.hears("listeners");
        let function = format!("f{steps}");
        if steps > 0 {
            hand.say(r#"{"say":"release"}"#);
            hand.hears("released");
            // The data port goes on, with what is loaded and what is not.
            assert_eq!(server.get("/function/hello").text(), "Hello, world!\n");
            assert_eq!(server.get(&format!("/function/cold{steps}")).text(), "cold");
        }
        std::thread::scope(|scope| {
            // Asks while nobody may write, and is answered when somebody may.
            let deployed = scope.spawn(|| server.deploy_as(&function, "hello", &[]));
            if steps > 1 {
                hand.say(r#"{"say":"serving"}"#);
                hand.hears("yours");
            }
            if steps > 2 {
                // It says what makes no sense now, and dies.
                hand.say(r#"{"say":"hello","protocol":1,"version":"0.0.0"}"#);
            }
            drop(hand);
            deployed.join().unwrap();
        });
        assert_eq!(server.get("/function/hello").text(), "Hello, world!\n", "after {name}");
        assert_eq!(server.get(&format!("/function/{function}")).text(), "Hello, world!\n");
    }
    let folder = server.kill();
    let server = Server::in_folder(folder, &[]);
    assert_eq!(server.get("/function/f3").text(), "Hello, world!\n");
}

#[test]
fn what_a_new_one_did_with_the_queue_before_it_died_stays_done() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = Server::start();
    server.deploy("echo", &[]);
    // No other attempt comes by itself.
    apply(&server, "trap", "retry: {attempts: 1}");
    let keep = [("x-dhow-keep-result", "5m")];
    let before = accepted(&server.post("/async-function/f", b"unreachable"));
    stands(&server, &before, "dead");
    // A client that never ends its body holds nobody up.
    let host = server.gateway.trim_start_matches("http://");
    let mut slow = TcpStream::connect(host).unwrap();
    let head = "POST /async-function/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx";
    slow.write_all(head.as_bytes()).unwrap();

    let mut hand = Hand::reach(&server);
    hand.say(HELLO);
    hand.hears("listeners");
    hand.say(r#"{"say":"release"}"#);
    hand.hears("released");
    hand.say(r#"{"say":"serving"}"#);
    hand.hears("yours");
    let taken = runtime.block_on(async {
        let folder = server.path().join("data");
        let queue = EmbeddedQueue::open(&folder, queue::Config::default()).unwrap();
        queue.cancel(CallId::parse(&before).unwrap()).await.unwrap();
        let call = NewCall {
            id: CallId(7),
            function: FunctionName::parse("echo").unwrap(),
            queue: "default".parse().unwrap(),
            head: CallHead {
                method: http::Method::POST,
                uri: "/".parse().unwrap(),
                full_uri: "/async-function/echo".parse().unwrap(),
                script_name: "/async-function/echo".to_owned(),
                headers: http::HeaderMap::new(),
                peer: "127.0.0.1:1".parse().unwrap(),
                local: "127.0.0.1:2".parse().unwrap(),
            },
            callback: None,
            keep_result: Duration::from_secs(300),
            idempotency_key: None,
            most_body: 100,
        };
        let body = http_body_util::Full::new(Bytes::from_static(b"taken"));
        let body = Box::pin(body.map_err(|never| match never {}));
        queue.enqueue(call, body).await.unwrap().call.to_string()
    });
    drop(hand);
    let after = accepted(&server.call("POST", "/async-function/echo", &keep, b"after"));
    for (call, said) in [(&taken, "taken"), (&after, "after")] {
        stands(&server, call, "done");
        assert_eq!(server.ok(&["calls", "show", call, "--result"]), said);
    }
    assert!(show(&server, &before).is_null(), "what had ended is there again");
    let mut refused = String::new();
    BufReader::new(slow).read_line(&mut refused).unwrap();
    assert!(refused.contains(" 503 "), "{refused}");
}

#[test]
fn one_that_speaks_otherwise_is_refused_and_told_why() {
    let server = Server::start();
    let mut hand = Hand::reach(&server);
    hand.say(r#"{"say":"hello","protocol":9,"version":"9.0.0"}"#);
    let refused = hand.hears("refused");
    assert!(refused.contains("protocol 9"), "{refused}");
    drop(hand);
    let mut hand = Hand::reach(&server);
    hand.say("what?");
    let mut nothing = String::new();
    assert_eq!(hand.0.read_line(&mut nothing).unwrap(), 0, "{nothing}");
    server.deploy("hello", &[]);
    assert_eq!(server.get("/function/hello").text(), "Hello, world!\n");
}

#[test]
fn an_old_one_that_dies_on_the_way_leaves_the_new_one_with_all() {
    let server = Server::start();
    server.deploy("hello", &[]);
    let mut folder = server.kill();
    for steps in 0..3 {
        let socket = folder.path().join("data/handover.sock");
        std::fs::remove_file(&socket).unwrap();
        let door = UnixListener::bind(&socket).unwrap();
        let old = std::thread::spawn(move || {
            let mut hand = Hand(BufReader::new(door.accept().unwrap().0));
            hand.hears("hello");
            if steps > 0 {
                hand.say(r#"{"say":"listeners","version":"0.0.0","names":[]}"#);
                hand.hears("release");
            }
            if steps > 1 {
                hand.say(r#"{"say":"released"}"#);
                hand.hears("serving");
            }
        });
        if steps < 2 {
            // It has the folder still, as far as the new one knows.
            let said = refused(up(folder.path(), &["--take-over"]));
            assert!(said.contains("without --take-over"), "{said}");
        } else {
            let server = Server::in_folder(folder, &["--take-over"]);
            assert_eq!(server.get("/function/hello").text(), "Hello, world!\n");
            server.deploy_as("after", "hello", &[]);
            folder = server.kill();
        }
        old.join().unwrap();
    }
    let server = Server::in_folder(folder, &[]);
    assert_eq!(server.get("/function/after").text(), "Hello, world!\n");
}

#[test]
fn where_nobody_runs_it_starts_as_always() {
    let server = Server::with(&["--take-over"]);
    server.deploy("hello", &[]);
    let server = Server::in_folder(server.kill(), &["--take-over"]);
    assert_eq!(server.get("/function/hello").text(), "Hello, world!\n");
}
