//! The file of credentials: one secret a server, readable by its owner alone.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::CommandError;
use super::settings::Secret;

/// The most bytes of the file.
const MOST: u64 = 1 << 20;

/// Where credentials are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsFile(PathBuf);

/// What is written. The secrets are plain: whoever may read the file may use them.
#[derive(Default, Serialize, Deserialize)]
struct Document {
    #[serde(default)]
    servers: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    token: String,
}

impl CredentialsFile {
    /// `dhow/credentials.json` in the folder of people's settings.
    pub fn in_folder(settings: &Path) -> Self {
        Self(settings.join("dhow/credentials.json"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The secret for `server`, where one is kept.
    ///
    /// # Errors
    /// When the file is there and can't be read, or others may read it.
    pub fn get(&self, server: &str) -> Result<Option<Secret>, CommandError> {
        let entry = self.read()?.servers.remove(server);
        Ok(entry.and_then(|entry| Secret::read(&entry.token)))
    }

    /// Keeps `secret` for `server`.
    ///
    /// # Errors
    /// When the file can't be read or written; it is as it was then.
    pub fn put(&self, server: &str, secret: &Secret) -> Result<(), CommandError> {
        let mut document = self.read()?;
        let token = secret.expose().to_owned();
        document.servers.insert(server.to_owned(), Entry { token });
        self.write(&document)
    }

    /// Forgets what is kept for `server`; whether there was something.
    ///
    /// # Errors
    /// When the file can't be read or written; it is as it was then.
    pub fn remove(&self, server: &str) -> Result<bool, CommandError> {
        let mut document = self.read()?;
        if document.servers.remove(server).is_none() {
            return Ok(false);
        }
        self.write(&document)?;
        Ok(true)
    }

    fn read(&self) -> Result<Document, CommandError> {
        let shown = self.0.display();
        let unreadable = |error| CommandError::file("the file of credentials", &shown, &error);
        let metadata = match fs::metadata(&self.0) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Document::default()),
            Err(error) => return Err(unreadable(error)),
        };
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(CommandError::failure(format!("others may read or write `{shown}`"))
                .hint(format!("chmod 600 {shown}; and revoke what is in it, if others did")));
        }
        if metadata.len() > MOST {
            return Err(CommandError::failure(format!("`{shown}` is too large to be ours")));
        }
        let bytes = fs::read(&self.0).map_err(unreadable)?;
        // The position alone: what stands there may be a secret.
        serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            CommandError::failure(format!("`{shown}` can't be read: line {line}, column {column}"))
                .hint("remove it, and `dhow auth login` again")
        })
    }

    /// In one step, so that an interrupted write loses nothing.
    fn write(&self, document: &Document) -> Result<(), CommandError> {
        let write = || -> io::Result<()> {
            let folder = self.0.parent().unwrap_or_else(|| Path::new("."));
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let mut file = tempfile::Builder::new().prefix(".credentials-").tempfile_in(folder)?;
            serde_json::to_writer_pretty(&mut file, document)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&self.0).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|error| {
            let shown = self.0.display();
            CommandError::failure(format!("the file of credentials `{shown}`: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_its_own_and_nobody_else_may_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = CredentialsFile::in_folder(folder.path());
        let secret = |text| Secret::read(text).unwrap();
        assert_eq!(file.get("http://a:1").unwrap(), None);
        assert!(!file.remove("http://a:1").unwrap());
        file.put("http://a:1", &secret("one")).unwrap();
        file.put("http://b:1", &secret("two")).unwrap();
        file.put("http://a:1", &secret("three")).unwrap();
        assert_eq!(file.get("http://a:1").unwrap(), Some(secret("three")));
        assert_eq!(file.get("http://b:1").unwrap(), Some(secret("two")));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(file.path()), 0o600);
        assert_eq!(mode(file.path().parent().unwrap()), 0o700);
        assert!(file.remove("http://a:1").unwrap());
        assert_eq!(file.get("http://a:1").unwrap(), None);
        assert_eq!(file.get("http://b:1").unwrap(), Some(secret("two")));
    }

    #[test]
    fn a_file_that_others_may_read_is_not_used_and_a_broken_one_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = CredentialsFile::in_folder(folder.path());
        file.put("http://a:1", &Secret::read("one").unwrap()).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(file.get("http://a:1").unwrap_err().message.contains("others"));
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(file.path(), r#"{"servers": {"x": {"token": "hidden"]"#).unwrap();
        let error = file.get("http://a:1").unwrap_err();
        assert!(!error.message.contains("hidden"), "{error}");
    }
}
