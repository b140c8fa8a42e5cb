use serde_json::Value;

use super::super::rig::{Server, text};
use super::api::module;

/// A function `f` with as many revisions, the nth of which answers `v` and n.
pub(super) fn with_revisions(count: usize) -> Server {
    let server = Server::start();
    for number in 1..=count {
        deploy(&server, number, &[]);
    }
    server
}

pub(super) fn deploy(server: &Server, number: usize, more: &[&str]) -> String {
    let file = server.path().join("f.wat");
    std::fs::write(&file, module(&format!("v{number}"))).unwrap();
    let output = server.dhow(&[&["deploy", "f", file.to_str().unwrap()], more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stderr)
}

fn says(server: &Server) -> String {
    server.get("/function/f").text().trim().to_owned()
}

/// Number, mark and weight of each revision, as a person sees them.
fn rows(server: &Server) -> Vec<String> {
    let table = server.ok(&["versions", "f"]);
    let cells = |line: &str| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    table.lines().skip(1).map(cells).collect()
}

#[test]
fn a_rollback_is_effective_at_once_told_and_durable() {
    let server = with_revisions(3);
    assert_eq!(says(&server), "v3");
    let said = server.dhow(&["rollback", "f"]);
    assert!(text(&said.stderr).contains("revision 2 in place of 3"), "{said:?}");
    assert_eq!(says(&server), "v2");
    server.ok(&["rollback", "f", "--to", "1"]);
    assert_eq!(says(&server), "v1");

    let refused = server.fails(&["rollback", "f"]);
    assert!(refused.contains("before 1") && refused.contains("dhow versions"), "{refused}");
    let refused = server.fails(&["rollback", "f", "--to", "9"]);
    assert!(refused.contains("no revision 9; kept are 1, 2, 3"), "{refused}");
    assert!(server.fails(&["rollback", "nobody"]).contains("nobody"));
    assert_eq!(says(&server), "v1");

    let folder = server.kill();
    let server = Server::in_folder(folder, &[]);
    assert_eq!(says(&server), "v1");
    let rows = rows(&server);
    assert!(rows[2].starts_with("1 * -"), "{rows:?}");
    assert!(!rows[0].contains('*') && !rows[1].contains('*'), "{rows:?}");
    let described = server.ok(&["describe", "f"]);
    assert!(described.contains("1, rolled back from 2 at "), "{described}");
    let json: Value = serde_json::from_str(&server.ok(&["versions", "f", "-o", "json"])).unwrap();
    let items = json["items"].as_array().unwrap();
    let digests: Vec<_> = items.iter().map(|one| one["digest"].as_str().unwrap()).collect();
    assert!(digests[0] != digests[1] && digests[1] != digests[2]);
    assert!(items.iter().all(|one| one["deployed"].is_string() && one["abi"] == "command"));
    assert_eq!(server.ok(&["versions", "f", "-o", "name"]), "3\n2\n1\n");

    // The next deploy is none of the old ones, and no rollback.
    deploy(&server, 3, &[]);
    assert_eq!(
        (says(&server).as_str(), server.ok(&["versions", "f", "-o", "name"]).as_str()),
        ("v3", "4\n3\n2\n1\n")
    );
    assert!(!server.ok(&["describe", "f"]).contains("rolled back"));
}

#[test]
fn routes_are_the_functions_and_stay_where_they_are() {
    let server = Server::start();
    deploy(&server, 1, &["--route", "/first"]);
    deploy(&server, 2, &["--route", "/second"]);
    server.deploy_as("other", "hello", &["--route", "/first"]);
    server.ok(&["rollback", "f"]);
    assert_eq!(server.get("/second").text(), "v1\n");
    assert_eq!(server.get("/first").text(), "Hello, world!\n");
}

#[test]
fn old_revisions_are_collected_but_none_in_force_or_weighted() {
    let server = Server::with(&["--keep-revisions", "2"]);
    for number in 1..=3 {
        deploy(&server, number, &[]);
    }
    assert_eq!(server.ok(&["versions", "f", "-o", "name"]), "3\n2\n");
    server.ok(&["traffic", "f", "2=1", "3=1"]);
    for number in 4..=6 {
        deploy(&server, number, &[]);
    }
    assert_eq!(server.ok(&["versions", "f", "-o", "name"]), "6\n5\n3\n2\n");
    server.ok(&["rollback", "f", "--to", "2"]);
    assert_eq!(says(&server), "v2");
    deploy(&server, 7, &[]);
    assert_eq!(server.ok(&["versions", "f", "-o", "name"]), "7\n6\n");
}
