//! `login`: keeps a credential where Docker and podman keep theirs, so that all of them find it.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::helper::Helper;
use super::keychain::{read, read_bytes, server_key};
use super::{CredentialsError, HelperError, Places};
use crate::reference::canonical_host;

/// Where a credential went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Into this file, readable by its owner alone.
    File(PathBuf),
    /// To the helper `docker-credential-X`.
    Helper(String),
}

/// Why nothing was kept. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The file that is there can't be read.
    #[error(transparent)]
    Existing(#[from] CredentialsError),
    /// A part of the file is not what Docker writes there.
    #[error("{}: `auths` is not an object; nothing was written", .0.display())]
    Shape(PathBuf),
    /// A name with a colon can't be written in this format.
    #[error("a user name is not empty and has no `:`")]
    Name,
    /// The helper that the file names failed.
    #[error(transparent)]
    Helper(#[from] HelperError),
    /// The file can't be written.
    #[error("{} can't be written: {source}", file.display())]
    Write {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Keeps a name and password for `host`: with the helper that the file names for it, else in the
/// file itself. What else stands in the file stays.
///
/// # Errors
/// Nothing was kept, for the reason told.
pub async fn login(
    places: &Places,
    host: &str,
    username: &str,
    password: &SecretString,
) -> Result<Stored, LoginError> {
    if username.is_empty() || username.contains(':') {
        return Err(LoginError::Name);
    }
    let host = canonical_host(host);
    let config = read(&places.write)?.unwrap_or_default();
    if let Some(name) = config.helper(&host) {
        let helper = Helper::find(name, &places.programs)?;
        helper.store(server_key(&host), username, password).await?;
        return Ok(Stored::Helper(name.to_owned()));
    }
    let pair = SecretString::from(format!("{username}:{}", password.expose_secret()));
    let auth = STANDARD.encode(pair.expose_secret());
    // Someone may keep the file elsewhere, behind a link; that one is replaced, the link stays.
    let file = std::fs::canonicalize(&places.write).unwrap_or_else(|_| places.write.clone());
    let document = with_entry(&file, server_key(&host), &auth)?;
    replace(&file, &document).map_err(|source| LoginError::Write { file: file.clone(), source })?;
    Ok(Stored::File(places.write.clone()))
}

/// The document of `file` with one more entry.
fn with_entry(file: &Path, server: &str, auth: &str) -> Result<Vec<u8>, LoginError> {
    let bytes = read_bytes(file)?.unwrap_or_default();
    let mut document: Map<String, Value> = if bytes.trim_ascii().is_empty() {
        Map::new()
    } else {
        serde_json::from_slice(&bytes).map_err(|_| LoginError::Shape(file.to_owned()))?
    };
    let auths = document.entry("auths").or_insert_with(|| json!({}));
    if auths.is_null() {
        *auths = json!({});
    }
    auths
        .as_object_mut()
        .ok_or_else(|| LoginError::Shape(file.to_owned()))?
        .insert(server.to_owned(), json!({ "auth": auth }));
    let mut text = serde_json::to_vec_pretty(&document).unwrap_or_else(|error| {
        unreachable!("a JSON value is written as JSON: {error}");
    });
    text.push(b'\n');
    Ok(text)
}

/// Replaces `file` in one step by one that its owner alone can read.
fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut new = tempfile::Builder::new().prefix(".login-").tempfile_in(folder)?;
    new.as_file().set_permissions(std::fs::Permissions::from_mode(0o600))?;
    new.write_all(bytes)?;
    new.as_file().sync_all()?;
    new.persist(file).map_err(|error| error.error)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::{Credential, Keychain};
    use super::*;

    fn places(folder: &Path) -> Places {
        let file = folder.join("docker/config.json");
        Places { read: vec![file.clone()], write: file, programs: vec![folder.to_owned()] }
    }

    #[tokio::test]
    async fn what_is_kept_is_found_again_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        let password = SecretString::from("pa:ss");
        for host in ["example.com:5000", "docker.io"] {
            let stored = login(&places, host, "me", &password).await.unwrap();
            assert_eq!(stored, Stored::File(places.write.clone()));
        }
        let mode = std::fs::metadata(&places.write).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let written = std::fs::read_to_string(&places.write).unwrap();
        let mut document: Value = serde_json::from_str(&written).unwrap();
        assert!(document["auths"]["https://index.docker.io/v1/"]["auth"].is_string(), "{written}");
        document["HttpHeaders"] = json!({"X-Meta": "kept"});
        std::fs::write(&places.write, document.to_string()).unwrap();

        login(&places, "example.com:5000", "you", &password).await.unwrap();
        let written = std::fs::read_to_string(&places.write).unwrap();
        assert!(written.contains("X-Meta") && written.contains("index.docker.io"), "{written}");
        let image = "example.com:5000/x".parse().unwrap();
        let found = Keychain::new(places).credential(&image).await.unwrap();
        let Some(Credential::Basic { username, password }) = found else { panic!("{found:?}") };
        assert_eq!((username.as_str(), password.expose_secret()), ("you", "pa:ss"));
    }

    #[tokio::test]
    async fn a_helper_keeps_it_where_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        std::fs::create_dir(folder.path().join("docker")).unwrap();
        std::fs::write(&places.write, r#"{"credHelpers": {"example.com": "x"}}"#).unwrap();
        let got = folder.path().join("got");
        let program = folder.path().join("docker-credential-x");
        let script = format!("#!/bin/sh\n[ \"$1\" = store ] && cat > {}\n", got.display());
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();

        let stored = login(&places, "example.com", "me", &"hunter2".into()).await.unwrap();
        assert_eq!(stored, Stored::Helper("x".to_owned()));
        let got: Value = serde_json::from_slice(&std::fs::read(got).unwrap()).unwrap();
        assert_eq!(got, json!({"ServerURL": "example.com", "Username": "me", "Secret": "hunter2"}));
        assert!(!std::fs::read_to_string(&places.write).unwrap().contains("auths"));
    }

    #[tokio::test]
    async fn a_file_that_is_not_understood_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        std::fs::create_dir(folder.path().join("docker")).unwrap();
        for text in ["{", r#"{"auths": []}"#] {
            std::fs::write(&places.write, text).unwrap();
            login(&places, "example.com", "me", &"p".into()).await.unwrap_err();
            assert_eq!(std::fs::read_to_string(&places.write).unwrap(), text);
        }
        let error = login(&places, "example.com", "a:b", &"p".into()).await.unwrap_err();
        assert!(matches!(error, LoginError::Name), "{error}");
    }

    #[tokio::test]
    async fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        std::fs::create_dir(folder.path().join("docker")).unwrap();
        let real = folder.path().join("real.json");
        std::fs::write(&real, "{}").unwrap();
        std::os::unix::fs::symlink(&real, &places.write).unwrap();
        login(&places, "example.com", "me", &"p".into()).await.unwrap();
        assert!(std::fs::symlink_metadata(&places.write).unwrap().is_symlink());
        assert!(std::fs::read_to_string(&real).unwrap().contains("example.com"));
    }
}
