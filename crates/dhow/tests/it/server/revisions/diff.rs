use super::super::rig::{Server, text};
use super::api::module;

struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

fn dhow(server: &Server, args: &[&str]) -> Outcome {
    let output = server.dhow(args);
    Outcome { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// A manifest of functions in `functions.yaml`, each with more of its `spec`.
fn manifest(server: &Server, functions: &[(&str, &str)]) -> String {
    let document = |(name, more): &(&str, &str)| {
        format!(
            "apiVersion: dhow.dev/v1alpha1\nkind: Function\nmetadata: {{name: {name}}}\n\
             spec: {{source: {{path: {name}.wat}}{more}}}\n---\n"
        )
    };
    for (name, _) in functions {
        std::fs::write(server.path().join(format!("{name}.wat")), module(name)).unwrap();
    }
    let path = server.path().join("functions.yaml");
    std::fs::write(&path, functions.iter().map(document).collect::<String>()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_dry_run_tells_each_field_and_deploys_nothing() {
    let server = Server::start();
    let path = manifest(&server, &[("same", ""), ("more", ", limits: {memory: 8Mi}")]);
    let apply = |more: &[&str]| dhow(&server, &[&["apply", "-f", &path], more].concat());
    let all_new = apply(&["--dry-run"]);
    assert_eq!(all_new.code, Some(0), "{}", all_new.err);
    assert!(all_new.out.contains("same: would be created\n+ apiVersion: "), "{}", all_new.out);
    assert!(all_new.err.contains("nothing was deployed"), "{}", all_new.err);
    assert_eq!(server.get("/function/same").status, 404);
    assert_eq!(apply(&[]).code, Some(0));

    manifest(&server, &[("same", ""), ("more", ", limits: {memory: 16Mi}"), ("new", "")]);
    let told = apply(&["--dry-run"]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    let expected = "same: would stay as it is\nmore: would be changed, from revision 1\n\
                    - spec.limits.memory: 8Mi\n+ spec.limits.memory: 16Mi\nnew: would be created\n";
    assert!(told.out.starts_with(expected), "{}", told.out);
    assert_eq!(server.ok(&["versions", "more", "-o", "name"]), "1\n");
    assert_eq!(server.get("/function/new").status, 404);

    manifest(&server, &[("same", ", oops: 1")]);
    let wrong = apply(&["--dry-run"]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.err.contains("spec.oops"), "{}", wrong.err);
}

#[test]
fn a_manifest_is_held_against_what_is_deployed() {
    let server = Server::start();
    let path = manifest(&server, &[("a", ""), ("b", ", env: [{name: X, value: one}]")]);
    let diff = || dhow(&server, &["diff", "-f", &path]);
    let nothing_there = diff();
    assert_eq!(nothing_there.code, Some(1), "{}", nothing_there.err);
    let head = "--- a (not deployed)\n+++ a (manifest)\n+ ";
    assert!(nothing_there.out.starts_with(head), "{}", nothing_there.out);
    server.ok(&["apply", "-f", &path]);
    let same = diff();
    assert_eq!((same.code, same.out.as_str()), (Some(0), ""), "{}", same.err);

    manifest(&server, &[("a", ""), ("b", ", env: [{name: X, value: two}]")]);
    let changed = diff();
    assert_eq!(changed.code, Some(1), "{}", changed.err);
    let expected = "--- b (revision 1)\n+++ b (manifest)\n\
                    - spec.env[X].value: one\n+ spec.env[X].value: two\n";
    assert_eq!(changed.out, expected);
    assert_eq!(server.ok(&["versions", "b", "-o", "name"]), "1\n");

    manifest(&server, &[("a", ", oops: 1")]);
    assert_eq!(diff().code, Some(2), "what can't be compared is no difference");
}

#[test]
fn two_revisions_of_a_function_are_compared() {
    let server = Server::start();
    let path = manifest(&server, &[("a", ", limits: {queue: 7}")]);
    server.ok(&["apply", "-f", &path]);
    manifest(&server, &[("a", ", limits: {queue: 8}")]);
    server.ok(&["apply", "-f", &path]);
    let told = dhow(&server, &["diff", "a", "1", "2"]);
    assert_eq!(told.code, Some(1), "{}", told.err);
    let expected = "--- a (revision 1)\n+++ a (revision 2)\n\
                    - spec.limits.queue: 7\n+ spec.limits.queue: 8\n";
    assert_eq!(told.out, expected);
    assert_eq!(dhow(&server, &["diff", "a", "1"]).out, expected, "the one in force is the second");
    assert_eq!(dhow(&server, &["diff", "a", "2"]).code, Some(0));
    let absent = dhow(&server, &["diff", "a", "9"]);
    assert_eq!(absent.code, Some(2));
    assert!(absent.err.contains("no revision 9"), "{}", absent.err);
    assert_eq!(dhow(&server, &["diff", "a"]).code, Some(2));
    assert_eq!(dhow(&server, &["diff"]).code, Some(2));
    assert_eq!(dhow(&server, &["diff", "nobody", "1"]).code, Some(2));
}
