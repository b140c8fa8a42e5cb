//! Copies of a data folder, damaged ones, and the way back.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tempfile::TempDir;

use super::asynchronous::{accepted, show, stands};
use super::rig::{DHOW, Server, call, refused, text, up, wait_for};

/// Runs a command that talks to no server.
fn dhow(args: &[&str]) -> Output {
    Command::new(DHOW).args(args).env_clear().stdin(Stdio::null()).output().unwrap()
}

/// The same; it has to succeed. What it said.
fn ok(args: &[&str]) -> String {
    let output = dhow(args);
    assert!(output.status.success(), "dhow {args:?}: {}", text(&output.stderr));
    text(&output.stderr)
}

/// The same; it has to fail. What it complained of.
fn fails(args: &[&str]) -> String {
    let output = dhow(args);
    assert_eq!(output.status.code(), Some(1), "dhow {args:?}: {}", text(&output.stderr));
    text(&output.stderr)
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

/// Two functions, one of them with two revisions and a route.
fn deploy_some(server: &Server) {
    server.deploy_as("greeter", "echo", &[]);
    server.deploy_as("greeter", "hello", &["--route", "/greet"]);
    server.deploy_as("other", "echo", &["--namespace", "shop"]);
}

fn answers_all(server: &Server) {
    assert_eq!(server.get("/greet").text(), "Hello, world!\n");
    assert_eq!(server.post("/function/other.shop", b"echoed").text(), "echoed");
    let revisions = "/api/v1/namespaces/default/functions/greeter/revisions";
    let revisions = server.admin("GET", revisions, b"").json();
    assert_eq!(revisions["items"].as_array().unwrap().len(), 2, "{revisions}");
}

/// The kept modules of a data folder.
fn modules(folder: &TempDir) -> Vec<PathBuf> {
    let modules = fs::read_dir(folder.path().join("data/blobs/sha256")).unwrap();
    modules.map(|module| module.unwrap().path()).collect()
}

#[test]
fn a_copy_made_while_it_serves_is_whole_and_answers_elsewhere() {
    let server = Server::start();
    deploy_some(&server);
    let away = tempfile::tempdir().unwrap();
    let (first, second) = (path(&away, "first.tar.gz"), path(&away, "second.tar.gz"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Deploys go on meanwhile.
        scope.spawn(|| {
            for memory in (16..).take_while(|_| !done.load(Relaxed)) {
                server.deploy_as("busy", "hello", &["--memory", &format!("{memory}Mi")]);
            }
        });
        server.ok(&["backup", &first]);
        done.store(true, Relaxed);
    });
    let mode = fs::metadata(&first).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
    let listed = Command::new("tar").args(["tzf", &first]).output().unwrap();
    let listed = text(&listed.stdout);
    assert!(
        listed.contains("data/catalog.redb") && listed.ends_with("manifest.json\n"),
        "{listed}"
    );
    for not_kept in ["lock", "code", "logs"] {
        assert!(!listed.contains(&format!("data/{not_kept}")), "{listed}");
    }
    // By way of standard output it is the same kind of thing.
    let printed = server.dhow(&["backup", "-"]);
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    fs::write(&second, printed.stdout).unwrap();

    for archive in [first, second] {
        let elsewhere = tempfile::tempdir().unwrap();
        ok(&["restore", &archive, "--data", &path(&elsewhere, "data")]);
        answers_all(&Server::in_folder(elsewhere, &[]));
    }
}

#[test]
fn a_folder_that_nobody_uses_is_copied_too_and_one_in_use_is_not() {
    let server = Server::start();
    deploy_some(&server);
    let away = tempfile::tempdir().unwrap();
    let archive = path(&away, "backup.tar.gz");
    let data = server.path().join("data").to_str().unwrap().to_owned();
    let said = fails(&["backup", &archive, "--data", &data]);
    assert!(said.contains("another dhow") && said.contains("without --data"), "{said}");
    assert!(!Path::new(&archive).exists());
    let said = fails(&["backup", &archive, "--data", &path(&away, "nothing")]);
    assert!(said.contains("holds nothing"), "{said}");
    let folder = server.kill();
    ok(&["backup", &archive, "--data", &data]);
    drop(folder);
    ok(&["restore", &archive, "--data", &path(&away, "data")]);
    answers_all(&Server::in_folder(away, &[]));
}

#[test]
fn restore_leaves_alone_what_is_there_unless_told() {
    let server = Server::start();
    deploy_some(&server);
    let away = tempfile::tempdir().unwrap();
    let archive = path(&away, "backup.tar.gz");
    server.ok(&["backup", &archive]);
    server.ok(&["delete", "greeter"]);
    server.deploy_as("newer", "hello", &[]);
    let data = server.path().join("data").to_str().unwrap().to_owned();
    let said = fails(&["restore", &archive, "--data", &data]);
    assert!(said.contains("another dhow"), "{said}");
    let folder = server.kill();
    let said = fails(&["restore", &archive, "--data", &data]);
    assert!(said.contains("calls.redb") && said.contains("--replace"), "{said}");

    // What is not whole changes nothing, also when it is told to.
    let whole = fs::read(&archive).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for wrong in [&whole[..whole.len() - 10], &flipped, b"text"] {
        fs::write(&archive, wrong).unwrap();
        let said = fails(&["restore", &archive, "--data", &data, "--replace"]);
        assert!(said.contains("is not taken"), "{said}");
    }
    let server = Server::in_folder(folder, &[]);
    assert_eq!(server.get("/function/newer").text(), "Hello, world!\n");
    assert_eq!(server.get("/greet").status, 404);
    let folder = server.kill();

    fs::write(&archive, &whole).unwrap();
    let said = ok(&["restore", &archive, "--data", &data, "--replace"]);
    assert!(said.contains("data/replaced"), "{said}");
    assert!(folder.path().join("data/replaced/catalog.redb").exists());
    let said = fails(&["restore", &archive, "--data", &data, "--replace"]);
    assert!(said.contains("data/replaced"), "{said}");
    let server = Server::in_folder(folder, &[]);
    answers_all(&server);
    assert_eq!(server.get("/function/newer").status, 404);
}

#[test]
fn a_damaged_catalog_is_named_at_the_start_and_a_backup_brings_all_back() {
    let server = Server::start();
    deploy_some(&server);
    let away = tempfile::tempdir().unwrap();
    let archive = path(&away, "backup.tar.gz");
    server.ok(&["backup", &archive]);
    let mut folder = server.kill();
    let catalog = folder.path().join("data/catalog.redb");
    let whole = fs::read(&catalog).unwrap();
    let truncated = whole[..whole.len() / 3].to_vec();
    // The tree's pages, and not the few bytes that nothing depends on.
    let mut flipped = whole.clone();
    flipped[512..whole.len() / 2].iter_mut().for_each(|byte| *byte ^= 0x55);
    for damaged in [truncated, flipped, b"hello".to_vec()] {
        fs::write(&catalog, damaged).unwrap();
        let said = refused(up(folder.path(), &[]));
        assert!(said.contains("data/catalog.redb is damaged"), "{said}");
        assert!(said.contains("restore it from a backup"), "{said}");
        let data = folder.path().join("data").to_str().unwrap().to_owned();
        let backup = path(&away, "damaged.tar.gz");
        assert!(fails(&["backup", &backup, "--data", &data]).contains("is damaged"));
        ok(&["restore", &archive, "--data", &data, "--replace"]);
        let server = Server::in_folder(folder, &[]);
        answers_all(&server);
        folder = server.kill();
        fs::remove_dir_all(folder.path().join("data/replaced")).unwrap();
    }
}

#[test]
fn damaged_asynchronous_calls_are_named_at_the_start_and_a_backup_brings_them_back() {
    let server = Server::start();
    server.deploy("echo", &[]);
    let keep = [("x-dhow-keep-result", "1h")];
    let calls: Vec<_> = (0..20)
        .map(|_| accepted(&server.call("POST", "/async-function/echo", &keep, &[b'x'; 9000])))
        .collect();
    calls.iter().for_each(|call| drop(stands(&server, call, "done")));
    let away = tempfile::tempdir().unwrap();
    let archive = path(&away, "backup.tar.gz");
    server.ok(&["backup", &archive]);
    let mut folder = server.kill();
    let file = folder.path().join("data/calls.redb");
    let whole = fs::read(&file).unwrap();
    let truncated = whole[..whole.len() / 3].to_vec();
    let mut flipped = whole.clone();
    flipped[512..whole.len() / 2].iter_mut().for_each(|byte| *byte ^= 0x55);
    for damaged in [truncated, flipped, b"hello".to_vec()] {
        fs::write(&file, damaged).unwrap();
        let said = refused(up(folder.path(), &[]));
        assert!(said.contains("data/calls.redb is damaged"), "{said}");
        let data = folder.path().join("data").to_str().unwrap().to_owned();
        let said = fails(&["backup", &path(&away, "damaged.tar.gz"), "--data", &data]);
        assert!(said.contains("calls.redb is damaged"), "{said}");
        ok(&["restore", &archive, "--data", &data, "--replace"]);
        let server = Server::in_folder(folder, &[]);
        for call in &calls {
            assert_eq!(show(&server, call)["state"], "done");
        }
        folder = server.kill();
        fs::remove_dir_all(folder.path().join("data/replaced")).unwrap();
    }
}

#[test]
fn a_damaged_module_is_named_and_a_backup_brings_it_back() {
    let server = Server::start();
    deploy_some(&server);
    let away = tempfile::tempdir().unwrap();
    let archive = path(&away, "backup.tar.gz");
    server.ok(&["backup", &archive]);
    let folder = server.kill();
    let damaged = modules(&folder);
    assert_eq!(damaged.len(), 2);
    fs::OpenOptions::new().write(true).open(&damaged[0]).unwrap().write_all(b"damage").unwrap();
    fs::remove_file(&damaged[1]).unwrap();
    // Compiled code would answer without them.
    fs::remove_dir_all(folder.path().join("data/code")).unwrap();

    let log = folder.path().join("log");
    let mut command = up(folder.path(), &[]);
    let mut process =
        command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
    for (module, flaw) in [(&damaged[0], "is damaged"), (&damaged[1], "is missing")] {
        let name = module.file_name().unwrap().to_str().unwrap();
        wait_for(|| {
            let log = fs::read_to_string(&log).unwrap();
            let told = log.lines().any(|line| {
                line.contains(name) && line.contains(flaw) && line.contains("from a backup")
            });
            told.then_some(())
        });
    }
    process.kill().unwrap();
    process.wait().unwrap();

    let data = folder.path().join("data").to_str().unwrap().to_owned();
    let said = fails(&["backup", &path(&away, "x.tar.gz"), "--data", &data]);
    assert!(said.contains("blobs/sha256/") && said.contains("damaged or missing"), "{said}");
    ok(&["restore", &archive, "--data", &data, "--replace"]);
    answers_all(&Server::in_folder(folder, &[]));
}

#[test]
fn a_server_does_not_give_out_a_backup_that_lacks_a_module() {
    let server = Server::start();
    deploy_some(&server);
    let away = tempfile::tempdir().unwrap();
    for module in modules(server.folder.as_ref().unwrap()) {
        fs::write(module, "damage").unwrap();
    }
    let archive = path(&away, "backup.tar.gz");
    let said = server.fails(&["backup", &archive]);
    assert!(said.contains("server's own log"), "{said}");
    assert_eq!(fs::read_dir(away.path()).unwrap().count(), 0, "half a backup was left");
    for module in modules(server.folder.as_ref().unwrap()) {
        fs::remove_file(module).unwrap();
    }
    let answer = call(&format!("{}/api/v1/backup", server.admin), "GET", &[], b"");
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("damaged or missing"), "{}", answer.text());
}
