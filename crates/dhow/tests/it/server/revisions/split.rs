use std::collections::BTreeMap;

use serde_json::json;

use super::super::rig::{Server, text, wait_for};
use super::versions::{deploy, with_revisions};

/// What `calls` calls from each of `threads` threads were answered, and how often.
fn answers(server: &Server, threads: usize, calls: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    std::thread::scope(|scope| {
        let one = || (0..calls).map(|_| server.get("/function/f").text()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        for thread in threads {
            for answer in thread.join().unwrap() {
                *counts.entry(answer.trim().to_owned()).or_default() += 1;
            }
        }
    });
    counts
}

fn counts(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|(says, count)| ((*says).to_owned(), *count)).collect()
}

#[test]
fn a_thousand_calls_at_nine_to_one_are_exactly_that_and_recorded() {
    let server = with_revisions(2);
    let table = server.ok(&["traffic", "f", "1=9", "2=1"]);
    assert!(table.contains("90.0 %") && table.contains("10.0 %"), "{table}");
    assert_eq!(server.ok(&["traffic", "f"]), table);
    assert_eq!(answers(&server, 8, 125), counts(&[("v1", 900), ("v2", 100)]));

    let revisions = "/api/v1/namespaces/default/functions/f/revisions";
    let recorded = wait_for(|| {
        let list = server.admin("GET", revisions, b"").json();
        let calls = |index: usize| list["items"][index]["calls"].as_u64().unwrap();
        (calls(0) + calls(1) == 1000).then(|| (calls(1), calls(0)))
    });
    assert_eq!(recorded, (900, 100));
    let outcomes = "/api/v1/namespaces/default/functions/f/outcomes?limit=100";
    let outcomes = server.admin("GET", outcomes, b"").json();
    let of = |revision: u64| {
        let items = outcomes["items"].as_array().unwrap().iter();
        items.filter(|outcome| outcome["revision"] == json!(revision)).count()
    };
    assert_eq!(of(1) + of(2), 100);
    assert!((5..=15).contains(&of(2)), "{} of the last 100", of(2));

    // It outlives a restart, a deploy and other functions' changes, and is told.
    let folder = server.kill();
    let server = Server::in_folder(folder, &[]);
    server.deploy("hello", &[]);
    let said = deploy(&server, 3, &[]);
    assert!(said.contains("split by weight") && said.contains("revision 3 has none"), "{said}");
    let described = server.ok(&["describe", "f"]);
    assert!(described.contains("weight 9 to revision 1"), "{described}");
    assert_eq!(answers(&server, 4, 50), counts(&[("v1", 180), ("v2", 20)]));
    server.ok(&["traffic", "f", "--clear"]);
    assert_eq!(answers(&server, 2, 10), counts(&[("v3", 20)]));

    server.ok(&["traffic", "f", "1=1", "3=1", "2=0"]);
    assert_eq!(answers(&server, 2, 10), counts(&[("v1", 10), ("v3", 10)]));
    let said = text(&server.dhow(&["rollback", "f", "--to", "2"]).stderr);
    assert!(said.contains("split by weight no more"), "{said}");
    assert_eq!(answers(&server, 2, 10), counts(&[("v2", 20)]));
}

#[test]
fn weights_that_make_no_sense_are_refused_and_change_nothing() {
    let server = with_revisions(2);
    for (weights, says) in [
        (&["1=0"][..], "no revision has a weight over 0"),
        (&["1=1", "1=2"], "two weights"),
        (&["1=1001"], "over 1000"),
        (&["1"], "such as 3=10"),
        (&["1=1", "7=1"], "no revision 7; kept are 1, 2"),
        (&["1=1", "--clear"], "--clear"),
    ] {
        let said = server.fails(&[&["traffic", "f"], weights].concat());
        assert!(said.contains(says), "{said}");
    }
    assert_eq!(answers(&server, 1, 4), counts(&[("v2", 4)]));
}

#[test]
fn instances_that_are_used_again_stay_with_their_revision() {
    let server = Server::start();
    server.deploy_as("f", "http-lean", &["--reuse", "50"]);
    server.deploy_as("f", "http-kit", &["--reuse", "50"]);
    server.ok(&["traffic", "f", "1=1", "2=1"]);
    let said = |path: &str| server.post(path, b"echoed").text();
    let turns: Vec<_> = (0..40).map(|_| said("/function/f/echo")).collect();
    for turns in turns.chunks(2) {
        assert_eq!(turns.iter().filter(|says| says.contains("Hello")).count(), 1, "{turns:?}");
        assert_eq!(turns.iter().filter(|says| *says == "echoed").count(), 1, "{turns:?}");
    }
    for revision in [1, 2, 1] {
        server.ok(&["rollback", "f", "--to", &revision.to_string()]);
        let says = said("/function/f/echo");
        assert_eq!(says == "echoed", revision == 2, "revision {revision} says {says}");
    }
}
