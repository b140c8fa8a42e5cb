//! Which crate may depend on which: a star, a vocabulary in the middle, features that do not know
//! each other, one leaf that joins them.

use std::collections::{BTreeSet, HashMap};

use cargo_metadata::{DependencyKind, Metadata, PackageId};

/// Which of our crates each may depend on. The binary may use all; nothing may use the binary.
const ARROWS: &[(&str, &[&str])] = &[
    ("dhow-core", &[]),
    ("dhow-dialects", &["dhow-core"]),
    ("dhow-guest", &["dhow-core"]),
    ("dhow-http", &["dhow-core"]),
    ("dhow-disk", &[]),
    ("dhow-store", KEEPS),
    ("dhow-engine", FEATURE),
    ("dhow-gateway", FEATURE),
    ("dhow-oci", FEATURE),
    ("dhow-outbound", FEATURE),
    ("dhow-otlp", FEATURE),
    ("dhow-queue", KEEPS),
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
            "dhow-oci",
            "dhow-outbound",
            "dhow-queue",
            "dhow-otlp",
        ],
    ),
    ("dhow-testkit", &["dhow-disk"]),
    ("dhow-bench", &[]),
    ("xtask", &[]),
];

/// What a feature may use: the vocabulary, and the three that are made to be shared.
const FEATURE: &[&str] = &["dhow-core", "dhow-dialects", "dhow-guest", "dhow-http"];

/// What a feature may use that keeps something on disk.
const KEEPS: &[&str] = &["dhow-core", "dhow-dialects", "dhow-disk", "dhow-guest", "dhow-http"];

/// What tests, and nothing else, may use on top.
const FOR_TESTS: &str = "dhow-testkit";

/// What the vocabulary may use of others, so that it stays without I/O, clock and runtime.
const CORE_MAY_USE: &[&str] =
    &["bytes", "http", "http-body", "futures-core", "thiserror", "zeroize"];

/// Crates of text and values alone, and what would end that, however far down the tree it is.
const PURE: &[&str] = &["dhow-core", "dhow-dialects", "dhow-guest"];
const IMPURE: &[&str] = &["tokio", "mio", "hyper", "axum", "ureq", "wasmtime", "redb", "rustix"];

/// One of our crates, as the rules see it.
#[derive(Debug, Default)]
pub(super) struct Package {
    name: String,
    /// What it names as a dependency, of the build script too.
    uses: Vec<String>,
    /// What only its tests use.
    tests_use: Vec<String>,
    /// Everything that is built into it, its own name included.
    reaches: BTreeSet<String>,
}

/// Our crates out of what cargo knows.
pub(super) fn packages(metadata: &Metadata) -> Result<Vec<Package>, String> {
    let resolve = metadata.resolve.as_ref().ok_or("cargo metadata resolved nothing")?;
    let built_into: HashMap<&PackageId, Vec<&PackageId>> = resolve
        .nodes
        .iter()
        .map(|node| {
            let built = node.deps.iter().filter(|dependency| {
                dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
            });
            (&node.id, built.map(|dependency| &dependency.pkg).collect())
        })
        .collect();
    let packages = metadata.workspace_packages().into_iter().map(|package| {
        let (tests_use, uses): (Vec<_>, Vec<_>) = package
            .dependencies
            .iter()
            .partition(|dependency| dependency.kind == DependencyKind::Development);
        let names = |found: Vec<&cargo_metadata::Dependency>| {
            found.into_iter().map(|dependency| dependency.name.clone()).collect()
        };
        Package {
            name: package.name.to_string(),
            uses: names(uses),
            tests_use: names(tests_use),
            reaches: reach(&package.id, &built_into)
                .into_iter()
                .map(|id| metadata[id].name.to_string())
                .collect(),
        }
    });
    Ok(packages.collect())
}

/// All that can be come to from `start`.
fn reach<'a>(
    start: &'a PackageId,
    edges: &HashMap<&'a PackageId, Vec<&'a PackageId>>,
) -> BTreeSet<&'a PackageId> {
    let mut seen = BTreeSet::new();
    let mut next = vec![start];
    while let Some(id) = next.pop() {
        if seen.insert(id) {
            next.extend(edges.get(id).into_iter().flatten());
        }
    }
    seen
}

