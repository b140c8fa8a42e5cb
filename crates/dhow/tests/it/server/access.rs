//! Who may speak to the admin and metrics ports: the secret, tokens, and other machines.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::rig::{DHOW, Server, call, client_with, text, wait_for};

impl Server {
    fn admin_secret(&self) -> PathBuf {
        self.path().join("data/admin-secret")
    }

    fn with_token(&self, secret: &str, args: &[&str]) -> Output {
        client_with(&self.admin, args, &[("DHOW_TOKEN", secret)])
    }

    /// A client's command that shows the admin secret and has to succeed. What it printed.
    fn as_admin(&self, args: &[&str]) -> String {
        let file = self.admin_secret();
        let output = client_with(&self.admin, args, &[("DHOW_TOKEN_FILE", file.to_str().unwrap())]);
        assert!(output.status.success(), "dhow {args:?}\n{}", text(&output.stderr));
        text(&output.stdout)
    }
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
fn whoever_is_asked_shows_the_secret_or_a_token() {
    let server = Server::with(&["--auth"]);
    let secret = std::fs::read_to_string(server.admin_secret()).unwrap();
    let mode = std::fs::metadata(server.admin_secret()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(server.fails(&["list"]).contains("credentials"));
    let metrics = format!("{}/metrics", server.metrics);
    assert_eq!(call(&metrics, "GET", &[], b"").status, 401);
    assert_eq!(server.admin("GET", "/healthz", b"").status, 200);

    let hello = server.guest("hello");
    server.as_admin(&["deploy", "hello", hello.to_str().unwrap()]);
    assert_eq!(server.get("/function/hello").status, 200, "the data port asks for nothing");
    let basic =
        [("authorization", format!("Basic {}", base64(&format!("admin:{}", secret.trim()))))];
    let basic = basic.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(call(&format!("{}/api/v1/tokens", server.admin), "GET", &basic, b"").status, 200);

    let reader = server.as_admin(&["token", "create", "reader", "--scope", "read"]);
    let reader = reader.trim();
    let listed = server.with_token(reader, &["list", "-o", "name"]);
    assert_eq!(text(&listed.stdout), "hello.default\n");
    let bearer = [("authorization", &*format!("Bearer {reader}"))];
    assert_eq!(call(&metrics, "GET", &bearer, b"").status, 200);
    let said = refused(&server.with_token(reader, &["delete", "hello"]));
    assert!(said.contains("deploy:default") && said.contains("reader"), "{said}");
    assert_eq!(server.get("/function/hello").status, 200);

    server.as_admin(&["token", "revoke", "reader"]);
    refused(&server.with_token(reader, &["list"]));
    assert!(!server.as_admin(&["token", "list", "-o", "json"]).contains("reader"));
}

#[test]
fn a_token_is_for_its_namespace_and_its_time_and_outlives_a_kill() {
    let server = Server::with(&["--auth"]);
    let shop = server.path().join("shop.token");
    let shop_file = shop.to_str().unwrap();
    server.as_admin(&["token", "create", "shop", "--scope", "deploy:shop", "--out", shop_file]);
    assert_eq!(std::fs::metadata(&shop).unwrap().permissions().mode() & 0o777, 0o600);
    let short =
        server.as_admin(&["token", "create", "short", "--scope", "read", "--expires", "1s"]);
    wait_for(|| (!server.with_token(short.trim(), &["list"]).status.success()).then_some(()));
    assert!(server.as_admin(&["token", "list"]).contains("expired"));

    let again = Server::in_folder(server.kill(), &["--auth"]);
    let hello = again.guest("hello");
    let deploy = |name: &str| {
        let args = ["--token-file", shop_file, "deploy", name, hello.to_str().unwrap()];
        client_with(&again.admin, &args, &[])
    };
    let deployed = deploy("hello.shop");
    assert!(deployed.status.success(), "{}", text(&deployed.stderr));
    assert!(refused(&deploy("hello")).contains("deploy:default"));
    assert_eq!(again.get("/function/hello.shop").status, 200);
    assert_eq!(again.get("/function/hello").status, 404);
    // Nor may it stand before a function of another namespace.
    again.as_admin(&["deploy", "pay", hello.to_str().unwrap(), "--route", "/pay/*"]);
    let before = ["deploy", "pay.shop", hello.to_str().unwrap(), "--route", "/pay/card"];
    let args = [&["--token-file", shop_file][..], &before[..]].concat();
    assert!(refused(&client_with(&again.admin, &args, &[])).contains("takes calls of `/pay/*`"));
    again.as_admin(&before);
}

#[test]
fn what_was_logged_in_with_is_kept_for_that_server_alone() {
    let server = Server::with(&["--auth"]);
    let home = server.path().to_str().unwrap().to_owned();
    let at_home = |args: &[&str]| client_with(&server.admin, args, &[("XDG_CONFIG_HOME", &home)]);
    let wrong = server.path().join("wrong");
    std::fs::write(&wrong, "dhow_wrong\n").unwrap();
    refused(&at_home(&["auth", "login", "--token-file", wrong.to_str().unwrap()]));
    refused(&at_home(&["list"]));

    let mut login = Command::new(DHOW)
        .args(["auth", "login"])
        .env_clear()
        .envs([("DHOW_SERVER", server.admin.as_str()), ("XDG_CONFIG_HOME", &home)])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let secret = std::fs::read(server.admin_secret()).unwrap();
    login.stdin.take().unwrap().write_all(&secret).unwrap();
    assert!(login.wait().unwrap().success());
    assert!(at_home(&["list"]).status.success());
    let kept = server.path().join("dhow/credentials.json");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);

    let other = Server::with(&["--auth"]);
    refused(&client_with(&other.admin, &["list"], &[("XDG_CONFIG_HOME", &home)]));
    assert!(at_home(&["auth", "logout"]).status.success());
    refused(&at_home(&["list"]));
}

/// In a network of its own, where other addresses than loopback are nobody's but this test's.
#[test]
fn another_machine_is_asked_for_credentials_unless_nobody_minds() {
    let server = Server::anywhere(tempfile::tempdir().unwrap(), &[]);
    let status = |server: &Server, url: &str, more: &[&str]| {
        let mut curl = server.beside("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}"]).args(more);
        let output = curl.arg(url.replace("0.0.0.0", "127.0.0.1")).output().expect("nsenter");
        text(&output.stdout)
    };
    let secret = std::fs::read_to_string(server.admin_secret()).unwrap();
    let bearer = format!("Authorization: Bearer {}", secret.trim());
    for url in [format!("{}/api/v1/functions", server.admin), format!("{}/metrics", server.metrics)]
    {
        assert_eq!(status(&server, &url, &[]), "401", "{url}");
        assert_eq!(status(&server, &url, &["-H", "Authorization: Bearer no"]), "401", "{url}");
        assert_eq!(status(&server, &url, &["-H", &bearer]), "200", "{url}");
        // By whatever name the machine has; but no page of another origin.
        let named = ["-H", &bearer, "-H", "Host: dhow.example:1"];
        assert_eq!(status(&server, &url, &named), "200", "{url}");
        let foreign = ["-H", &bearer, "-H", "Origin: http://evil.example"];
        assert_eq!(status(&server, &url, &foreign), "403", "{url}");
    }
    drop(server);
    let open = Server::anywhere(tempfile::tempdir().unwrap(), &["--insecure"]);
    assert_eq!(status(&open, &format!("{}/api/v1/functions", open.admin), &[]), "200");
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
