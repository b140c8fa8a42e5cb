//! What the command line says when it does not understand: which word may have been meant, and in
//! which colours.

use std::process::{Command, Stdio};

use super::rig::{DHOW, NO_SETTINGS, Server, client, text};

fn complaint(args: &[&str]) -> String {
    let output = client("http://127.0.0.1:1", args);
    assert_eq!(output.status.code(), Some(2), "{args:?}");
    text(&output.stderr)
}

#[test]
fn a_misspelt_verb_or_option_is_recognised() {
    for (args, meant) in [
        (&["lsit"][..], "'list'"),
        (&["delpoy"], "'deploy'"),
        (&["doctr"], "'doctor'"),
        (&["list", "--ouput", "json"], "'--output'"),
        (&["up", "--lisen", "127.0.0.1:0"], "'--listen'"),
        (&["list", "-o", "jsn"], "'json'"),
        (&["list", "--color", "alway"], "'always'"),
    ] {
        let said = complaint(args);
        assert!(said.contains(meant), "{args:?}: {said}");
    }
}

#[test]
fn a_misspelt_function_is_recognised() {
    let server = Server::start();
    server.deploy("hello", &[]);
    server.deploy_as("greeter", "hello", &["--namespace", "shop"]);
    let hint = "hint: did you mean `hello`?\n";
    for verb in ["describe", "delete", "logs", "invoke", "versions", "rollback", "traffic"] {
        let output = server.dhow(&[verb, "helo"]);
        assert_eq!(output.status.code(), Some(1), "{verb}");
        assert!(text(&output.stderr).contains(hint), "{verb}: {}", text(&output.stderr));
    }
    assert!(server.fails(&["describe", "helo"]).contains("there is no function `helo`"));
    // It is there, elsewhere.
    let said = server.fails(&["describe", "greeter"]);
    assert!(said.contains("did you mean `greeter.shop`?"), "{said}");
    let said = server.fails(&["describe", "greter.shop"]);
    assert!(said.contains("did you mean `greeter.shop`?"), "{said}");
    let said = server.fails(&["rollback", "hello", "--to", "9"]);
    assert!(said.contains('9') && !said.contains("did you mean"), "{said}");
    let said = server.fails(&["describe", "something-else"]);
    assert!(!said.contains("did you mean"), "{said}");
}

#[test]
fn a_misspelt_field_of_a_manifest_is_recognised() {
    let server = Server::start();
    let manifest = server.path().join("function.yaml");
    let text = "apiVersion: dhow.dev/v1alpha1\nkind: Function\nmetadata: {name: hello}\n\
                spec: {source: {path: hello.wasm}, limits: {memroy: 1Mi}}\n";
    std::fs::write(&manifest, text).unwrap();
    let said = server.fails(&["apply", "-f", manifest.to_str().unwrap()]);
    assert!(said.contains("spec.limits.memroy: "), "{said}");
    assert!(said.contains("did you mean `memory`?"), "{said}");
}

const ESCAPE: char = '\x1b';

/// What a command prints on stdout and stderr, both on a terminal or neither.
fn printed(terminal: bool, variables: &[(&str, &str)], args: &str) -> String {
    // `script` gives its command a terminal.
    let line = format!("{DHOW} {args}");
    let words =
        if terminal { vec!["script", "-qec", &line, "/dev/null"] } else { vec!["sh", "-c", &line] };
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.env("DHOW_CONFIG", NO_SETTINGS).env("TERM", "xterm").stdin(Stdio::null());
    let output = command.envs(variables.iter().copied()).output().unwrap();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn colours_are_for_terminals_unless_somebody_says_otherwise() {
    const FAILS: &str = "--server http://127.0.0.1:1 list";
    const TABLE: &str = "settings";
    const MISTAKE: &str = "lsit";
    for (terminal, variables, options, coloured) in [
        (true, &[][..], "", true),
        (false, &[], "", false),
        (true, &[("NO_COLOR", "1")], "", false),
        (false, &[("CLICOLOR_FORCE", "1")], "", true),
        (true, &[], "--color never ", false),
        (false, &[], "--color=always ", true),
        (true, &[("NO_COLOR", "1")], "--color always ", true),
        (true, &[("DHOW_COLOR", "never")], "", false),
    ] {
        for args in [FAILS, TABLE, MISTAKE] {
            // What can't be understood has no settings either.
            if args == MISTAKE && variables == [("DHOW_COLOR", "never")] {
                continue;
            }
            let said = printed(terminal, variables, &format!("{options}{args}"));
            assert_eq!(
                said.contains(ESCAPE),
                coloured,
                "{terminal} {variables:?} {options}{args}: {said}"
            );
        }
    }
    let said = printed(true, &[], FAILS);
    assert!(said.contains("error:\x1b[0m the server"), "{said:?}");
    assert!(said.contains("hint:\x1b[0m start one"), "{said:?}");
    assert!(printed(true, &[], TABLE).contains("\x1b[1mSETTING"), "a table's head is bold");
}
