//! Ports, servers and registries.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, SystemTime};

use super::super::rig::Server;
use super::report::Doctor;

pub(super) fn port_taken(name: &str) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let me = format!("process {}", std::process::id());
    let report = Doctor::new().examine(&["--admin", &address]);
    report.names(name, &[&address, "--admin", &me]);
    drop(taken);

    // The dhow of this data folder may have them, and so may the one that answers.
    let server = Server::start();
    let data = server.path().join("data").display().to_string();
    let without_scheme = |url: &str| url.trim_start_matches("http://").to_owned();
    let (listen, admin) = (without_scheme(&server.gateway), without_scheme(&server.api));
    let ports = ["--listen", &listen, "--admin", &admin];
    let report = Doctor::new().examine(&[&ports[..], &["--data", &data]].concat());
    assert_eq!(report.state(name), "good", "{report:?}");
    let report = Doctor::new().with("DHOW_SERVER", &server.api).examine(&ports);
    assert_eq!(report.state(name), "good", "{report:?}");
    let report = Doctor::new().examine(&ports);
    report.names(name, &[&format!("process {}, dhow", server.pid())]);
}

pub(super) fn port_refused(name: &str) {
    // An address of documentation, which no machine has.
    let report = Doctor::new().examine(&["--listen", "192.0.2.1:8080"]);
    report.names(name, &["192.0.2.1:8080 (--listen) is not an address of this machine"]);
}

pub(super) fn server_away(name: &str) {
    assert_eq!(Doctor::new().examine(&[]).state(name), "skipped", "none is named");
    let report = Doctor::new().with("DHOW_SERVER", "http://127.0.0.1:1").examine(&[]);
    report.names(name, &["http://127.0.0.1:1", "refused"]);
    let stranger = Stranger::that_answers("404 Not Found", "", "nothing here");
    let report = Doctor::new().with("DHOW_SERVER", &stranger.url).examine(&[]);
    report.names(name, &["404"]);
    let server = Server::start();
    let report = Doctor::new().with("DHOW_SERVER", &server.admin).examine(&[]);
    assert_eq!(report.state(name), "good", "{report:?}");
}

const OTHER_VERSION: &str = r#"{"version": "9.9.9", "gateway": "http://127.0.0.1:1"}"#;

pub(super) fn server_version(name: &str) {
    let other = Stranger::that_answers("200 OK", "", OTHER_VERSION);
    let report = Doctor::new().with("DHOW_SERVER", &other.url).examine(&[]);
    report.names(name, &["the server is dhow 9.9.9"]);
    let server = Server::start();
    let report = Doctor::new().with("DHOW_SERVER", &server.admin).examine(&[]);
    assert_eq!(report.state(name), "good", "{report:?}");
    assert_eq!(report.state("clock-skew"), "good", "{report:?}");
}

pub(super) fn clock_skew(name: &str) {
    for (date, word) in [
        (SystemTime::now() + Duration::from_secs(3600), "behind"),
        (SystemTime::now() - Duration::from_secs(3600), "ahead of"),
    ] {
        let date = format!("date: {}\r\n", httpdate::fmt_http_date(date));
        let other = Stranger::that_answers("200 OK", &date, OTHER_VERSION);
        let report = Doctor::new().with("DHOW_SERVER", &other.url).examine(&[]);
        report.names(name, &[word, "the server's"]);
    }
}

pub(super) fn registry_unreachable(name: &str) {
    let report = Doctor::new().examine(&["--registry", "127.0.0.1:1"]);
    report.names(name, &["127.0.0.1:1"]);
    assert_eq!(Doctor::new().examine(&[]).state(name), "skipped", "none is named");
}

pub(super) fn registry_credentials(name: &str) {
    let challenge = "www-authenticate: Basic realm=\"registry\"\r\n";
    let registry = Stranger::that_answers("401 Unauthorized", challenge, "{}");
    let host = registry.url.trim_start_matches("http://").to_owned();
    // As a stranger it may say so; that is no fault.
    let report = Doctor::new().examine(&["--registry", &host]);
    assert_eq!(report.state(name), "good", "{report:?}");
    assert_eq!(report.state("registry-unreachable"), "good", "{report:?}");
    let doctor = Doctor::new();
    std::fs::create_dir(doctor.path().join(".docker")).unwrap();
    let auths =
        format!(r#"{{"auths": {{"{host}": {{"username": "me", "password": "hunter2"}}}}}}"#);
    doctor.file(".docker/config.json", auths);
    let report = doctor.examine(&[]);
    report.names(name, &[&host, "did not accept the credentials"]);
    assert!(!format!("{report:?}").contains("hunter2"), "{report:?}");
    doctor.file(".docker/config.json", "no JSON");
    doctor.examine(&[]).names(name, &["config.json"]);
}

/// A server that answers everything alike.
struct Stranger {
    url: String,
}

impl Stranger {
    fn that_answers(status: &str, headers: &str, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
        );
        // Ends with the process of the tests.
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                // Who speaks TLS first goes away by himself.
                let _ = answer_one(connection.unwrap(), &answer);
            }
        });
        Self { url }
    }
}

fn answer_one(mut connection: TcpStream, answer: &str) -> std::io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    // The head; what is no text ends it with an error.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    connection.write_all(answer.as_bytes())
}
