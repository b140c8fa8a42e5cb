//! What is not there, full, taken or damaged.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use super::rig::{Server, SmallDisk, refused, up};

#[test]
fn a_port_in_use_is_named_with_its_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    for option in ["--listen", "--admin", "--metrics"] {
        let said = refused(replace(folder.path(), option, &address));
        assert!(said.contains(&address) && said.contains(option), "{said}");
    }
}

fn replace(folder: &std::path::Path, option: &str, address: &str) -> std::process::Command {
    let mut command = std::process::Command::new(super::rig::DHOW);
    command.arg("up").args(["--data", folder.join("data").to_str().unwrap()]);
    for name in ["--listen", "--admin", "--metrics"] {
        command.args([name, if name == option { address } else { "127.0.0.1:0" }]);
    }
    command
}

#[test]
fn a_data_folder_has_one_owner() {
    let server = Server::start();
    let said = refused(up(server.path(), &[]));
    assert!(said.contains("another dhow") && said.contains(&server.pid().to_string()), "{said}");
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_data_folder_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data"), "a file").unwrap();
    let said = refused(up(folder.path(), &[]));
    assert!(said.contains("data"), "{said}");
}

#[test]
fn state_is_readable_by_its_owner_alone() {
    let server = Server::start();
    server.deploy("hello", &[]);
    let data = server.path().join("data");
    for (path, mode) in [
        ("", 0o700),
        ("code", 0o700),
        ("logs", 0o700),
        ("catalog.redb", 0o600),
        ("handover.sock", 0o600),
    ] {
        let found = std::fs::metadata(data.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path:?} has mode {found:o}");
    }
}

#[test]
fn a_full_disk_refuses_the_deploy_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("data");
    let _mounted = SmallDisk::mount(&disk, 6);
    let server = Server::in_folder(folder, &[]);
    server.deploy("hello", &[]);
    std::fs::write(disk.join("ballast"), vec![1; 16 << 20]).unwrap_err();
    let said = server.fails(&["deploy", "kit", server.guest("http-kit").to_str().unwrap()]);
    assert!(said.contains("disk is full"), "{said}");
    assert_eq!(server.get("/function/hello").text(), "Hello, world!\n");
    assert_eq!(server.get("/function/kit").status, 404);
    std::fs::remove_file(disk.join("ballast")).unwrap();
    server.deploy_as("kit", "http-kit", &[]);
    assert_eq!(server.get("/function/kit/count").text().trim(), "1");
}