/// Dependencies that are not allowed.
pub(super) fn check(packages: &[Package]) -> Vec<String> {
    let ours = |name: &String| packages.iter().any(|package| package.name == *name);
    let mut wrong = Vec::new();
    for Package { name, uses, tests_use, reaches } in packages {
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| known == name) else {
            wrong.push(format!("{name}: a crate without a place in xtask's table of arrows"));
            continue;
        };
        for used in uses.iter().filter(|used| ours(used)) {
            if !allowed.contains(&used.as_str()) {
                wrong.push(format!("{name} may not depend on {used}"));
            }
        }
        for used in tests_use.iter().filter(|used| ours(used)) {
            if !allowed.contains(&used.as_str()) && used != FOR_TESTS {
                wrong.push(format!("tests of {name} may not depend on {used}"));
            }
        }
        if name == "dhow-core" {
            for used in uses.iter().filter(|used| !CORE_MAY_USE.contains(&used.as_str())) {
                wrong.push(format!("dhow-core may not depend on {used}"));
            }
        }
        if PURE.contains(&name.as_str()) {
            for impure in IMPURE.iter().filter(|impure| reaches.contains(**impure)) {
                wrong.push(format!("{name} is pure, and {impure} is built into it"));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn package(name: &str, uses: &[&str]) -> Package {
        Package { name: name.to_owned(), uses: names(uses), ..Package::default() }
    }

    /// What is wrong with `package` in a tree of all our crates.
    fn among_all(package: Package) -> Vec<String> {
        let others = ARROWS.iter().filter(|(name, _)| *name != package.name);
        let mut tree: Vec<_> = others.map(|(name, _)| self::package(name, &[])).collect();
        tree.push(package);
        check(&tree)
    }

    #[test]
    fn an_arrow_that_is_allowed_is_let_be() {
        let engine = package("dhow-engine", &["dhow-core", "dhow-guest", "dhow-http", "wasmtime"]);
        assert!(among_all(engine).is_empty());
        let core = package("dhow-core", CORE_MAY_USE);
        assert!(among_all(core).is_empty());
    }

    #[test]
    fn features_do_not_know_each_other() {
        let engine = package("dhow-engine", &["dhow-store"]);
        assert_eq!(among_all(engine), ["dhow-engine may not depend on dhow-store"]);
        let http = package("dhow-http", &["dhow-dialects"]);
        assert_eq!(among_all(http), ["dhow-http may not depend on dhow-dialects"]);
    }

    #[test]
    fn nothing_depends_on_the_binary_or_on_tools() {
        for leaf in ["dhow", "xtask", "dhow-bench", "dhow-testkit"] {
            let gateway = package("dhow-gateway", &[leaf]);
            assert_eq!(among_all(gateway), [format!("dhow-gateway may not depend on {leaf}")]);
        }
    }

    #[test]
    fn tests_may_use_the_testkit_on_top_and_nothing_more() {
        let tests_use = names(&["dhow-testkit", "dhow-core", "proptest"]);
        let engine = Package { tests_use, ..package("dhow-engine", &[]) };
        assert!(among_all(engine).is_empty());
        let tests_use = names(&["dhow-gateway"]);
        let engine = Package { tests_use, ..package("dhow-engine", &[]) };
        assert_eq!(among_all(engine), ["tests of dhow-engine may not depend on dhow-gateway"]);
    }

    #[test]
    fn the_vocabulary_uses_little_and_pure_crates_nothing_that_acts() {
        let core = package("dhow-core", &["serde"]);
        assert_eq!(among_all(core), ["dhow-core may not depend on serde"]);
        let reaches = names(&["dhow-dialects", "a-client", "tokio"]).into_iter().collect();
        let dialects = Package { reaches, ..package("dhow-dialects", &["a-client"]) };
        assert_eq!(among_all(dialects), ["dhow-dialects is pure, and tokio is built into it"]);
    }

    #[test]
    fn a_new_crate_needs_a_place() {
        assert_eq!(check(&[package("dhow-new", &[])]).len(), 1);
    }

    #[test]
    fn what_is_far_down_the_tree_is_reached() {
        let id = |name: &str| PackageId { repr: name.to_owned() };
        let (a, b, c, d) = (id("a"), id("b"), id("c"), id("d"));
        let edges = HashMap::from([(&a, vec![&b]), (&b, vec![&c, &a]), (&d, vec![&a])]);
        assert_eq!(reach(&a, &edges), BTreeSet::from([&a, &b, &c]));
    }
}
