//! The file of settings, its places, and who wins.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::rig::{DHOW, Server, client, text};

/// Runs a command with this home, and nothing else of this machine.
fn at_home(home: &Path, variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(DHOW);
    command.args(args).env_clear().env("HOME", home).stdin(Stdio::null());
    command.envs(variables.iter().copied()).output().unwrap()
}

fn write(folder: &Path, content: &str) {
    let folder = folder.join("dhow");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.toml"), content).unwrap();
}

/// The value and the source of a setting.
fn setting(output: &Output, path: &str) -> (String, String) {
    let json: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    let settings = json["settings"].as_array().unwrap();
    let one = settings.iter().find(|setting| setting["path"] == path).unwrap();
    let value = one["values"][0].as_str().unwrap_or_default().to_owned();
    (value, one["source"].as_str().unwrap().to_owned())
}

#[test]
fn the_file_is_where_xdg_has_it() {
    let home = tempfile::tempdir().unwrap();
    let (user, system) = (home.path().join("user"), home.path().join("system"));
    let variables = [
        ("XDG_CONFIG_HOME", user.to_str().unwrap()),
        ("XDG_CONFIG_DIRS", system.to_str().unwrap()),
    ];
    let namespace = |variables: &[(&str, &str)]| {
        let output = at_home(home.path(), variables, &["settings", "-o", "json"]);
        setting(&output, "namespace")
    };
    let said = |value: &str| (value.to_owned(), "file".to_owned());
    assert_eq!(namespace(&variables), (String::new(), "default".to_owned()));
    write(&system, "namespace = 'of-the-system'");
    assert_eq!(namespace(&variables), said("of-the-system"));
    write(&user, "namespace = 'of-the-user'");
    assert_eq!(namespace(&variables), said("of-the-user"));
    write(&home.path().join(".config"), "namespace = 'of-the-home'");
    assert_eq!(namespace(&[]), said("of-the-home"));
    // A relative path is none, as the specification has it.
    assert_eq!(namespace(&[("XDG_CONFIG_HOME", "user")]), said("of-the-home"));
    let named = user.join("dhow/config.toml");
    let named = named.to_str().unwrap();
    assert_eq!(namespace(&[("DHOW_CONFIG", named)]), said("of-the-user"));
    let output = at_home(home.path(), &[], &["settings", "--config", named, "-o", "json"]);
    assert_eq!(setting(&output, "namespace"), said("of-the-user"));
}

#[test]
fn the_data_folder_is_where_xdg_has_it_for_everybody() {
    let home = tempfile::tempdir().unwrap();
    let data = |variables: &[(&str, &str)]| {
        let output = at_home(home.path(), variables, &["settings", "-o", "json"]);
        setting(&output, "up.data").0
    };
    let below = |path: &str| home.path().join(path).display().to_string();
    assert_eq!(data(&[]), below(".local/share/dhow"));
    assert_eq!(data(&[("XDG_DATA_HOME", "/srv/data")]), "/srv/data/dhow");
    assert_eq!(data(&[("DHOW_UP_DATA", "/elsewhere")]), "/elsewhere");
}

#[test]
fn a_server_starts_by_its_file_and_clients_find_it_by_theirs() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("up.toml");
    std::fs::write(&config, "[up]\nmodule-size = '1Mi'\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::in_folder(folder, &["--config", config.to_str().unwrap()]);
    server.deploy("hello", &[]);
    let big = server.path().join("big.wasm");
    std::fs::write(&big, vec![0; 2 << 20]).unwrap();
    let said = server.fails(&["deploy", "big", big.to_str().unwrap()]);
    assert!(said.contains("1048576 bytes"), "{said}");

    write(&home.path().join(".config"), &format!("server = '{}'\noutput = 'name'\n", server.admin));
    let listed = at_home(home.path(), &[], &["list"]);
    assert_eq!(text(&listed.stdout), "hello.default\n", "{}", text(&listed.stderr));
    let listed = at_home(home.path(), &[("DHOW_OUTPUT", "json")], &["list"]);
    assert!(text(&listed.stdout).starts_with('{'), "{}", text(&listed.stdout));
    let elsewhere = at_home(home.path(), &[("DHOW_SERVER", "http://127.0.0.1:1")], &["list"]);
    assert!(text(&elsewhere.stderr).contains("http://127.0.0.1:1"));
}

#[test]
fn a_wrong_file_is_refused_whole_before_anything_is_done() {
    let home = tempfile::tempdir().unwrap();
    write(&home.path().join(".config"), "serve = 'http://a'\n[up]\nlisten = 'x'\nlodaed = 3\n");
    let output = at_home(home.path(), &[], &["list"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    for line in [
        "error: nothing was done, since settings are wrong",
        "  serve: is not a setting; did you mean `server`?",
        "  up.listen: is `x`: invalid socket address",
        "  up.lodaed: is not a setting; did you mean `up.loaded`?",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert!(said.contains("config.toml"), "{said}");
}

#[test]
fn settings_show_who_says_what() {
    let output = client("http://127.0.0.1:9", &["settings", "--namespace", "shop"]);
    let shown = text(&output.stdout);
    let has = |words: [&str; 3]| {
        shown.lines().any(|line| line.split_whitespace().eq(words.iter().copied()))
    };
    assert!(has(["SETTING", "VALUE", "FROM"]), "{shown}");
    assert!(has(["server", "http://127.0.0.1:9", "DHOW_SERVER"]), "{shown}");
    assert!(has(["namespace", "shop", "--namespace"]), "{shown}");
    assert!(has(["up.listen", "127.0.0.1:8080", "default"]), "{shown}");
    // Every option is a setting, of the program or of `up`.
    let help = text(&client("", &["up", "--help"]).stdout);
    let options = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    for option in options.filter_map(|option| option.split([' ', '=']).next()) {
        let is_shown = |path: &str| shown.lines().any(|line| line.split(' ').next() == Some(path));
        let is_setting = is_shown(option) || is_shown(&format!("up.{option}"));
        // The token goes with its server, and has rules of its own.
        let is_none = ["config", "token-file"].contains(&option);
        assert_ne!(is_setting, is_none, "{option}\n{shown}");
    }
}
