use std::fs;
use std::net::SocketAddr;

use clap::{Parser, Subcommand};

use super::*;
use crate::cli::{list, settings};

#[derive(Debug, Parser)]
#[command(name = "dhow")]
struct Line {
    #[command(flatten)]
    client: settings::Args,
    #[command(flatten)]
    config: super::Args,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up(Up),
    List(list::Args),
}

#[derive(Debug, clap::Args)]
struct Up {
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    #[arg(long)]
    apply: Vec<PathBuf>,
    #[arg(long)]
    insecure: bool,
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    instances: u32,
}

/// A line over a file with this text and these variables.
fn given(
    line: &str,
    file: &str,
    variables: &[(&str, &str)],
) -> Result<(Given<Line>, tempfile::TempDir), ReadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, file).unwrap();
    let line: Vec<OsString> = format!("dhow {line}").split(' ').map(OsString::from).collect();
    let given = read::<Line>(&line, |name| {
        let variable = variables.iter().find(|(known, _)| *known == name);
        let value = variable.map(|(_, value)| (*value).to_owned());
        value.or_else(|| (name == DHOW_CONFIG).then(|| path.to_str().unwrap().to_owned()))
    })?;
    Ok((given, folder))
}

fn up(given: &Given<Line>) -> &Up {
    match &given.arguments.verb {
        Verb::Up(up) => up,
        Verb::List(_) => panic!("{given:?}"),
    }
}

