//! What a committed file may be: not too long, and without text of somebody's machine.

/// Lines of a file.
const FILE_LINES: usize = 800;
/// Lines of ARCHITECTURE.md.
const MAP_LINES: usize = 150;

/// Files that may be longer, by the end of their name or by their folder, and why.
const LONG: &[(&str, &str)] = &[
    ("Cargo.lock", "cargo writes it"),
    ("package-lock.json", "npm writes it"),
    (".wasm", "built, not written"),
    ("docs/openapi.yaml", "one document, which its readers want whole"),
    ("bench/results/", "rounds of a benchmark"),
];

/// Text of somebody's machine, put together here so that this file does not hold it.
const FOREIGN: &[&[&str]] = &[&["/ro", "ot/"], &["/wo", "rk/"], &["arti", "factory"]];

/// What is wrong with one file, text or not.
pub(super) fn check(file: &str, bytes: &[u8]) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').count();
    let most = match file {
        "ARCHITECTURE.md" => MAP_LINES,
        _ => FILE_LINES,
    };
    let long = LONG.iter().any(|(name, _)| match name.ends_with('/') {
        true => file.starts_with(name),
        false => file.ends_with(name),
    });
    if lines > most && !long {
        wrong.push(format!("{file} has {lines} lines; {most} are the most"));
    }
    for foreign in FOREIGN.iter().map(|parts| parts.concat()) {
        let has = |line: &[u8]| line.windows(foreign.len()).any(|part| part == foreign.as_bytes());
        if let Some(line) = bytes.split(|byte| *byte == b'\n').position(has) {
            wrong.push(format!("{file}:{} has a machine's own text, {foreign}", line + 1));
        }
    }
    wrong
}

/// What is wrong with the manifest of one of our crates.
pub(super) fn lints(package: &str, manifest: &str) -> Option<String> {
    let lines: Vec<&str> = manifest.lines().map(str::trim).collect();
    let takes = lines.windows(2).any(|pair| pair == ["[lints]", "workspace = true"]);
    (!takes).then(|| format!("{package} does not take the workspace's lints"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_named_and_a_generated_one_is_not() {
        let lines = |count| "x\n".repeat(count).into_bytes();
        assert!(check("crates/a/src/lib.rs", &lines(800)).is_empty());
        assert_eq!(check("crates/a/src/lib.rs", &lines(801)).len(), 1);
        assert_eq!(check("docs/a.md", &lines(801)).len(), 1);
        assert!(check("fuzz/Cargo.lock", &lines(801)).is_empty());
        assert!(check("bench/results/a.json", &lines(801)).is_empty());
    }

    #[test]
    fn the_map_is_short() {
        assert!(check("ARCHITECTURE.md", &b"\n".repeat(150)).is_empty());
        assert_eq!(check("ARCHITECTURE.md", &b"\n".repeat(151)).len(), 1);
    }

    #[test]
    fn a_machines_own_text_is_named_with_its_line() {
        for foreign in FOREIGN {
            let text = format!("one\nsee {}x\n", foreign.concat());
            let wrong = check("README.md", text.as_bytes());
            assert_eq!(wrong.len(), 1);
            assert!(wrong[0].starts_with("README.md:2 "), "{wrong:?}");
        }
    }

    #[test]
    fn a_file_that_is_no_text_is_looked_at_too() {
        let module = ["\0asm".as_bytes(), &[0xff, 0xfe], FOREIGN[0].concat().as_bytes()].concat();
        assert_eq!(check("guests/c/a/a.wasm", &module).len(), 1);
    }

    #[test]
    fn a_crate_without_the_lints_is_named() {
        assert!(lints("a", "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n").is_none());
        assert!(lints("a", "[package]\nname = \"a\"\n").is_some());
        assert!(lints("a", "[lints]\nrust.unsafe_code = \"allow\"\n").is_some());
    }
}
