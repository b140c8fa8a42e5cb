//! dhow's own log, on standard error.

use std::io::Read as _;
use std::process::Stdio;

use serde_json::Value;

use super::rig::{refused, up, wait_for};

/// What a server says from its start to its end.
fn log(more: &[&str], variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = up(folder.path(), more);
    command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut out = process.stdout.take().unwrap();
    let mut first = [0; 7];
    out.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"gateway");
    let ended = std::process::Command::new("kill").arg(process.id().to_string()).status();
    assert!(ended.unwrap().success());
    wait_for(|| process.try_wait().unwrap());
    let mut said = String::new();
    process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    said
}

#[test]
fn it_is_quiet_unless_asked_and_json_where_that_is_wanted() {
    assert_eq!(log(&[], &[]), "");
    let text = log(&["--log-level", "info"], &[("DHOW_UP_LOG_LEVEL", "error")]);
    assert!(text.contains("INFO") && text.contains("dhow serves"), "{text}");
    assert!(!text.contains('\x1b'), "colours where no terminal is: {text}");
    let json = log(&["--log-format", "json"], &[("DHOW_UP_LOG_LEVEL", "info")]);
    let lines: Vec<Value> =
        json.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let serves = lines.iter().find(|line| line["message"] == "dhow serves").unwrap();
    assert_eq!(serves["level"], "INFO");
    assert!(serves["timestamp"].as_str().unwrap().ends_with('Z'), "{serves}");
    assert!(serves["gateway"].as_str().unwrap().starts_with("127.0.0.1:"), "{serves}");
}

#[test]
fn a_level_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let said = refused(up(folder.path(), &["--log-level", "dhow=loud"]));
    assert!(said.contains("--log-level") && said.contains("dhow=loud"), "{said}");
}
