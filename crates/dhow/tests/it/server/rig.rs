//! A `dhow up` in a process of its own, on free ports, with a folder of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use dhow_testkit::contract::Contract;
use dhow_testkit::relay::Relay;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const DHOW: &str = env!("CARGO_BIN_EXE_dhow");

/// A file of settings that says nothing, so that this machine's is not read.
pub(crate) const NO_SETTINGS: &str = "/dev/null";

/// A server that runs.
pub(crate) struct Server {
    process: Child,
    pub(crate) gateway: String,
    /// The address of a relay that holds every answer against `docs/openapi.yaml`, where the API
    /// itself listens on loopback.
    pub(crate) admin: String,
    /// The address that the API itself listens on.
    pub(crate) api: String,
    pub(crate) metrics: String,
    pub(crate) folder: Option<TempDir>,
    relay: Option<Relay>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn reason(&self) -> &str {
        self.headers.get("x-dhow-reason").map_or("", |reason| reason.to_str().expect("ASCII"))
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(more: &[&str]) -> Self {
        Self::in_folder(tempfile::tempdir().expect("a temporary folder"), more)
    }

    pub(crate) fn in_folder(folder: TempDir, more: &[&str]) -> Self {
        Self::run(up(folder.path(), more), folder)
    }

    /// Runs `command`, which is a `dhow up` in the end.
    pub(crate) fn run(mut command: Command, folder: TempDir) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("dhow");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let mut address = |name: &str| {
            let line = lines.next().unwrap_or_else(|| panic!("dhow ended")).expect("UTF-8");
            let address = line.strip_prefix(name).map(|rest| rest.trim().to_owned());
            address.unwrap_or_else(|| panic!("`{line}` in place of {name}"))
        };
        let (gateway, api, metrics) = (address("gateway"), address("admin"), address("metrics"));
        let plain = api.strip_prefix("http://").and_then(|address| address.parse().ok());
        // Another network, or TLS, has no way through the relay.
        let relay = plain.filter(|address: &SocketAddr| address.ip().is_loopback());
        let relay = relay.map(|address| Relay::before(address, Contract::of_dhow()));
        let relay = relay.map(|relay| relay.expect("the same port of loopback"));
        let admin =
            relay.as_ref().map_or_else(|| api.clone(), |it| format!("http://{}", it.address()));
        Self { process, gateway, admin, api, metrics, folder: Some(folder), relay }
    }

