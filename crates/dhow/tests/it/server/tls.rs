//! TLS: which protocol is spoken, and certificates that change while clients come and go.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::rig::{DHOW, Server, text, up, wait_for};

/// An authority that signs certificates for this machine.
struct Authority(PathBuf);

impl Authority {
    fn new(folder: &Path) -> Self {
        let authority = Self(folder.to_owned());
        openssl(
            folder,
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
             -subj /CN=authority -keyout ca.key -out ca.pem",
        );
        fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
        authority
    }

    fn file(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// A certificate with this serial number, and its key.
    fn sign(&self, serial: u32) -> (Vec<u8>, Vec<u8>) {
        openssl(
            &self.0,
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=dhow \
             -keyout one.key -out one.csr",
        );
        openssl(
            &self.0,
            &format!(
                "x509 -req -in one.csr -CA ca.pem -CAkey ca.key -set_serial {serial} -days 2 \
                 -extfile names -out one.pem"
            ),
        );
        let read = |name: &str| fs::read(self.0.join(name)).unwrap();
        (read("one.pem"), read("one.key"))
    }

    fn agent(&self) -> ureq::Agent {
        let root = Certificate::from_pem(&fs::read(self.file()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(RootCerts::from([root]))
            .build();
        ureq::Agent::config_builder().tls_config(tls).build().into()
    }
}

fn openssl(folder: &Path, args: &str) {
    let output = Command::new("openssl").args(args.split_whitespace()).current_dir(folder).output();
    let output = output.expect("openssl, which `./x test` installs");
    assert!(output.status.success(), "openssl {args}: {}", text(&output.stderr));
}

/// Replaces a file as those who renew certificates do.
fn replace(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::rename(new, path).unwrap();
}

/// The serial number of the certificate that a server shows.
fn serial(server: &Server) -> String {
    let place = server.gateway.strip_prefix("https://").unwrap();
    let script = format!(
        "openssl s_client -connect {place} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    );
    text(&Command::new("sh").args(["-c", &script]).output().unwrap().stdout).trim().to_owned()
}

#[test]
fn a_certificate_is_replaced_under_load_and_a_broken_one_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let (cert, key) = (folder.path().join("tls.pem"), folder.path().join("tls.key"));
    let put = |(certificate, private): (Vec<u8>, Vec<u8>)| {
        // Between the two, they do not belong together.
        replace(&cert, &certificate);
        replace(&key, &private);
    };
    put(authority.sign(1));
    let log = folder.path().join("log");
    let args = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let mut command = up(folder.path(), &args);
    command.env("DHOW_UP_LOG_LEVEL", "info").stderr(File::create(&log).unwrap());
    let server = Server::run(command, folder);
    assert!(server.gateway.starts_with("https://") && server.admin.starts_with("http://"));
    server.deploy("http-kit", &[]);
    assert_eq!(serial(&server), "serial=01");

    let url = format!("{}/function/http-kit/headers", server.gateway);
    let (ended, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = [true, false]
        .map(|keeps_connections| {
            let (url, agent) = (url.clone(), authority.agent());
            let (ended, answered) = (ended.clone(), answered.clone());
            std::thread::spawn(move || {
                while !ended.load(Relaxed) {
                    let mut request = agent.get(&url);
                    if !keeps_connections {
                        request = request.header("connection", "close");
                    }
                    let answer = request.call().expect("a call that is answered");
                    assert_eq!(answer.status(), 200);
                    answered.fetch_add(1, Relaxed);
                }
            })
        })
        .into();
    wait_for(|| (answered.load(Relaxed) > 20).then_some(()));
    put(authority.sign(2));
    wait_for(|| (serial(&server) == "serial=02").then_some(()));

    replace(&cert, b"-----BEGIN CERTIFICATE-----\nbroken\n");
    let said = wait_for(|| {
        let said = fs::read_to_string(&log).unwrap();
        said.contains("the old one stays").then_some(said)
    });
    assert!(said.contains("tls.pem"), "{said}");
    assert_eq!(serial(&server), "serial=02");
    put(authority.sign(3));
    wait_for(|| (serial(&server) == "serial=03").then_some(()));
    let before = answered.load(Relaxed);
    wait_for(|| (answered.load(Relaxed) > before + 20).then_some(()));
    ended.store(true, Relaxed);
    clients.into_iter().for_each(|client| client.join().expect("every call was answered"));
}

#[test]
fn the_newest_http_that_both_speak_is_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let (certificate, key) = authority.sign(1);
    let (cert, private) = (folder.path().join("tls.pem"), folder.path().join("tls.key"));
    fs::write(&cert, certificate).unwrap();
    fs::write(&private, key).unwrap();
    let (cert, private) = (cert.to_str().unwrap(), private.to_str().unwrap());
    let server = Server::anywhere(folder, &["--tls-cert", cert, "--tls-key", private]);
    let secret = server.path().join("data/admin-secret");
    let (ca, hello) = (authority.file(), server.guest("http-kit"));
    let dhow = |more: &[&str]| {
        let admin = server.admin.replace("0.0.0.0", "127.0.0.1");
        let mut command = server.beside(DHOW);
        command.args(["--server", &admin, "--token-file", secret.to_str().unwrap()]).args(more);
        command.stdin(Stdio::null()).output().unwrap()
    };
    assert!(server.admin.starts_with("https://") && server.metrics.starts_with("https://"));
    let untrusted = dhow(&["list"]);
    assert!(!untrusted.status.success(), "a certificate of nobody's is believed");
    let deployed =
        dhow(&["--ca-file", ca.to_str().unwrap(), "deploy", "kit", hello.to_str().unwrap()]);
    assert!(deployed.status.success(), "{}", text(&deployed.stderr));

    let curl = |more: &[&str], url: &str| {
        let mut curl = server.beside("curl");
        curl.args(["-s", "--cacert", ca.to_str().unwrap(), "-w", "\n%{http_version} %{http_code}"]);
        text(&curl.args(more).arg(url).output().unwrap().stdout)
    };
    let url = format!("{}/function/kit/headers", server.gateway);
    let said = curl(&[], &url);
    assert!(said.ends_with("\n2 200") && said.contains("x-forwarded-proto: https"), "{said}");
    assert!(curl(&["--http1.1"], &url).ends_with("\n1.1 200"));
    let plain = curl(&[], &url.replace("https:", "http:"));
    assert!(!plain.ends_with("200"), "{plain}");
    let metrics = format!("{}/metrics", server.metrics.replace("0.0.0.0", "127.0.0.1"));
    assert!(curl(&[], &metrics).ends_with("1.1 401"));
}

#[test]
fn files_that_are_no_certificate_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let (one, _) = authority.sign(1);
    let (_, other_key) = authority.sign(2);
    let (cert, key) = (folder.path().join("tls.pem"), folder.path().join("tls.key"));
    let refused = || {
        let args = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
        super::rig::refused(up(folder.path(), &args))
    };
    assert!(refused().contains("tls.pem"));
    fs::write(&cert, &one).unwrap();
    fs::write(&key, &other_key).unwrap();
    assert!(refused().contains("tls.key"));
    fs::write(&key, "no key").unwrap();
    assert!(refused().contains("private key"));
}
