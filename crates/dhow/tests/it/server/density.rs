//! What a function that is deployed, and one that was called, may cost in memory.

use std::fmt::Write as _;

use super::rig::Server;

const FUNCTIONS: u64 = 300;
/// Bytes for each; SPEC.md has the figures of an optimised build with many more.
const DEPLOYED: u64 = 32 << 10;
const CALLED: u64 = 64 << 10;

#[test]
fn a_function_costs_kilobytes() {
    let server = Server::start();
    let module = server.guest("hello");
    let mut text = String::new();
    for number in 0..FUNCTIONS {
        writeln!(
            text,
            "---\napiVersion: dhow.dev/v1alpha1\nkind: Function\n\
             metadata: {{name: f{number}}}\nspec: {{source: {{path: {}}}}}",
            module.display()
        )
        .unwrap();
    }
    let manifest = server.path().join("functions.yaml");
    std::fs::write(&manifest, text).unwrap();
    // What the first call of all costs is nobody's.
    server.deploy_as("first", "hello", &[]);
    assert_eq!(server.get("/function/first").status, 200);
    let empty = anonymous(&server);
    server.ok(&["apply", "-f", manifest.to_str().unwrap()]);
    let deployed = anonymous(&server);
    for number in 0..FUNCTIONS {
        assert_eq!(server.get(&format!("/function/f{number}")).status, 200);
    }
    let called = anonymous(&server);
    let each = |more: u64| more.saturating_sub(empty) / FUNCTIONS;
    // A deploy leaves more behind for a moment than the function itself needs.
    assert!(each(deployed) <= 2 * DEPLOYED, "{} bytes for each deployed", each(deployed));
    assert!(each(called) <= DEPLOYED + CALLED, "{} bytes for each called", each(called));
}

/// Bytes of memory that are this process' own.
fn anonymous(server: &Server) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", server.pid())).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() << 10
}
