//! `dhow top`, and what `describe` remembers.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::rig::{DHOW, Server, wait_for};

/// Calls `/function/hello` and `/function/trap` until `look` has an answer.
fn while_calling<T>(server: &Server, look: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                server.get("/function/hello");
                server.post("/function/trap", b"div0");
            }
        });
        let looked = look();
        over.store(true, Relaxed);
        looked
    })
}

#[test]
fn top_shows_what_functions_do_once_for_programs() {
    let server = Server::start();
    server.deploy("hello", &[]);
    server.deploy("trap", &[]);
    server.deploy("echo", &[]);
    let once = ["top", "--once", "--interval", "500ms"];
    assert_eq!(server.ok(&once).lines().count(), 1, "nothing was called");
    let (table, json) = while_calling(&server, || {
        let sorted = [&once[..], &["--sort", "errors"]].concat();
        (server.ok(&sorted), server.ok(&[&once[..], &["-o", "json"]].concat()))
    });
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("FUNCTION") && lines[0].ends_with("COLD"), "{table}");
    assert!(lines[1].starts_with("trap") && lines[2].starts_with("hello"), "{table}");
    assert_eq!(lines.len(), 3, "{table}");
    let rows: Value = serde_json::from_str(&json).unwrap();
    let row = |name: &str| {
        let rows = rows.as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{json}"))
    };
    let number = |name: &str, key: &str| row(name)[key].as_f64().unwrap();
    assert!(number("hello", "calls_per_second") > 0.0);
    assert_eq!(number("hello", "errors_per_second"), 0.0);
    assert!(number("trap", "errors_per_second") > 0.0);
    assert!(number("hello", "p50_us") <= number("hello", "p99_us"));
    assert!(number("hello", "cpu_cores") > 0.0 && number("hello", "peak_memory") > 0.0);
    assert_eq!(number("hello", "cold"), 1.0);
}

#[test]
fn top_draws_on_a_terminal_and_leaves_it_as_it_was() {
    let server = Server::start();
    server.deploy("hello", &[]);
    server.deploy("trap", &[]);
    // `script` gives it a terminal of its own.
    let mut terminal = Command::new("script")
        .args(["-q", "-e", "-c", &format!("stty cols 120 rows 30; {DHOW} top --interval 200ms")])
        .arg("/dev/null")
        .env("DHOW_SERVER", &server.admin)
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of util-linux");
    let (mut keys, mut drawn) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let (sender, bytes) = channel();
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = drawn.read(&mut piece) {
            if sender.send(piece[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut seen = String::new();
    let mut until = |text: &str| {
        while !seen.contains(text) {
            let piece = bytes.recv_timeout(Duration::from_secs(60));
            seen +=
                &String::from_utf8_lossy(&piece.unwrap_or_else(|_| panic!("no {text}: {seen}")));
        }
        let at = seen.find(text).unwrap() + text.len();
        seen.drain(..at);
    };
    while_calling(&server, || {
        until("\x1b[?1049h");
        until("by rate");
        until("hello");
        keys.write_all(b"s").unwrap();
        until("by errors");
        keys.write_all(b"q").unwrap();
        until("\x1b[?1049l");
    });
    let ended = wait_for(|| terminal.try_wait().unwrap());
    assert!(ended.success());
}

#[test]
fn describe_remembers_errors_and_cold_starts() {
    let server = Server::start();
    server.deploy("exit", &[]);
    let failed = server.post("/function/exit", b"3");
    let id = failed.headers["x-call-id"].to_str().unwrap();
    // More calls than are kept of all.
    for _ in 0..300 {
        server.post("/function/exit", b"0");
    }
    let path = "/api/v1/namespaces/default/functions/exit/outcomes";
    let kept = |only: &str| {
        let all = server.admin("GET", &format!("{path}?limit=1000&only={only}"), b"").json();
        let calls = all["items"].as_array().unwrap().iter();
        calls.map(|call| call["call_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    wait_for(|| (kept("all").len() == 256).then_some(()));
    assert!(!kept("all").contains(&id.to_owned()));
    assert_eq!(kept("failed"), [id]);
    assert_eq!(kept("cold"), [id]);
    assert_eq!(server.admin("GET", &format!("{path}?only=odd"), b"").status, 400);
    let described = server.ok(&["describe", "exit"]);
    let part = |title: &str| {
        let part = described.split(title).nth(1).unwrap_or_else(|| panic!("{described}"));
        part.split("\n\n").next().unwrap().to_owned()
    };
    assert!(part("Last errors:").contains("guest-exit"), "{described}");
    assert!(part("Last cold starts:").contains(id), "{described}");
}
