//! A real `docker-registry` on a free port of this machine, and the programs around it.
#![expect(clippy::unwrap_used, reason = "a test ends where a step of it fails")]

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// A running registry; gone when dropped.
pub struct Daemon {
    child: Option<Child>,
    port: u16,
    folder: tempfile::TempDir,
}

/// Runs a program of a Debian package to its end; what it printed.
///
/// # Panics
/// With its words when it fails.
pub fn run(program: &str, package: &str, arguments: &[&str]) -> String {
    let output = output(program, package, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a program to its end, whatever that is.
///
/// # Panics
/// When there is no such program.
pub fn output(program: &str, package: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("`{program}` is needed: {error}; apt-get install {package}"))
}

impl Daemon {
    /// A registry that anybody may use over plain HTTP.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn plain() -> Self {
        Self::start("", "")
    }

    /// A registry that asks for `me` and `hunter2`.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn with_password() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let line = run("htpasswd", "apache2-utils", &["-nbB", "me", "hunter2"]);
        let file = folder.path().join("htpasswd");
        std::fs::write(&file, line.trim()).unwrap();
        let auth = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", file.display());
        Self::start_in(folder, "", &auth)
    }

    /// A registry that speaks TLS, and the file of the authority that vouches for it.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn with_tls() -> (Self, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let authority = certificates(folder.path());
        let (certificate, key) = (folder.path().join("leaf.pem"), folder.path().join("leaf.key"));
        let tls =
            format!("  tls: {{certificate: {}, key: {}}}\n", certificate.display(), key.display());
        (Self::start_in(folder, &tls, ""), authority)
    }

    fn start(http: &str, rest: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), http, rest)
    }

    fn start_in(folder: tempfile::TempDir, http: &str, rest: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let storage = folder.path().join("storage");
        let text = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: true}}, level: error}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http:\n  addr: 127.0.0.1:{port}\n{http}{rest}",
            storage.display()
        );
        std::fs::write(folder.path().join("config.yml"), text).unwrap();
        let mut daemon = Self { child: None, port, folder };
        daemon.resume();
        daemon
    }

    /// HOST:PORT.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it in the middle of whatever it does.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it, again with what it held, and waits until it listens.
    ///
    /// # Panics
    /// When it does not come up within half a minute.
    pub fn resume(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(self.folder.path().join("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("`docker-registry` is needed: {error}; apt-get install docker-registry")
            });
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                self.child = Some(child);
                return;
            }
            if let Some(status) = child.try_wait().unwrap() {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
                panic!("docker-registry ended with {status}: {log}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        child.kill().unwrap();
        panic!("docker-registry does not listen");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Makes an authority, and a certificate of it for 127.0.0.1.
fn certificates(folder: &Path) -> PathBuf {
    let at = |name: &str| folder.join(name).display().to_string();
    let openssl = |arguments: &[&str]| run("openssl", "openssl", arguments);
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let (ca, ca_key) = (at("ca.pem"), at("ca.key"));
    let authority = ["-subj", "/CN=test authority", "-days", "2", "-keyout", &ca_key, "-out", &ca];
    openssl(&[&["req", "-x509"][..], &key, &authority].concat());
    let (leaf, leaf_key, request) = (at("leaf.pem"), at("leaf.key"), at("leaf.csr"));
    let subject = ["-subj", "/CN=registry", "-keyout", &leaf_key, "-out", &request];
    openssl(&[&["req"][..], &key, &subject].concat());
    let names = at("names");
    std::fs::write(&names, "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    openssl(&[
        "x509",
        "-req",
        "-in",
        &request,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-set_serial",
        "2",
        "-days",
        "2",
        "-extfile",
        &names,
        "-out",
        &leaf,
    ]);
    ca.into()
}
