//! The network as it is granted with the command line, by a whole server.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection, Stream};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::rig::{Server, text};

/// A server that says `hello over TLS` once to each who trusts it.
fn tls_server(folder: &std::path::Path) -> u16 {
    let made = Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(' '))
        .args("-subj /CN=peer -addext subjectAltName=DNS:localhost".split(' '))
        .args("-addext basicConstraints=critical,CA:FALSE -keyout key.pem -out peer.pem".split(' '))
        .current_dir(folder)
        .output()
        .expect("openssl, which `./x test` installs");
    assert!(made.status.success(), "{}", text(&made.stderr));
    let certificate = CertificateDer::from_pem_file(folder.join("peer.pem")).expect("PEM");
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(vec![certificate], key));
    let config = Arc::new(config.expect("a certificate and its key"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut tls = ServerConnection::new(config.clone()).expect("a session");
            let mut stream = Stream::new(&mut tls, &mut socket);
            let mut head = [0; 4096];
            // Who does not trust us, leaves.
            if stream.read(&mut head).is_ok_and(|read| read > 0) {
                let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 14\r\n\r\n\
                              hello over TLS";
                drop(stream.write_all(answer.as_bytes()));
                tls.send_close_notify();
                drop(tls.complete_io(&mut socket));
            }
        }
    });
    port
}

#[test]
fn a_grant_is_said_shown_and_held() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = tls_server(folder.path());
    let authority = folder.path().join("peer.pem");
    let trusting = ["--outbound-ca", authority.to_str().expect("UTF-8")];
    for (options, wanted) in
        [(&trusting[..], "200 hello over TLS\n"), (&[], "ErrorCode::TlsCertificateError\n")]
    {
        let server = Server::with(options);
        let file = server.guest("http-ask");
        let rule = format!("https://localhost:{port}");
        let args = ["deploy", "ask", file.to_str().expect("UTF-8"), "--allow-host", &rule];
        let said = text(&server.dhow(&args).stderr);
        assert!(said.contains(&format!("ask: granted network {rule}")), "{said}");
        assert!(server.ok(&["describe", "ask"]).contains(&format!("network {rule}")));
        let line = format!("GET {rule}/a\n");
        assert_eq!(server.post("/function/ask", line.as_bytes()).text(), wanted);

        // The data port is dhow's own.
        let own = format!("GET {}/healthz", server.gateway);
        server.deploy_as("near", "http-ask", &["--allow-host", "http://127.0.0.0/8:*"]);
        let answer = server.post("/function/near", own.as_bytes()).text();
        assert_eq!(answer, "ErrorCode::DestinationIpProhibited\n");
        server.deploy_as("near", "http-ask", &["--allow-host", &server.gateway]);
        assert!(server.post("/function/near", own.as_bytes()).text().starts_with("200 "));
    }
}

#[test]
fn a_certificate_that_is_none_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = super::rig::up(folder.path(), &["--outbound-ca", "/dev/null"]);
    command.env("DHOW_LOG", "off");
    let said = super::rig::refused(command);
    assert!(said.contains("--outbound-ca") && said.contains("no certificate"), "{said}");
}