    /// A server whose admin and metrics ports listen on every address, in a network of its own.
    pub(crate) fn anywhere(folder: TempDir, more: &[&str]) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh", DHOW, "up"]);
        command.args(["--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0", "--metrics", "0.0.0.0:0"]);
        command.arg("--data").arg(folder.path().join("data")).args(more).stdin(Stdio::null());
        Self::run(command, folder)
    }

    /// A program that runs in this server's network.
    pub(crate) fn beside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([&format!("--net=/proc/{}/ns/net", self.pid()), program]);
        command
    }

    /// Starts a dhow that takes over from this one, which goes on until it has ended.
    pub(crate) fn take_over(&mut self, more: &[&str]) -> Self {
        let folder = self.folder.take().expect("a folder");
        Self::run(up(folder.path(), &[&["--take-over"], more].concat()), folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.as_ref().expect("it is taken at the end").path()
    }

    /// Runs a client's command against this server.
    pub(crate) fn dhow(&self, args: &[&str]) -> Output {
        client(&self.admin, args)
    }

    /// The same; it has to succeed. What it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.dhow(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "dhow {args:?}\n{out}{err}");
        out
    }

    /// The same; it has to fail. What it complained of.
    pub(crate) fn fails(&self, args: &[&str]) -> String {
        let output = self.dhow(args);
        assert!(!output.status.success(), "dhow {args:?} succeeds: {}", text(&output.stdout));
        text(&output.stderr)
    }

    /// Deploys a committed guest under its own name, `_` for `-` not needed.
    pub(crate) fn deploy(&self, guest: &str, more: &[&str]) {
        self.deploy_as(guest, guest, more);
    }

    pub(crate) fn deploy_as(&self, name: &str, guest: &str, more: &[&str]) {
        let file = self.guest(guest);
        let file = file.to_str().expect("a UTF-8 path");
        self.ok(&[&["deploy", name, file], more].concat());
    }

    /// A committed guest as a file.
    pub(crate) fn guest(&self, guest: &str) -> PathBuf {
        let path = self.path().join(format!("{guest}.wasm"));
        std::fs::write(&path, dhow_testkit::guest(guest)).expect("room for a guest");
        path
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.call("POST", path, &[], body)
    }

    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        call(&format!("{}{path}", self.gateway), method, headers, body)
    }

    pub(crate) fn admin(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        call(&format!("{}{path}", self.admin), method, &[], body)
    }

    /// The newest outcome of a function.
    pub(crate) fn outcome(&self, function: &str) -> Value {
        let path = format!("/api/v1/namespaces/default/functions/{function}/outcomes?limit=1");
        wait_for(|| self.admin("GET", &path, b"").json()["items"].get(0).cloned())
    }

    pub(crate) fn metric(&self, line: &str) -> Option<f64> {
        let text = call(&format!("{}/metrics", self.metrics), "GET", &[], b"").text();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '))?;
        value.parse().ok()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.expect("kill").success());
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().expect("a child").is_some()
    }

    /// Waits for it to end by itself, and well.
    pub(crate) fn ends_well(&mut self) {
        let status = wait_for(|| self.process.try_wait().expect("a child"));
        assert!(status.success(), "dhow up ended with {status}");
    }

    /// Ends the server at once and gives its folder to the next.
    pub(crate) fn kill(mut self) -> TempDir {
        self.process.kill().expect("a child");
        self.process.wait().expect("a child");
        self.folder.take().expect("a folder")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
        let violations = self.relay.take().map(Relay::finish).unwrap_or_default();
        if !std::thread::panicking() {
            assert!(violations.is_empty(), "{}", violations.join("\n"));
        }
    }
}

/// A disk that is soon full.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many MiB at `place`, which is made.
    pub(crate) fn mount(place: &Path, mebibytes: u32) -> Self {
        std::fs::create_dir(place).expect("a folder");
        let size = format!("size={mebibytes}m");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(place).status();
        let mounted = mounted.expect("the command `mount`").success();
        assert!(mounted, "this test mounts a small disk, for which it must be root");
        Self(place.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It goes with the machine at the latest.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// `dhow up` on free ports.
pub(crate) fn up(data: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(DHOW);
    let any = "127.0.0.1:0";
    command.args(["up", "--listen", any, "--admin", any, "--metrics", any, "--data"]);
    command.arg(data.join("data")).args(more).stdin(Stdio::null());
    command.env("DHOW_CONFIG", NO_SETTINGS);
    command
}

/// Runs `dhow up`, which has to fail soon. What it complained of.
pub(crate) fn refused(mut command: Command) -> String {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("dhow");
    let ended = wait_for(|| child.try_wait().expect("a child"));
    let mut said = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
    assert!(!ended.success(), "dhow up succeeds");
    said
}

pub(crate) fn client(admin: &str, args: &[&str]) -> Output {
    client_with(admin, args, &[])
}

/// A client's command with variables of its environment.
pub(crate) fn client_with(admin: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(DHOW);
    command.args(args).env_clear().env("DHOW_SERVER", admin).env("DHOW_CONFIG", NO_SETTINGS);
    command.envs(env.iter().copied()).stdin(Stdio::null()).output().expect("dhow")
}

pub(crate) fn call(url: &str, method: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .allow_non_standard_methods(true)
        .timeout_global(Some(Duration::from_secs(120)))
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = agent.run(request.body(body).expect("a request"));
    let mut answer = answer.unwrap_or_else(|error| panic!("{method} {url}: {error}"));
    let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec();
    Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: body.unwrap_or_else(|error| panic!("{method} {url}: {error}")),
    }
}

/// Asks again until there is an answer, for a minute.
pub(crate) fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match ask() {
            Some(answer) => return answer,
            None if Instant::now() > until => panic!("nothing came within a minute"),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
