//! The credentials of this machine's user: the files of [`Places`], and the helpers they name.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::document::LARGEST;
use super::helper::Helper;
use super::{BadConfig, Credential, DockerConfig, HelperError, Places};
use crate::reference::{DOCKER_HUB, Reference};

/// Reads the files anew at each question, so that a login in another window counts at once.
#[derive(Debug, Clone)]
pub struct Keychain {
    places: Places,
}

/// Why credentials can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file is there and can't be read.
    #[error("{}: {source}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no such document.
    #[error("{}: {source}", file.display())]
    Bad {
        /// Which.
        file: PathBuf,
        /// Why.
        source: BadConfig,
    },
    /// A helper failed that a file names.
    #[error("{}: {source}", file.display())]
    Helper {
        /// The file that names it.
        file: PathBuf,
        /// Why.
        source: HelperError,
    },
}

impl Keychain {
    /// The keychain of these places.
    pub fn new(places: Places) -> Self {
        Self { places }
    }

    /// The registries that credentials are kept for, as far as the files themselves name them.
    ///
    /// # Errors
    /// A file that can't be used.
    pub fn hosts(&self) -> Result<BTreeSet<String>, CredentialsError> {
        let mut hosts = BTreeSet::new();
        for file in &self.places.read {
            hosts.extend(read(file)?.iter().flat_map(DockerConfig::hosts));
        }
        Ok(hosts)
    }

    /// The credential for an image, from the first file that has one; in a file the helper goes
    /// before what is written there.
    ///
    /// # Errors
    /// A file or a helper that is named and can't be used: going on as nobody would hide it.
    pub async fn credential(
        &self,
        image: &Reference,
    ) -> Result<Option<Credential>, CredentialsError> {
        for file in &self.places.read {
            let Some(config) = read(file)? else { continue };
            if let Some(name) = config.helper(image.host()) {
                let told = |source| CredentialsError::Helper { file: file.clone(), source };
                let helper = Helper::find(name, &self.places.programs).map_err(told)?;
                if let Some(found) = helper.get(server_key(image.host())).await.map_err(told)? {
                    return Ok(Some(found));
                }
            }
            if let Some(found) = config.credential(image.host(), image.path()) {
                return Ok(Some(found.clone()));
            }
        }
        Ok(None)
    }
}

/// The name under which Docker keeps a host's credentials.
pub(super) fn server_key(host: &str) -> &str {
    if host == DOCKER_HUB { "https://index.docker.io/v1/" } else { host }
}

/// The document in `file`; none when there is no such file.
pub(super) fn read(file: &Path) -> Result<Option<DockerConfig>, CredentialsError> {
    let Some(bytes) = read_bytes(file)? else { return Ok(None) };
    DockerConfig::parse(&bytes)
        .map(Some)
        .map_err(|source| CredentialsError::Bad { file: file.to_owned(), source })
}

/// The bytes of `file`, at most one more than a document may have.
pub(super) fn read_bytes(file: &Path) -> Result<Option<Vec<u8>>, CredentialsError> {
    let told = |source| CredentialsError::Read { file: file.to_owned(), source };
    let opened = match std::fs::File::open(file) {
        Ok(opened) => opened,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(told(error)),
    };
    let mut bytes = Vec::new();
    opened.take(LARGEST as u64 + 1).read_to_end(&mut bytes).map_err(told)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    async fn who(keychain: &Keychain, image: &str) -> String {
        match keychain.credential(&image.parse().unwrap()).await.unwrap() {
            None => "nobody".to_owned(),
            Some(Credential::Basic { username, password }) => {
                format!("{username}:{}", password.expose_secret())
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_first_file_that_knows_wins_and_helpers_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("docker-credential-x");
        let script = r#"#!/bin/sh
read server
case $server in
  helped.io) echo '{"Username":"helper","Secret":"s"}' ;;
  *) echo 'credentials not found in native keychain'; exit 1 ;;
esac"#;
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let entry = |host: &str, name: &str| {
            format!(r#""{host}": {{"username": "{name}", "password": "p"}}"#)
        };
        let first = folder.path().join("config.json");
        let auths = [entry("helped.io", "file"), entry("a.io", "first")].join(",");
        std::fs::write(&first, format!(r#"{{"credsStore": "x", "auths": {{{auths}}}}}"#)).unwrap();
        let second = folder.path().join("auth.json");
        let auths = [entry("a.io", "second"), entry("b.io/team", "second")].join(",");
        std::fs::write(&second, format!(r#"{{"auths": {{{auths}}}}}"#)).unwrap();

        let keychain = Keychain::new(Places {
            read: vec![folder.path().join("absent/config.json"), first.clone(), second],
            write: first.clone(),
            programs: vec![folder.path().to_owned()],
        });
        let hosts: Vec<String> = keychain.hosts().unwrap().into_iter().collect();
        assert_eq!(hosts, ["a.io", "b.io", "helped.io"]);
        assert_eq!(who(&keychain, "helped.io/x").await, "helper:s");
        assert_eq!(who(&keychain, "a.io/x").await, "first:p");
        assert_eq!(who(&keychain, "b.io/team/x").await, "second:p");
        assert_eq!(who(&keychain, "b.io/other").await, "nobody");

        std::fs::write(&first, r#"{"credsStore": "absent"}"#).unwrap();
        let error = keychain.credential(&"a.io/x".parse().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("docker-credential-absent"), "{error}");
    }
}
