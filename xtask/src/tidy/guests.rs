//! Every guest can be built again: its folder, `guests/LANGUAGE/NAME`, has a line in the script.

use std::collections::BTreeMap;

/// Interfaces that guests are written against; no language, and nothing to build.
const INTERFACES: &str = "wit";

/// How the script names the sources of C guests: all at once.
const ALL_OF_C: &str = "c/*/*.c";

/// Folders of guests that the script does not build.
pub(super) fn check(files: &[&str], script: &str) -> Vec<String> {
    let words: Vec<&str> = script
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split([' ', ';']))
        .collect();
    let mut folders: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for file in files {
        if let ["guests", language, name, rest @ ..] =
            file.split('/').collect::<Vec<_>>().as_slice()
            && !rest.is_empty()
            && *language != INTERFACES
        {
            folders.entry((language, name)).or_default().push(file);
        }
    }
    folders
        .into_iter()
        .filter(|((language, name), files)| match *language {
            "c" => !(words.contains(&ALL_OF_C) && files.iter().any(|file| file.ends_with(".c"))),
            _ => !words.contains(name),
        })
        .map(|((language, name), _)| format!("guests/{language}/{name} has no build line"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
# python/later is to come
    for source in c/*/*.c; do
    cargo_module wasm32-wasip2 http-std
    if changed go-hello go/go-hello; then
";

    #[test]
    fn folders_with_a_line_are_let_be() {
        let files = [
            "guests/README.md",
            "guests/build.sh",
            "guests/c/input.h",
            "guests/c/hello/hello.c",
            "guests/rust/http-std/src/lib.rs",
            "guests/go/go-hello/main.go",
            "guests/wat/leak.wat",
            "guests/wit/deps/http/types.wit",
            "crates/a/src/lib.rs",
        ];
        assert!(check(&files, SCRIPT).is_empty());
    }

    #[test]
    fn folders_without_a_line_are_named() {
        let unbuilt = |file| check(&[file], SCRIPT);
        assert_eq!(unbuilt("guests/rust/http/src/lib.rs"), ["guests/rust/http has no build line"]);
        assert_eq!(unbuilt("guests/c/blob/blob.wasm"), ["guests/c/blob has no build line"]);
        assert_eq!(
            unbuilt("guests/python/later/app.py"),
            ["guests/python/later has no build line"]
        );
        assert_eq!(check(&["guests/c/hello/hello.c"], "nothing").len(), 1);
    }
}
