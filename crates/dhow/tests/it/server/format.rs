//! A data folder of an older format: what it held is there, and the older dhow can have it back.

use std::fs;
use std::process::Command;

use super::rig::{Server, text};

/// Written by the dhow of before format 2 and then killed: `kept`, whose second revision says
/// `two`; `gone`, deployed once and deleted; `one` in the namespace `shop`, which says `one`.
const FORMAT_1: &[u8] = include_bytes!("fixtures/format-1.tar.gz");

#[test]
fn a_folder_of_format_1_answers_and_is_led_to_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("format-1.tar.gz");
    fs::write(&archive, FORMAT_1).unwrap();
    let unpacked =
        Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(folder.path()).output().unwrap();
    assert!(unpacked.status.success(), "{}", text(&unpacked.stderr));
    let before = fs::read(folder.path().join("data/catalog.redb")).unwrap();

    let server = Server::in_folder(folder, &[]);
    assert_eq!(server.get("/kept").text(), "two\n");
    assert_eq!(server.get("/function/one.shop").text(), "one\n");
    assert_eq!(server.get("/function/gone").status, 404);
    let kept = server.admin("GET", "/api/v1/namespaces/default/functions/kept", b"").json();
    assert_eq!((&kept["revision"], &kept["limits"]["memory"]), (&2.into(), &"8Mi".into()));
    // Numbers that were given are not given again.
    server.deploy_as("gone", "hello", &[]);
    let gone = server.admin("GET", "/api/v1/namespaces/default/functions/gone", b"").json();
    assert_eq!(gone["revision"], 2);

    // The next start finds nothing to lead, and the older file stays as it was before the first.
    let server = Server::in_folder(server.kill(), &[]);
    assert_eq!(server.get("/kept").text(), "two\n");
    assert_eq!(server.get("/function/gone").text(), "Hello, world!\n");
    let older = fs::read(server.path().join("data/catalog.format-1.redb")).unwrap();
    assert_eq!(older.len(), before.len());
}
