//! A real browser shows pages of strangers, and one of the server's own.
//!
//! All that the browser asks for goes through a proxy of this test. It has the strangers' pages, and
//! passes on to the real ports whatever is for them, as it came: so a name can lead to a stranger's
//! page first and to the admin port then, which is what DNS rebinding does.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::rig::{Server, wait_for};

const PAGE: &str = include_str!("stranger.html");
const BROWSER: &str = "chromium-headless-shell";

/// A request that was passed on.
#[derive(Debug, Clone)]
struct Passed {
    line: String,
    status: u16,
}

#[derive(Default)]
struct Seen {
    passed: Vec<Passed>,
    reports: Vec<Value>,
}

/// The way of the browser to everything.
struct Proxy {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Proxy {
    fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let real = [&server.admin, &server.metrics].map(|url| place(url));
        let kept = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, real) = (kept.clone(), real.clone());
                // A browser opens connections that it then has no use for.
                std::thread::spawn(move || serve(stream.unwrap(), &real, &seen));
            }
        });
        Self { address, seen }
    }

    /// Shows the page at `host` and waits for what it found, and for what was passed on.
    fn show(&self, host: &str, admin: &str, metrics: &str) -> (Value, Vec<Passed>) {
        *self.seen.lock() = Seen::default();
        let profile = tempfile::tempdir().unwrap();
        let page = format!(
            "http://{host}/page.html?admin={admin}&metrics={metrics}&report=http://report.example/"
        );
        let child = Command::new(BROWSER)
            .args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--proxy-server=http://{}", self.address))
            // Loopback addresses, too, go through the proxy.
            .arg("--proxy-bypass-list=<-loopback>")
            // What newer browsers refuse by themselves, older ones do: it has to be the server.
            .arg("--disable-features=LocalNetworkAccessChecks,PrivateNetworkAccessRespectPreflightResults,HttpsUpgrades")
            .arg(page)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{BROWSER}, which `./x test` installs: {error}"));
        let _running = Running(child);
        let report = wait_for(|| self.seen.lock().reports.pop());
        (report, self.seen.lock().passed.clone())
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn place(url: &str) -> String {
    url.strip_prefix("http://").unwrap().to_owned()
}

fn port(place: &str) -> &str {
    place.rsplit_once(':').map_or("80", |(_, port)| port)
}

/// Answers one request of the browser.
fn serve(mut stream: TcpStream, real: &[String], seen: &Mutex<Seen>) {
    let Some((head, body)) = read(&mut stream) else { return };
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    let mut words = first.split(' ');
    let (method, url) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Some((host, path)) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/'))
    else {
        return;
    };
    if path.starts_with("page.html") {
        answer(&mut stream, "200 OK", PAGE);
        return;
    }
    if host == "report.example" {
        seen.lock().reports.push(serde_json::from_slice(&body).unwrap());
        answer(&mut stream, "200 OK", "");
        return;
    }
    let Some(place) = real.iter().find(|place| port(place) == port(host)) else {
        answer(&mut stream, "404 Not Found", "");
        return;
    };
    let mut passed = format!("{method} /{path} HTTP/1.1\r\nconnection: close\r\n");
    for line in lines.filter(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if name != "connection" && name != "proxy-connection" {
            passed.push_str(line);
            passed.push_str("\r\n");
        }
    }
    passed.push_str("\r\n");
    let mut upstream = TcpStream::connect(place).unwrap();
    upstream.write_all(&[passed.as_bytes(), &body].concat()).unwrap();
    let mut answered = Vec::new();
    upstream.read_to_end(&mut answered).unwrap();
    let status = String::from_utf8_lossy(&answered[9..12]).parse().unwrap();
    seen.lock().passed.push(Passed { line: format!("{method} {url}"), status });
    // The browser may have left.
    drop(stream.write_all(&answered));
}

fn answer(stream: &mut TcpStream, status: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    drop(stream.write_all(format!("{head}{body}").as_bytes()));
}

/// The head and the body of a request; `None` when there is none.
fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut buffer).ok()? {
            0 => return None,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = bytes.split_off(end);
    while body.len() < length.unwrap_or_default() {
        match stream.read(&mut buffer).ok()? {
            0 => return None,
            count => body.extend_from_slice(&buffer[..count]),
        }
    }
    Some((head, body))
}

/// How often each kind of request was passed on.
fn count(passed: &[Passed]) -> HashMap<&str, usize> {
    let mut count = HashMap::new();
    for one in passed {
        *count.entry(one.line.split(' ').next().unwrap()).or_default() += 1;
    }
    count
}

fn tokens(server: &Server) -> Value {
    server.admin("GET", "/api/v1/tokens", b"").json()["items"].clone()
}

#[test]
fn pages_of_strangers_get_nothing_through_and_a_page_of_its_own_may() {
    let server = Server::start();
    server.deploy("hello", &[]);
    let proxy = Proxy::start(&server);
    let (admin, metrics) = (place(&server.admin), place(&server.metrics));
    let rebound = |place: &str| format!("http://rebound.example:{}", port(place));

    // A stranger's page, of another site; and one whose name leads to this machine by now, so that
    // the browser takes the admin port for the page's own server.
    for (host, admin_url, metrics_url, form) in [
        ("stranger.example".to_owned(), server.admin.clone(), server.metrics.clone(), "opaque"),
        (place(&rebound(&admin)), rebound(&admin), rebound(&metrics), "basic"),
        // Of this machine, but not of this server: the same site to a browser, another origin.
        ("127.0.0.1:8000".to_owned(), server.admin.clone(), server.metrics.clone(), "opaque"),
    ] {
        let (found, passed) = proxy.show(&host, &admin_url, &metrics_url);
        assert!(passed.len() >= 8, "{host}: hardly anything was tried: {passed:?}");
        assert!(passed.iter().all(|one| one.status == 403), "{host}: {passed:?}");
        for (attempt, what) in found.as_object().unwrap() {
            let what = what.as_str().unwrap();
            let told = what == "nothing"
                || what == "opaque 0 "
                || (form == "basic" && what.contains("foreign-origin"));
            assert!(told, "{host}, {attempt}: {what}");
        }
        assert!(count(&passed)["POST"] >= 2, "{host}: {passed:?}");
        assert_eq!(tokens(&server), serde_json::json!([]), "{host}");
        assert_eq!(server.get("/function/hello").status, 200, "{host}");
    }

    // The same page, from the admin port's own origin.
    let (found, passed) = proxy.show(&admin, &server.admin, &server.metrics);
    let said = |attempt: &str| found[attempt].as_str().unwrap().to_owned();
    assert!(said("simple").starts_with("basic 200") && said("simple").contains("hello"), "{found}");
    assert!(said("json").starts_with("basic 201"), "{found}");
    assert!(said("delete").starts_with("basic 204"), "{found}");
    assert_eq!(said("metrics"), "nothing", "another port is another origin");
    assert!(passed.iter().any(|one| one.status == 201), "{passed:?}");
    assert_eq!(server.get("/function/hello").status, 404);
}