fn refused(line: &str, file: &str, variables: &[(&str, &str)]) -> CommandError {
    match given(line, file, variables) {
        Err(ReadError::Settings(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_option_wins_over_the_environment_and_that_over_the_file_and_that_over_the_default() {
    let file = "server = 'http://file:1'\n[up]\nlisten = '127.0.0.1:1'\n";
    let variables = [("DHOW_SERVER", "http://variable:2"), ("DHOW_UP_LISTEN", "127.0.0.1:2")];
    let seen = |line: &str, file: &str, variables: &[(&str, &str)]| {
        let (given, _folder) = given(line, file, variables).unwrap();
        let server = given.setting("server").unwrap().source.clone();
        let listen = given.setting("up.listen").unwrap().source.clone();
        let used = (given.arguments.client.server.clone(), up(&given).listen.port());
        (used, [server, listen])
    };
    let (used, sources) = seen("up", "", &[]);
    assert_eq!((used, sources), ((None, 8080), [Source::Default, Source::Default]));
    let (used, sources) = seen("up", file, &[]);
    assert_eq!(used, (Some("http://file:1".to_owned()), 1));
    assert_eq!(sources, [Source::File, Source::File]);
    let (used, sources) = seen("up", file, &variables);
    assert_eq!(used, (Some("http://variable:2".to_owned()), 2));
    let named = |name: &str| Source::Environment(name.to_owned());
    assert_eq!(sources, [named("DHOW_SERVER"), named("DHOW_UP_LISTEN")]);
    let line = "--server http://option:3 up --listen 127.0.0.1:3";
    let (used, sources) = seen(line, file, &variables);
    assert_eq!(used, (Some("http://option:3".to_owned()), 3));
    let named = |name: &str| Source::Option(name.to_owned());
    assert_eq!(sources, [named("--server"), named("--listen")]);
}

#[test]
fn an_empty_variable_says_nothing() {
    let (given, _folder) = given("up", "", &[("DHOW_SERVER", ""), ("DHOW_UP_LISTEN", "")]).unwrap();
    assert_eq!(up(&given).listen.port(), 8080);
}

#[test]
fn switches_lists_numbers_and_paths_are_written_as_toml_has_them() {
    let file = "[up]\ninsecure = true\napply = ['a.yaml', '/b.yaml']\ninstances = 7\n";
    let (seen, folder) = given("up", file, &[]).unwrap();
    let Up { insecure, apply, instances, .. } = up(&seen);
    assert_eq!((*insecure, *instances), (true, 7));
    assert_eq!(*apply, [folder.path().join("a.yaml"), "/b.yaml".into()], "relative to the file");
    let variables = [("DHOW_UP_INSECURE", "0"), ("DHOW_UP_APPLY", "c.yaml,d.yaml")];
    let (seen, _folder) = given("up", file, &variables).unwrap();
    assert!(!up(&seen).insecure);
    assert_eq!(up(&seen).apply, [PathBuf::from("c.yaml"), "d.yaml".into()]);
    let (seen, _folder) = given("up --insecure --apply e.yaml", file, &variables).unwrap();
    assert!(up(&seen).insecure);
    assert_eq!(up(&seen).apply, [PathBuf::from("e.yaml")], "options take the place of it all");
}

#[test]
fn the_format_of_listings_is_a_setting() {
    let format = |line: &str| {
        let (given, _folder) = given(line, "output = 'wide'", &[]).unwrap();
        match given.arguments.verb {
            Verb::List(list) => list.output,
            Verb::Up(_) => panic!(),
        }
    };
    use crate::cli::output::Format;
    assert_eq!((format("list"), format("list -o json")), (Format::Wide, Format::Json));
}

#[test]
fn everything_that_is_wrong_is_named_by_its_path_at_once() {
    let file = "sever = 'http://a'\nnamespace = 'A'\noutput = 'jsn'\nlisten = '127.0.0.1:1'\n\
                colour = { a = 1 }\n\
                [up]\nlisten = 'here'\ninsecure = 'yes'\napply = 'a.yaml'\ninstances = 0\n\
                instance = 1\n";
    let error = refused("list", file, &[("DHOW_UP_INSTANCES", "many"), ("DHOW_SERVER", "a:1")]);
    assert_eq!(error.exit_code(), 2);
    for expected in [
        "sever: is not a setting; did you mean `server`?",
        "namespace: is `A`: ",
        "output: is `jsn`; it must be one of table, wide, name, json, yaml",
        "listen: is not a setting; did you mean `up.listen`?",
        "colour: is not a setting; `dhow settings` lists them",
        "up.listen: is `here`: invalid socket address",
        "up.insecure: must be `true` or `false`, not string",
        "up.apply: must be a list",
        "up.instances: is `0`: 0 is not in 1..",
        "up.instance: is not a setting; did you mean `up.instances`?",
        "DHOW_UP_INSTANCES: is `many`: invalid digit",
        "DHOW_SERVER: is `a:1`: ",
    ] {
        assert!(
            error.details.iter().any(|line| line.starts_with(expected)),
            "{expected} {error:#?}"
        );
    }
    assert_eq!(error.details.len(), 12, "{error:#?}");
    assert!(error.hints[0].contains("config.toml"), "{error:?}");
}

#[test]
fn what_is_no_toml_is_shown_with_its_place() {
    let error = refused("list", "server = 'a'\nserver = 'b'\n", &[]);
    assert!(error.message.contains("not TOML"), "{error}");
    assert!(error.details.iter().any(|line| line.contains("line 2")), "{error:#?}");
}

#[test]
fn a_file_that_was_named_has_to_be_there() {
    let line = ["dhow", "--config", "/nowhere/config.toml", "list"].map(OsString::from);
    let error = match read::<Line>(&line, |_| None) {
        Err(ReadError::Settings(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(error.message.contains("/nowhere/config.toml"), "{error}");
    let line = ["dhow", "list"].map(OsString::from);
    let named = |name: &str| (name == DHOW_CONFIG).then(|| "/nowhere/else.toml".to_owned());
    assert!(matches!(read::<Line>(&line, named), Err(ReadError::Settings(_))));
}

#[test]
fn a_file_is_read_up_to_its_bound() {
    let error = refused("list", &"#".repeat((1 << 20) + 1), &[]);
    assert!(error.message.contains("more than"), "{error}");
}
