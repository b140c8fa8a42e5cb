//! Secrets that a function is granted, in the hands of one instance: as files, and by key.
//!
//! They are read when the instance is made, so that the next one sees what has changed. What is
//! written goes into a folder of the instance's own, mode 0700, which goes with it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use dhow_core::name::Label;
use dhow_core::outcome::{Failure, Reason};
use dhow_core::ports::SecretsError;
use dhow_core::secret::{Secret, SecretName};
use tempfile::TempDir;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};
use zeroize::Zeroizing;

use crate::world::SecretsIn;

/// Where OpenFaaS' functions look for their secrets.
const OPENFAAS: &str = "/var/openfaas/secrets";
/// Where each key of each secret is: `NAMESPACE/NAME/KEY` below it.
const SECRETS: &str = "/secrets";

/// What one instance was given.
pub(crate) struct Given {
    /// By `NAME` where a secret has one key, and by `NAME/KEY`.
    values: BTreeMap<String, Zeroizing<Vec<u8>>>,
    folder: TempDir,
}

impl Given {
    /// Reads the secrets `names` of `namespace` and lays them out.
    ///
    /// # Errors
    /// When one is not there, or nothing can be written.
    pub(crate) async fn read(
        place: &SecretsIn,
        namespace: &Label,
        names: &[Label],
    ) -> Result<Self, Failure> {
        let mut secrets = Vec::with_capacity(names.len());
        for name in names {
            let full = SecretName { namespace: namespace.clone(), name: name.clone() };
            let secret = place.secrets.get(full).await.map_err(|error| missing(name, &error))?;
            secrets.push((name.clone(), secret));
        }
        let (folder, namespace) = (place.folder.clone(), namespace.clone());
        let given = tokio::task::spawn_blocking(move || lay_out(&folder, &namespace, &secrets));
        let given = given.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        given.map_err(|error| {
            Failure::new(Reason::NotReady, format!("the secrets can't be laid out: {error}"))
        })
    }

    /// Lets a guest read the files.
    pub(crate) fn show(&self, wasi: &mut WasiCtxBuilder) -> wasmtime::Result<()> {
        for (folder, seen) in [("openfaas", OPENFAAS), ("secrets", SECRETS)] {
            let folder = self.folder.path().join(folder);
            wasi.preopened_dir(folder, seen, FsPerms::ReadOnly)?;
        }
        Ok(())
    }

    /// The value under `NAME` of a secret with one key, or `NAME/KEY`.
    pub(crate) fn value(&self, key: &str) -> Option<&[u8]> {
        self.values.get(key).map(|value| value.as_slice())
    }

    /// All of them.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.values.iter().map(|(key, value)| (key.as_str(), value.as_slice()))
    }
}

/// No message holds a value.
fn missing(name: &Label, error: &SecretsError) -> Failure {
    let message = match error {
        SecretsError::NotFound(_) => {
            format!("the secret `{name}`, which the function is granted, is not there any more")
        }
        _ => format!("the secret `{name}` can't be read: {error}"),
    };
    Failure::new(Reason::NotReady, message)
}

/// Files of mode 0400 in folders of mode 0700.
fn lay_out(folder: &Path, namespace: &Label, secrets: &[(Label, Secret)]) -> io::Result<Given> {
    let private = Permissions::from_mode(0o700);
    let folder =
        tempfile::Builder::new().prefix("given-").permissions(private).tempdir_in(folder)?;
    let (openfaas, all) = (folder.path().join("openfaas"), folder.path().join("secrets"));
    let mut private = DirBuilder::new();
    private.mode(0o700).recursive(true);
    private.create(&openfaas)?;
    let mut values = BTreeMap::new();
    for (name, secret) in secrets {
        let own = all.join(namespace.as_str()).join(name.as_str());
        private.create(&own)?;
        let is_one = secret.values.len() == 1;
        if !is_one {
            private.create(openfaas.join(name.as_str()))?;
        }
        for (key, value) in &secret.values {
            write(&own.join(key), value)?;
            let place = openfaas.join(name.as_str());
            write(&if is_one { place } else { place.join(key) }, value)?;
            if is_one {
                values.insert(name.to_string(), value.clone());
            }
            values.insert(format!("{name}/{key}"), value.clone());
        }
    }
    Ok(Given { values, folder })
}

fn write(path: &Path, value: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(value)
}

/// Makes `folder` for guests' secrets anew, mode 0700: what an earlier process left is nobody's.
///
/// # Errors
/// When the system refuses.
pub fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    DirBuilder::new().mode(0o700).recursive(true).create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(values: &[(&str, &str)]) -> Secret {
        let value = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
        let values = values.iter().map(|(key, text)| ((*key).to_owned(), value(text)));
        Secret::new("Opaque".to_owned(), values.collect()).unwrap()
    }

    #[test]
    fn each_key_is_a_file_that_only_we_read_and_that_goes_with_the_instance() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = [
            ("one".parse().unwrap(), secret(&[("token", "hunter2")])),
            ("two".parse().unwrap(), secret(&[("user", "ada"), ("pass", "word")])),
        ];
        let given = lay_out(folder.path(), &"shop".parse().unwrap(), &secrets).unwrap();
        let place = given.folder.path().to_owned();
        for (file, value) in [
            ("openfaas/one", "hunter2"),
            ("openfaas/two/user", "ada"),
            ("secrets/shop/one/token", "hunter2"),
            ("secrets/shop/two/pass", "word"),
        ] {
            assert_eq!(fs::read_to_string(place.join(file)).unwrap(), value, "{file}");
            let mode = fs::metadata(place.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o400, "{file}");
        }
        assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o700);
        let keys: Vec<_> = given.values().map(|(key, _)| key).collect();
        assert_eq!(keys, ["one", "one/token", "two/pass", "two/user"]);
        assert_eq!(given.value("one"), Some(&b"hunter2"[..]));
        drop(given);
        assert!(!place.exists());
    }
}
