//! Programs that keep credentials: `docker-credential-X get|store`, with a host on their input.
//!
//! What a helper prints may hold secrets; of a failure only its exit is told.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::Credential;

/// How long a helper may take: it may have to ask a person, or a cloud.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most that a helper may print, bytes.
const MOST_OUTPUT: u64 = 256 << 10;
/// The name under which helpers keep an identity token in place of a password.
const TOKEN_USER: &str = "<token>";

/// Why a helper did not help.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// Its name could be a path or an option.
    #[error("`{0}` is not a credential helper's name; it has letters, digits, `-`, `_` and `.`")]
    Name(String),
    /// There is no such program.
    #[error(
        "the credential helper `docker-credential-{0}` is not installed; install it, or take it out of the configuration"
    )]
    Missing(String),
    /// It could not be started or spoken to.
    #[error("the credential helper `docker-credential-{name}` can't be run: {source}")]
    Run {
        /// `X` of `docker-credential-X`.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// It took too long.
    #[error("the credential helper `docker-credential-{0}` did not answer within 30 s")]
    Timeout(String),
    /// It failed, or printed what is no answer.
    #[error(
        "the credential helper `docker-credential-{name}` failed ({why}); run it by hand to see more"
    )]
    Failed {
        /// `X` of `docker-credential-X`.
        name: String,
        /// Its exit, or what its answer lacks.
        why: String,
    },
}

/// One helper.
#[derive(Debug)]
pub(super) struct Helper<'a> {
    name: &'a str,
    program: PathBuf,
    patience: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: SecretString,
}

impl<'a> Helper<'a> {
    /// Finds `docker-credential-NAME` in `folders`.
    pub(super) fn find(name: &'a str, folders: &[PathBuf]) -> Result<Self, HelperError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(HelperError::Name(name.chars().take(64).collect()));
        }
        let file = format!("docker-credential-{name}");
        let program = folders
            .iter()
            // An empty or relative entry of PATH would run a program of the current folder.
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(&file))
            .find(|program| Path::is_file(program))
            .ok_or_else(|| HelperError::Missing(name.to_owned()))?;
        Ok(Self { name, program, patience: PATIENCE })
    }

    /// What it keeps for `server`, if anything.
    pub(super) async fn get(&self, server: &str) -> Result<Option<Credential>, HelperError> {
        let (succeeded, output) = self.run("get", server.as_bytes()).await?;
        if succeeded.is_err() && String::from_utf8_lossy(&output).contains("credentials not found")
        {
            return Ok(None);
        }
        succeeded?;
        let answer: Answer =
            serde_json::from_slice(&output).map_err(|_| self.failed("no JSON with a secret"))?;
        Ok(match (answer.username, answer.secret) {
            (_, secret) if secret.expose_secret().is_empty() => None,
            (name, secret) if name == TOKEN_USER => Some(Credential::IdentityToken(secret)),
            (username, password) => Some(Credential::Basic { username, password }),
        })
    }

    /// Gives it a credential to keep for `server`.
    pub(super) async fn store(
        &self,
        server: &str,
        username: &str,
        password: &SecretString,
    ) -> Result<(), HelperError> {
        let request = SecretString::from(
            serde_json::json!({
                "ServerURL": server, "Username": username, "Secret": password.expose_secret(),
            })
            .to_string(),
        );
        self.run("store", request.expose_secret().as_bytes()).await?.0
    }

    /// Runs it to its end: whether it succeeded, and what it printed.
    async fn run(
        &self,
        verb: &str,
        input: &[u8],
    ) -> Result<(Result<(), HelperError>, Vec<u8>), HelperError> {
        let conversation = async {
            let mut child = Command::new(&self.program)
                .arg(verb)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()?;
            let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
                unreachable!("both were piped");
            };
            match stdin.write_all(input).await {
                // It may answer without reading what it does not need.
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error),
                _ => drop(stdin),
            }
            let mut output = Vec::new();
            stdout.take(MOST_OUTPUT + 1).read_to_end(&mut output).await?;
            if output.len() as u64 > MOST_OUTPUT {
                child.kill().await?;
            }
            Ok((child.wait().await?, output))
        };
        let (status, output) = tokio::time::timeout(self.patience, conversation)
            .await
            .map_err(|_| HelperError::Timeout(self.name.to_owned()))?
            .map_err(|source| HelperError::Run { name: self.name.to_owned(), source })?;
        let succeeded = if output.len() as u64 > MOST_OUTPUT {
            Err(self.failed("it prints without end"))
        } else if status.success() {
            Ok(())
        } else {
            Err(self.failed(&status.to_string()))
        };
        Ok((succeeded, output))
    }

    fn failed(&self, why: &str) -> HelperError {
        HelperError::Failed { name: self.name.to_owned(), why: why.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    async fn ask(script: &str, patience: Duration) -> Result<Option<Credential>, HelperError> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("docker-credential-x");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let folders = [folder.path().to_owned()];
        let helper = Helper { patience, ..Helper::find("x", &folders)? };
        helper.get("example.com").await
    }

    #[tokio::test]
    async fn an_answer_is_read() {
        let script = r#"read host; echo "{\"ServerURL\":\"$host\",\"Username\":\"$host-$1\",\"Secret\":\"s\"}""#;
        let found = ask(script, PATIENCE).await.unwrap();
        let Some(Credential::Basic { username, password }) = found else { panic!("{found:?}") };
        assert_eq!((username.as_str(), password.expose_secret()), ("example.com-get", "s"));

        let token = r#"echo '{"Username":"<token>","Secret":"s"}'"#;
        assert!(matches!(ask(token, PATIENCE).await, Ok(Some(Credential::IdentityToken(_)))));
        let none = "echo credentials not found in native keychain; exit 1";
        assert!(matches!(ask(none, PATIENCE).await, Ok(None)));
    }

    #[tokio::test]
    async fn a_failure_is_told_without_what_was_printed() {
        for script in ["echo hunter2; exit 3", "echo hunter2", "yes hunter2"] {
            let error = ask(script, PATIENCE).await.unwrap_err();
            assert!(matches!(error, HelperError::Failed { .. }), "{script}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        let hangs = ask("sleep 600", Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(hangs, HelperError::Timeout(_)), "{hangs:?}");
    }

    #[test]
    fn a_name_that_could_be_a_path_is_refused() {
        for name in ["", "../x", "a/b", "a b", "a;b"] {
            assert!(matches!(Helper::find(name, &[]), Err(HelperError::Name(_))), "{name}");
        }
        assert!(matches!(Helper::find("absent", &[]), Err(HelperError::Missing(_))));
        // A relative folder of PATH is never looked at.
        assert!(matches!(Helper::find("x", &["".into()]), Err(HelperError::Missing(_))));
    }
}
