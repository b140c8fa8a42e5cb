//! Runs `dhow doctor` in a world of its own, and reads what it says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::super::rig::{DHOW, text};

/// A doctor with a folder to look at, ports that are free, and no settings of this machine.
pub(super) struct Doctor {
    folder: TempDir,
    variables: Vec<(String, String)>,
    /// What runs it: a program and its arguments before dhow's own.
    under: Vec<String>,
}

/// What it said.
#[derive(Debug)]
pub(super) struct Report {
    json: Value,
    code: Option<i32>,
}

impl Doctor {
    pub(super) fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap())
    }

    pub(super) fn in_folder(folder: TempDir) -> Self {
        Self { folder, variables: vec![], under: vec![] }
    }

    /// With this variable.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Run by this command, whose last words are dhow's own.
    pub(super) fn under(mut self, command: &[&str]) -> Self {
        self.under = command.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Run after `script`, as root of a mount namespace of its own.
    pub(super) fn after(self, script: &str) -> Self {
        let script = format!("set -e\n{script}\nexec \"$@\"");
        self.under(&["unshare", "--mount", "sh", "-c", &script, "sh"])
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Writes a file and gives its path.
    pub(super) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// What it finds.
    pub(super) fn examine(&self, args: &[&str]) -> Report {
        let output = self.output(&[&["doctor", "-o", "json"], args].concat());
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        let json = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
        Report { json, code: output.status.code() }
    }

    /// What another command prints.
    pub(super) fn dhow(&self, args: &[&str]) -> String {
        text(&self.output(args).stdout)
    }

    fn output(&self, args: &[&str]) -> Output {
        let words = self.under.iter().map(String::as_str).chain([DHOW]).chain(args.iter().copied());
        let words: Vec<&str> = words.collect();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .env("HOME", self.path())
            .env("DHOW_CONFIG", "/dev/null");
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("DHOW_UP_DATA", self.data());
        for option in ["LISTEN", "ADMIN", "METRICS"] {
            command.env(format!("DHOW_UP_{option}"), "127.0.0.1:0");
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.output().unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }
}

impl Report {
    fn check(&self, name: &str) -> &Value {
        let checks = self.json["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}"))
    }

    /// `good`, `wrong`, `fixed` or `skipped`.
    pub(super) fn state(&self, name: &str) -> &str {
        self.check(name)["state"].as_str().unwrap()
    }

    /// The fault is found, says `words`, is explained, and ends the command as its level has it.
    #[track_caller]
    pub(super) fn names(&self, name: &str, words: &[&str]) {
        let check = self.check(name);
        assert_eq!(check["state"], "wrong", "{check}");
        let findings = check["findings"].as_array().unwrap();
        for word in words {
            let says = |finding: &Value| finding["what"].as_str().unwrap().contains(word);
            assert!(findings.iter().any(says), "`{word}` is not in {check}");
        }
        for finding in findings {
            assert!(finding["advice"].as_str().unwrap().len() > 10, "{finding}");
        }
        if check["level"] == "fault" {
            assert_eq!(self.code, Some(1), "{self:?}");
        }
    }

    /// The fault was found and mended.
    #[track_caller]
    pub(super) fn fixes(&self, name: &str) {
        let check = self.check(name);
        assert_eq!(check["state"], "fixed", "{check}");
        assert!(check["findings"].as_array().unwrap().iter().all(|one| one["fixed"] == true));
    }
}
