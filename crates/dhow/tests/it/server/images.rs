//! Functions out of registries and images: real registries, images of other tools, real clients.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dhow_testkit::registry::{Daemon, run};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::rig::{DHOW, Server, SmallDisk, text, up, wait_for};

/// A user with a home of their own.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn path(&self, name: &str) -> String {
        self.at(name).to_str().expect("UTF-8").to_owned()
    }

    /// A committed guest as a file here.
    fn guest(&self, guest: &str) -> String {
        let path = self.at(&format!("{guest}.wasm"));
        std::fs::write(&path, dhow_testkit::guest(guest)).expect("room for a guest");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(DHOW);
        command.args(args).current_dir(self.0.path()).env_clear();
        command
            .env("HOME", self.0.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null());
        command
    }

    fn dhow(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("dhow")
    }

    /// What it printed; it has to succeed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.dhow(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "dhow {args:?}\n{out}{err}");
        out.trim().to_owned()
    }

    /// What it complained of; it has to fail.
    fn fails(&self, args: &[&str]) -> String {
        let output = self.dhow(args);
        assert!(!output.status.success(), "dhow {args:?} succeeds: {}", text(&output.stdout));
        text(&output.stderr)
    }

    /// A server whose user has this home.
    fn server(&self, more: &[&str]) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        Server::run(self.up(folder.path(), more), folder)
    }

    fn up(&self, folder: &Path, more: &[&str]) -> Command {
        let mut command = up(folder, more);
        command.env("HOME", self.0.path()).env_remove("DOCKER_CONFIG");
        command.env_remove("REGISTRY_AUTH_FILE").env_remove("XDG_RUNTIME_DIR");
        command.env_remove("XDG_CONFIG_HOME");
        command
    }

    fn login(&self, host: &str) -> Output {
        let mut command = self.command(&["login", host, "-u", "me", "--password-stdin"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("dhow");
        let mut stdin = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut stdin, b"hunter2\n").expect("a reader");
        drop(stdin);
        child.wait_with_output().expect("dhow")
    }
}

/// An image layout with one layer of `files` and this configuration, as umoci writes it.
fn umoci(home: &Home, name: &str, files: &[(&str, &[u8])], config: &[&str]) -> String {
    let layout = home.path(name);
    let image = format!("{layout}:v1");
    let umoci = |args: &[&str]| run("umoci", "umoci", args);
    umoci(&["init", "--layout", &layout]);
    umoci(&["new", "--image", &image]);
    let bundle = home.path(&format!("{name}-files"));
    for (path, bytes) in files {
        let path = Path::new(&bundle).join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }
    umoci(&["insert", "--image", &image, &bundle, "/"]);
    umoci(&[&["config", "--image", &image][..], config].concat());
    layout
}

fn status(server: &Server, name: &str) -> Value {
    server.admin("GET", &format!("/api/v1/namespaces/default/functions/{name}"), b"").json()
}

