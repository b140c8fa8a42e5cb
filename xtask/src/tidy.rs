//! The rules of this tree that no other tool holds: which crate may use which, how long files may
//! be, what text must not be committed.

use std::fs;

use serde_json::Value;

use crate::shell;

/// Which of our crates each may depend on. The binary may use all; nothing may use the binary.
const ARROWS: &[(&str, &[&str])] = &[
    ("dhow-core", &[]),
    ("dhow-dialects", &["dhow-core"]),
    ("dhow-guest", &["dhow-core"]),
    ("dhow-http", &["dhow-core"]),
    ("dhow-store", &["dhow-core", "dhow-dialects"]),
    ("dhow-engine", &["dhow-core", "dhow-guest"]),
    ("dhow-gateway", &["dhow-core", "dhow-dialects", "dhow-http"]),
    (
        "dhow",
        &[
            "dhow-core",
            "dhow-dialects",
            "dhow-guest",
            "dhow-http",
            "dhow-store",
            "dhow-engine",
            "dhow-gateway",
        ],
    ),
    ("dhow-testkit", &[]),
    ("dhow-bench", &[]),
    ("xtask", &[]),
];

/// What the vocabulary may use of others, so that it stays without I/O, clock and runtime.
const CORE_MAY_USE: &[&str] = &["bytes", "http", "http-body", "futures-core", "thiserror"];

/// Lines of a source file.
const FILE_LINES: usize = 800;
/// Lines of ARCHITECTURE.md.
const MAP_LINES: usize = 150;

/// Text of somebody's machine, put together here so that this file does not hold it.
const FOREIGN: &[&[&str]] = &[&["/ro", "ot/"], &["/wo", "rk/"], &["arti", "factory"]];

/// Looks at everything and names all that is wrong.
pub(crate) fn run() -> Result<(), String> {
    let metadata = shell::metadata()?;
    let mut wrong = arrows(&packages(&metadata));
    for file in shell::output("git", &["ls-files"])?.lines() {
        // A file that was removed and not yet committed, or one that is no text, has no rules.
        if let Ok(text) = fs::read_to_string(file) {
            wrong.extend(file_rules(file, &text));
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!("this tree breaks its rules:\n  {}", wrong.join("\n  "))),
    }
}

/// A package: its name, what it depends on except for tests, and whether it takes our lints.
struct Package {
    name: String,
    uses: Vec<String>,
}

fn packages(metadata: &Value) -> Vec<Package> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    list(&metadata["packages"])
        .iter()
        .map(|package| Package {
            name: text(&package["name"]),
            uses: list(&package["dependencies"])
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| text(&dependency["name"]))
                .collect(),
        })
        .collect()
}

/// Dependencies that are not allowed.
fn arrows(packages: &[Package]) -> Vec<String> {
    let ours = |name: &str| packages.iter().any(|package| package.name == name);
    let mut wrong = Vec::new();
    for Package { name, uses } in packages {
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| known == name) else {
            wrong.push(format!("{name}: a crate without a place in xtask's table of arrows"));
            continue;
        };
        for used in uses {
            if ours(used) && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{name} may not depend on {used}"));
            }
            if name == "dhow-core" && !CORE_MAY_USE.contains(&used.as_str()) {
                wrong.push(format!("dhow-core may not depend on {used}"));
            }
        }
    }
    wrong
}

/// What is wrong with one file.
fn file_rules(file: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = text.lines().count();
    if file.ends_with(".rs") && lines > FILE_LINES {
        wrong.push(format!("{file} has {lines} lines; {FILE_LINES} are the most"));
    }
    if file == "ARCHITECTURE.md" && lines > MAP_LINES {
        wrong.push(format!("{file} has {lines} lines; {MAP_LINES} are the most"));
    }
    for foreign in FOREIGN.iter().map(|parts| parts.concat()) {
        if let Some(line) = text.lines().position(|line| line.contains(&foreign)) {
            wrong.push(format!("{file}:{} has a machine's own text, {foreign}", line + 1));
        }
    }
    let is_crate = file.starts_with("crates/") && file.ends_with("/Cargo.toml");
    if is_crate && !text.contains("[lints]\nworkspace = true") {
        wrong.push(format!("{file} does not take the workspace's lints"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, uses: &[&str]) -> Package {
        let uses = uses.iter().map(|name| (*name).to_owned()).collect();
        Package { name: name.to_owned(), uses }
    }

    #[test]
    fn an_arrow_that_is_not_allowed_is_named() {
        let tree = |uses| {
            arrows(&[
                package("dhow-core", &[]),
                package("dhow-store", &[]),
                package("dhow-engine", uses),
            ])
        };
        assert!(tree(&["dhow-core", "wasmtime"]).is_empty());
        assert_eq!(tree(&["dhow-store"]), ["dhow-engine may not depend on dhow-store"]);
        assert_eq!(
            arrows(&[package("dhow-core", &["tokio"])]),
            ["dhow-core may not depend on tokio"]
        );
        assert_eq!(arrows(&[package("dhow-new", &[])]).len(), 1);
    }

    #[test]
    fn a_file_that_breaks_a_rule_is_named() {
        assert!(file_rules("crates/a/src/lib.rs", "fn main() {}\n").is_empty());
        assert_eq!(file_rules("crates/a/src/lib.rs", &"\n".repeat(801)).len(), 1);
        assert_eq!(file_rules("ARCHITECTURE.md", &"\n".repeat(151)).len(), 1);
        assert_eq!(file_rules("README.md", &["see /ro", "ot/x"].concat()).len(), 1);
        assert_eq!(file_rules("crates/a/Cargo.toml", "[package]\n").len(), 1);
    }
}
