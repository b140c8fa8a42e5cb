//! Secrets, in the catalog's file: it is this user's alone, and so are they. They are read when
//! they are needed; no snapshot holds them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dhow_core::ports::{BoxFuture, Secrets, SecretsError};
use dhow_core::secret::{Secret, SecretName, SecretSummary};
use dhow_disk::is_full;
use redb::{ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::disk::Disk;
use super::{EmbeddedCatalog, Inner};

/// By namespace and name. A file that never had a secret has no such table.
const SECRETS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("secrets");

impl Secrets for EmbeddedCatalog {
    fn put(&self, name: SecretName, secret: Secret) -> BoxFuture<'_, Result<(), SecretsError>> {
        self.of_secrets(move |inner| {
            let record = encode(&secret);
            let version = inner.snapshot.borrow().version;
            let written = inner.disk.lock().write(version, |write| {
                write.open_table(SECRETS)?.insert(key(&name), record.as_slice())?;
                Ok(())
            });
            written.map_err(storage)
        })
    }

    fn get(&self, name: SecretName) -> BoxFuture<'_, Result<Secret, SecretsError>> {
        self.of_secrets(move |inner| {
            let record = inner.disk.lock().secret(&name).map_err(storage)?;
            decode(&record.ok_or(SecretsError::NotFound(name))?)
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<SecretSummary>, SecretsError>> {
        self.of_secrets(|inner| {
            let records = inner.disk.lock().secrets().map_err(storage)?;
            records.into_iter().map(|(name, record)| Ok(summary(name, decode(&record)?))).collect()
        })
    }

    fn delete(&self, name: SecretName) -> BoxFuture<'_, Result<(), SecretsError>> {
        self.of_secrets(move |inner| {
            let mut disk = inner.disk.lock();
            if disk.secret(&name).map_err(storage)?.is_none() {
                return Err(SecretsError::NotFound(name));
            }
            let version = inner.snapshot.borrow().version;
            let written = disk.write(version, |write| {
                write.open_table(SECRETS)?.remove(key(&name))?;
                Ok(())
            });
            written.map_err(storage)
        })
    }
}

impl EmbeddedCatalog {
    /// Runs `work`, which waits for the disk, where that holds up nobody.
    fn of_secrets<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, SecretsError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, SecretsError>> {
        let inner = self.0.clone();
        Box::pin(async move {
            spawn_blocking(move || work(&inner))
                .await
                .unwrap_or_else(|error| Err(SecretsError::Storage(error.to_string())))
        })
    }
}

/// What is written of a secret.
type Record = Zeroizing<Vec<u8>>;

impl Disk {
    fn secret(&mut self, name: &SecretName) -> Result<Option<Record>, redb::Error> {
        self.with(|database| {
            let Some(secrets) = table(&database.begin_read()?)? else { return Ok(None) };
            let record = secrets.get(key(name))?;
            Ok(record.map(|record| Zeroizing::new(record.value().to_vec())))
        })
    }

    pub(super) fn secrets(&mut self) -> Result<Vec<(SecretName, Record)>, redb::Error> {
        self.with(|database| {
            let Some(secrets) = table(&database.begin_read()?)? else { return Ok(vec![]) };
            let mut found = Vec::new();
            for entry in secrets.iter()? {
                let (key, record) = entry?;
                let (namespace, name) = key.value();
                // Only names are written; what is none is not ours to show.
                let (Ok(namespace), Ok(name)) = (namespace.parse(), name.parse()) else { continue };
                let record = Zeroizing::new(record.value().to_vec());
                found.push((SecretName { namespace, name }, record));
            }
            Ok(found)
        })
    }
}

type Table = redb::ReadOnlyTable<(&'static str, &'static str), &'static [u8]>;

fn table(read: &ReadTransaction) -> Result<Option<Table>, redb::Error> {
    match read.open_table(SECRETS) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn key(name: &SecretName) -> (&str, &str) {
    (name.namespace.as_str(), name.name.as_str())
}

/// `{"type": …, "data": {KEY: BASE64}}`, as Kubernetes writes a secret.
fn encode(secret: &Secret) -> Record {
    let data = secret.values.iter();
    let data = data.map(|(key, value)| (key.clone(), Value::from(STANDARD.encode(&**value))));
    let record = json!({"type": secret.kind, "data": data.collect::<Map<_, _>>()});
    Zeroizing::new(record.to_string().into_bytes())
}

fn decode(record: &[u8]) -> Result<Secret, SecretsError> {
    let mut record: Value = serde_json::from_slice(record).map_err(unreadable)?;
    let kind = record["type"].as_str().ok_or_else(damaged)?.to_owned();
    let Value::Object(data) = record["data"].take() else { return Err(damaged()) };
    let values = data.into_iter().map(|(key, text)| {
        let value = STANDARD.decode(text.as_str().ok_or_else(damaged)?).map_err(unreadable)?;
        Ok((key, Zeroizing::new(value)))
    });
    let values = values.collect::<Result<BTreeMap<_, _>, SecretsError>>()?;
    Ok(Secret { kind, values })
}

fn summary(name: SecretName, secret: Secret) -> SecretSummary {
    let Secret { kind, values } = secret;
    SecretSummary { name, kind, keys: values.into_keys().collect() }
}

/// An error of a codec may quote what it read, which nobody is to see.
fn unreadable(_: impl std::error::Error) -> SecretsError {
    damaged()
}

fn damaged() -> SecretsError {
    SecretsError::Storage("a secret does not read as what was written".to_owned())
}

fn storage(error: redb::Error) -> SecretsError {
    match error {
        redb::Error::Io(error) if is_full(&error) => SecretsError::Full,
        error => SecretsError::Storage(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use dhow_core::secret::OPAQUE;

    use super::*;
    use crate::folder::DataFolder;

    fn open(folder: &Path) -> EmbeddedCatalog {
        EmbeddedCatalog::open(&Arc::new(DataFolder::open(folder).unwrap())).unwrap()
    }

    fn name(namespace: &str, name: &str) -> SecretName {
        SecretName { namespace: namespace.parse().unwrap(), name: name.parse().unwrap() }
    }

    fn secret(value: &[u8]) -> Secret {
        let values = BTreeMap::from([("key".to_owned(), Zeroizing::new(value.to_vec()))]);
        Secret::new(OPAQUE.to_owned(), values).unwrap()
    }

    #[tokio::test]
    async fn what_is_put_is_there_also_after_reopening_and_replaced_or_forgotten_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = open(folder.path());
        let (ours, theirs) = (name("default", "a"), name("shop", "a"));
        assert!(catalog.list().await.unwrap().is_empty());
        let absent = catalog.get(ours.clone()).await.unwrap_err();
        assert!(matches!(absent, SecretsError::NotFound(_)));
        catalog.put(ours.clone(), secret(b"one")).await.unwrap();
        catalog.put(theirs.clone(), secret(&[0, 255])).await.unwrap();
        catalog.put(ours.clone(), secret(b"two")).await.unwrap();
        drop(catalog);

        let catalog = open(folder.path());
        assert_eq!(catalog.get(ours.clone()).await.unwrap(), secret(b"two"));
        assert_eq!(catalog.get(theirs.clone()).await.unwrap(), secret(&[0, 255]));
        let summary = |name: &SecretName| SecretSummary {
            name: name.clone(),
            kind: OPAQUE.to_owned(),
            keys: vec!["key".to_owned()],
        };
        assert_eq!(catalog.list().await.unwrap(), [summary(&ours), summary(&theirs)]);
        catalog.delete(ours.clone()).await.unwrap();
        assert!(matches!(catalog.delete(ours).await, Err(SecretsError::NotFound(_))));
        assert_eq!(catalog.list().await.unwrap(), [summary(&theirs)]);
    }
}