fn answer(server: &Server, name: &str) -> String {
    let answer = server.get(&format!("/function/{name}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// What `env` says that it was started with.
fn words(server: &Server, name: &str) -> Vec<String> {
    let answer = answer(server, name);
    answer.lines().filter(|line| line.starts_with("argv[")).map(str::to_owned).collect()
}

#[test]
fn what_is_pushed_in_any_format_is_deployed_pulled_inspected_and_run() {
    let (home, registry) = (Home::new(), Daemon::plain());
    let server = home.server(&[]);
    let (guest, bytes) = (home.guest("echo"), dhow_testkit::guest("echo"));
    for format in ["artifact", "wasm-to-oci", "image"] {
        let reference = format!("{}/team/{format}:v1", registry.host());
        let pinned = home.ok(&["push", &guest, &reference, "--format", format]);
        assert!(pinned.starts_with(&format!("{reference}@sha256:")), "{pinned}");

        server.ok(&["deploy", format, &reference]);
        assert_eq!(status(&server, format)["image"], json!(pinned));
        assert_eq!(server.post(&format!("/function/{format}"), b"hi").text(), "hi");

        let file = home.path(&format!("{format}.pulled"));
        assert_eq!(home.ok(&["pull", &reference, &file]), file);
        assert_eq!(std::fs::read(&file).expect("a file"), bytes, "{format}");
        assert!(home.fails(&["pull", &reference, &file]).contains("is there already"));

        let shown: Value =
            serde_json::from_str(&home.ok(&["inspect", &reference, "-o", "json"])).expect("JSON");
        assert_eq!(shown["image"]["reference"], json!(pinned));
        assert_eq!(shown["abi"], "command");
        assert_eq!(home.ok(&["run", &reference, "--data", "hello"]), "hello");
    }
    let described = server.ok(&["describe", "artifact"]);
    assert!(
        described.contains("Image:") && described.contains("/team/artifact:v1@"),
        "{described}"
    );
}

#[test]
fn images_of_other_tools_start_as_they_say() {
    let (home, registry) = (Home::new(), Daemon::plain());
    let server = home.server(&[]);
    let module = dhow_testkit::guest("env");
    let layout = umoci(
        &home,
        "layout",
        &[("app/show.wasm", module), ("readme", b"no module")],
        &[
            "--config.entrypoint",
            "/app/show.wasm",
            "--config.cmd",
            "one",
            "--config.env",
            "A=image",
        ],
    );
    let archive = home.path("saved.tar");
    let from = format!("oci:{layout}:v1");
    run("skopeo", "skopeo", &["copy", &from, &format!("docker-archive:{archive}:localhost/x:v1")]);
    let reference = format!("{}/x:v1", registry.host());
    let to = format!("docker://{reference}");
    run("skopeo", "skopeo", &["copy", "--dest-tls-verify=false", &from, &to]);

    for (name, source) in [
        ("registry", reference.as_str()),
        ("folder", layout.as_str()),
        ("named", from.as_str()),
        ("archive", archive.as_str()),
    ] {
        server.ok(&["deploy", name, source]);
        assert_eq!(words(&server, name), ["argv[0]=show.wasm", "argv[1]=one"], "{name}");
        let env = status(&server, name)["manifest"]["spec"]["env"].clone();
        assert!(env.as_array().expect("a list").contains(&json!({"name": "A", "value": "image"})));
    }
    server.ok(&["deploy", "registry", &reference, "--arg", "mine", "--env", "A=mine"]);
    assert_eq!(words(&server, "registry"), ["argv[0]=show.wasm", "argv[1]=mine"]);

    // Of two modules a command says which one runs; the entry point's own words stay.
    let files = [("a.wasm", dhow_testkit::guest("hello")), ("b.wasm", module)];
    let two = umoci(&home, "two", &files, &["--config.cmd", "unused"]);
    let of_two = format!("{}/two:v1", registry.host());
    let (from, to) = (format!("oci:{two}:v1"), format!("docker://{of_two}"));
    run("skopeo", "skopeo", &["copy", "--dest-tls-verify=false", &from, &to]);
    for source in [two.as_str(), &of_two] {
        assert!(server.fails(&["deploy", "two", source]).contains("--command"));
        let words_of_two = ["--command", "/b.wasm", "--command", "fixed"];
        server.ok(&[&["deploy", "two", source][..], &words_of_two].concat());
        assert_eq!(words(&server, "two"), ["argv[0]=b.wasm", "argv[1]=fixed"]);
        server.ok(&[&["deploy", "two", source, "--arg", "mine"][..], &words_of_two].concat());
        let expected = ["argv[0]=b.wasm", "argv[1]=fixed", "argv[2]=mine"];
        assert_eq!(words(&server, "two"), expected);
    }
    assert!(home.ok(&["run", &of_two, "--command", "/b.wasm"]).contains("argv[0]=b.wasm"));

    // A manifest says the same.
    let manifest = home.path("f.yaml");
    let text = format!(
        "apiVersion: dhow.dev/v1alpha1\nkind: Function\nmetadata: {{name: applied}}\n\
         spec: {{source: {{image: '{reference}'}}}}\n---\n\
         apiVersion: dhow.dev/v1alpha1\nkind: Function\nmetadata: {{name: beside}}\n\
         spec: {{source: {{path: saved.tar}}}}\n"
    );
    std::fs::write(&manifest, text).expect("a file");
    server.ok(&["apply", "-f", &manifest]);
    assert_eq!(words(&server, "applied"), ["argv[0]=show.wasm", "argv[1]=one"]);
    assert_eq!(words(&server, "beside"), ["argv[0]=show.wasm", "argv[1]=one"]);
}

#[test]
fn a_spin_application_is_pulled_as_a_folder_shown_and_refused_by_name() {
    let (home, registry) = (Home::new(), Daemon::plain());
    let server = home.server(&[]);
    let module = dhow_testkit::guest("hello");
    let files = [("spin.toml", &b"spin_manifest_version = 2"[..]), ("web/a.wasm", module)];
    let layout = umoci(&home, "app", &files, &["--config.cmd", "/"]);
    let reference = format!("{}/team/app:v1", registry.host());
    let to = format!("docker://{reference}");
    run("skopeo", "skopeo", &["copy", "--dest-tls-verify=false", &format!("oci:{layout}:v1"), &to]);

    let folder = home.path("pulled");
    assert_eq!(home.ok(&["pull", &reference, &folder]), folder);
    assert_eq!(std::fs::read(home.at("pulled/web/a.wasm")).expect("a file"), module);
    assert!(home.at("pulled/spin.toml").exists());
    assert!(home.fails(&["pull", &reference, &folder]).contains("can't be made"));
    let shown: Value =
        serde_json::from_str(&home.ok(&["inspect", &reference, "-o", "json"])).expect("JSON");
    assert_eq!(shown["image"]["modules"], json!(["web/a.wasm"]));
    let refused = server.fails(&["deploy", "app", &reference]);
    assert!(refused.contains("Spin application"), "{refused}");
}

#[test]
fn a_mangled_entry_point_runs_the_only_module_with_a_warning() {
    let home = Home::new();
    let server = home.server(&[]);
    let files = [("hello.wasm", dhow_testkit::guest("env"))];
    let entry = [
        "--config.entrypoint",
        "/bin/sh",
        "--config.entrypoint",
        "-c",
        "--config.entrypoint",
        "hello.wasm",
    ];
    let layout = umoci(&home, "shell", &files, &entry);
    let output = server.dhow(&["deploy", "shell", &layout]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("warning: "), "{}", text(&output.stderr));
    assert_eq!(words(&server, "shell"), ["argv[0]=hello.wasm"]);
}

#[test]
fn a_tag_is_resolved_once_and_a_registry_that_is_gone_changes_nothing() {
    let (home, mut registry) = (Home::new(), Daemon::plain());
    let mut server = home.server(&[]);
    let reference = format!("{}/hello:latest", registry.host());
    home.ok(&["push", &home.guest("hello"), &reference]);
    server.ok(&["deploy", "hello", &reference]);
    let (first, said) = (status(&server, "hello"), answer(&server, "hello"));

    home.ok(&["push", &home.guest("env"), &reference]);
    assert_eq!(answer(&server, "hello"), said);
    assert_eq!(status(&server, "hello")["image"], first["image"]);
    // The same words again: another image, so another revision.
    server.ok(&["deploy", "hello", &reference]);
    let second = status(&server, "hello");
    assert_eq!((&second["revision"], second["image"] == first["image"]), (&json!(2), false));
    // And once more: the same image.
    server.ok(&["deploy", "hello", &reference]);
    assert_eq!(status(&server, "hello")["revision"], 2);
    // What was deployed first is still there to be deployed again.
    server.ok(&["deploy", "hello", first["image"].as_str().expect("text")]);
    assert_eq!(answer(&server, "hello"), said);

    registry.kill();
    let folder = server.kill();
    server = Server::run(home.up(folder.path(), &[]), folder);
    assert_eq!(answer(&server, "hello"), said);
    let refused = server.fails(&["deploy", "other", &reference]);
    assert!(refused.contains(&registry.host()), "{refused}");
    assert_eq!(server.get("/function/other").status, 404);
}

#[test]
fn private_registries_ask_and_are_answered() {
    let (home, registry) = (Home::new(), Daemon::with_password());
    let reference = format!("{}/private/hello:v1", registry.host());
    let guest = home.guest("hello");
    let strangers = Home::new();
    assert!(strangers.fails(&["push", &guest, &reference]).contains("login"));

    let login = home.login(&registry.host());
    assert!(login.status.success(), "{}", text(&login.stderr));
    home.ok(&["push", &guest, &reference]);

    // The server's own credentials, twice: the second pull works like the first.
    let server = home.server(&[]);
    for name in ["one", "two"] {
        server.ok(&["deploy", name, &reference]);
        assert_eq!(answer(&server, name), answer(&server, "one"));
    }

    // They serve the namespaces that are named alone.
    let refused = server.fails(&["-n", "shop", "deploy", "one", &reference]);
    assert!(refused.contains("--registry-credentials-for shop"), "{refused}");
    let both = ["--registry-credentials-for", "shop", "--registry-credentials-for", "other"];
    let server = home.server(&both);
    server.ok(&["-n", "shop", "deploy", "one", &reference]);
    assert!(
        server.fails(&["deploy", "one", &reference]).contains("--registry-credentials-for default")
    );

    // A server without any: secrets of each function, in both forms.
    let server = strangers.server(&[]);
    assert!(server.fails(&["deploy", "hello", &reference]).contains("login"));
    let file = |name: &str, entry: Value| {
        let text = json!({"auths": {registry.host(): entry}}).to_string();
        std::fs::write(strangers.at(name), text).expect("a file");
        strangers.path(name)
    };
    let plain = file("plain", json!({"username": "me", "password": "hunter2"}));
    let coded = file("coded", json!({"auth": "bWU6aHVudGVyMg=="}));
    let wrong = file("wrong", json!({"username": "me", "password": "guess"}));
    for (name, file) in [("plain", &plain), ("coded", &coded), ("wrong", &wrong)] {
        server.ok(&["secret", "create", name, "--docker-config", file]);
    }
    for name in ["plain", "coded", "plain"] {
        server.ok(&["deploy", name, &reference, "--pull-secret", name]);
        assert_eq!(server.get(&format!("/function/{name}")).status, 200);
    }
    for (secret, part) in [("wrong", "denied"), ("absent", "absent")] {
        let refused = server.fails(&["deploy", "x", &reference, "--pull-secret", secret]);
        assert!(refused.contains(part) || refused.contains("login"), "{refused}");
    }
    // A secret is of its namespace alone, and no listing has its value.
    let elsewhere = ["-n", "shop", "deploy", "x", &reference, "--pull-secret", "plain"];
    assert!(server.fails(&elsewhere).contains("`plain` is not there"));
    let listed = server.ok(&["secret", "list", "-o", "json"]);
    assert!(listed.contains(".dockerconfigjson") && !listed.contains("hunter2"), "{listed}");
    // The manifest that `describe` gives deploys it again.
    assert_eq!(
        status(&server, "plain")["manifest"]["spec"]["source"]["pullSecrets"],
        json!(["plain"])
    );
    server.ok(&["secret", "delete", "plain"]);
    assert!(!server.ok(&["secret", "list"]).contains("plain"));
}

#[test]
fn certificates_are_checked_unless_said_otherwise() {
    let home = Home::new();
    let (registry, authority) = Daemon::with_tls();
    let (host, authority) = (registry.host(), authority.to_str().expect("UTF-8").to_owned());
    let reference = format!("{host}/hello:v1");
    let guest = home.guest("hello");
    assert!(home.fails(&["push", &guest, &reference]).contains("certificate"));
    home.ok(&["push", &guest, &reference, "--registry-ca", &authority]);
    home.ok(&["inspect", &reference, "--insecure-registry", &host]);

    let server = home.server(&[]);
    assert!(server.fails(&["deploy", "hello", &reference]).contains("certificate"));
    for option in [["--registry-ca", &authority], ["--insecure-registry", &host]] {
        let server = home.server(&option);
        server.ok(&["deploy", "hello", &reference]);
        assert_eq!(server.get("/function/hello").status, 200);
    }
}

#[test]
fn a_pull_goes_on_where_the_registry_was_killed() {
    let (home, mut registry) = (Home::new(), Daemon::plain());
    let server = home.server(&["--module-size", "256Mi"]);
    let module = large("hello", 48 << 20);
    std::fs::write(home.at("large.wasm"), &module).expect("room");
    home.ok(&["push", &home.path("large.wasm"), &format!("{}/large:v1", registry.host())]);

    // Through a way that ends after 8 MiB, so that the registry dies in the middle.
    let way = Way::to(&registry.host(), 8 << 20);
    let reference = format!("{}/large:v1", way.host);
    let mut deploy = home.command(&["deploy", "large", &reference]);
    deploy.env("DHOW_SERVER", &server.admin).stderr(Stdio::piped());
    let mut deploy = deploy.spawn().expect("dhow");
    let staging = server.path().join("data/pulling");
    wait_for(|| (way.is_at_its_end() && partial(&staging)? > 0).then_some(()));
    registry.kill();
    way.opens();
    registry.resume();
    // The retries of the pull meet a registry that is back, or the next pull does.
    if !deploy.wait().expect("a child").success() {
        server.ok(&["deploy", "large", &reference]);
    }
    assert_eq!(server.get("/function/large").status, 200);
    assert_eq!(std::fs::read_dir(&staging).expect("a folder").count(), 0);
    // What came before was not sent again, but for what was on its way when it broke.
    let (carried, size) = (way.carried(), module.len() as u64);
    assert!(carried >= size && carried < size + (8 << 20), "{carried} bytes of {size}");
}

/// A way to a registry on which only so many bytes come back before it breaks.
struct Way {
    host: String,
    most: Arc<AtomicU64>,
    carried: Arc<AtomicU64>,
}

impl Way {
    fn to(registry: &str, most: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let (most, carried) = (Arc::new(AtomicU64::new(most)), Arc::default());
        let (end, counted, to) = (Arc::clone(&most), Arc::clone(&carried), registry.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(registry) = TcpStream::connect(&to) else { continue };
                let (end, counted) = (Arc::clone(&end), Arc::clone(&counted));
                std::thread::spawn(move || carry(&client, &registry, &end, &counted));
            }
        });
        Self { host, most, carried }
    }

    fn carried(&self) -> u64 {
        self.carried.load(Ordering::SeqCst)
    }

    fn is_at_its_end(&self) -> bool {
        self.carried() >= self.most.load(Ordering::SeqCst)
    }

    fn opens(&self) {
        self.most.store(u64::MAX, Ordering::SeqCst);
    }
}

/// Carries a connection's bytes until one side ends it, or the way its own.
fn carry(client: &TcpStream, registry: &TcpStream, most: &AtomicU64, carried: &AtomicU64) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            drop(std::io::copy(&mut { client }, &mut { registry }));
            drop(registry.shutdown(Shutdown::Write));
        });
        let mut chunk = [0; 64 << 10];
        while carried.load(Ordering::SeqCst) < most.load(Ordering::SeqCst) {
            let Ok(read @ 1..) = std::io::Read::read(&mut { registry }, &mut chunk) else { break };
            carried.fetch_add(read as u64, Ordering::SeqCst);
            if std::io::Write::write_all(&mut { client }, &chunk[..read]).is_err() {
                break;
            }
        }
        drop((client.shutdown(Shutdown::Both), registry.shutdown(Shutdown::Both)));
    });
}

/// A guest with a custom section of so many bytes.
fn large(guest: &str, padding: usize) -> Vec<u8> {
    let mut module = dhow_testkit::guest(guest).to_vec();
    let name = [1, b'x'];
    let mut rest = padding + name.len();
    module.push(0);
    while rest >= 0x80 {
        module.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    module.push(rest as u8);
    module.extend(name);
    module.resize(module.len() + padding, 7);
    module
}

/// The length of what has come of a pull.
fn partial(staging: &Path) -> Option<u64> {
    let folder = std::fs::read_dir(staging).ok()?.next()?.ok()?.path();
    let files = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let partial = files.filter(|file| file.file_name().to_string_lossy().starts_with(".partial-"));
    partial.filter_map(|file| Some(file.metadata().ok()?.len())).max()
}

#[test]
fn a_full_disk_refuses_the_image_and_loses_nothing() {
    let (home, registry) = (Home::new(), Daemon::plain());
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let _mounted = SmallDisk::mount(&data, 8);
    let server = Server::run(home.up(folder.path(), &[]), folder);
    let reference = |name: &str| format!("{}/{name}:v1", registry.host());
    for name in ["hello", "echo"] {
        home.ok(&["push", &home.guest(name), &reference(name)]);
    }
    std::fs::write(home.at("large.wasm"), large("hello", 16 << 20)).expect("room");
    home.ok(&["push", &home.path("large.wasm"), &reference("large")]);
    server.ok(&["deploy", "hello", &reference("hello")]);
    let said = server.fails(&["deploy", "large", &reference("large")]);
    assert!(said.contains("disk is full"), "{said}");
    assert_eq!(std::fs::read_dir(data.join("pulling")).expect("a folder").count(), 0);
    assert_eq!(server.get("/function/hello").text(), "Hello, world!\n");
    // There is room again without anybody's help.
    server.ok(&["deploy", "echo", &reference("echo")]);
    assert_eq!(server.post("/function/echo", b"x").text(), "x");
}

#[test]
fn the_store_keeps_to_its_size() {
    let (home, registry) = (Home::new(), Daemon::plain());
    let guest = |name: &str| home.guest(name);
    let sizes = [dhow_testkit::guest("hello"), dhow_testkit::guest("env")];
    let most = (sizes[0].len() + sizes[1].len() - 1).to_string();
    let server = home.server(&["--store-size", &most]);
    for name in ["hello", "env"] {
        home.ok(&["push", &guest(name), &format!("{}/{name}:v1", registry.host())]);
    }
    let reference = |name: &str| format!("{}/{name}:v1", registry.host());
    server.ok(&["deploy", "hello", &reference("hello")]);
    let refused = server.fails(&["deploy", "show", &reference("env")]);
    assert!(refused.contains("budget"), "{refused}");
    assert_eq!(server.get("/function/hello").status, 200);
    assert_eq!(server.get("/function/show").status, 404);
}

#[test]
fn what_is_no_function_is_refused_with_its_reason() {
    let (home, registry) = (Home::new(), Daemon::plain());
    let server = home.server(&[]);
    let layout =
        umoci(&home, "native", &[("bin/sh", b"\x7fELF")], &["--config.entrypoint", "/bin/sh"]);
    let native = format!("{}/native:v1", registry.host());
    let to = format!("docker://{native}");
    run("skopeo", "skopeo", &["copy", "--dest-tls-verify=false", &format!("oci:{layout}:v1"), &to]);
    assert!(server.fails(&["deploy", "x", &native]).contains("not WebAssembly"));
    assert!(server.fails(&["deploy", "x", &layout]).contains("not WebAssembly"));
    let absent = format!("{}/absent:v1", registry.host());
    assert!(server.fails(&["deploy", "x", &absent]).contains("absent"));
    assert!(server.fails(&["deploy", "x", "https://ghcr.io/x"]).contains("no reference"));
    assert!(server.fails(&["deploy", "x", "missing.wasm"]).contains("can't be read"));
    assert!(home.fails(&["push", &layout, &absent]).contains("can't be read"));
    std::fs::write(home.at("text.wasm"), "no module").expect("room");
    assert!(home.fails(&["push", &home.path("text.wasm"), &absent]).contains("text.wasm"));
    assert!(server.ok(&["list", "-o", "name"]).is_empty());
}
