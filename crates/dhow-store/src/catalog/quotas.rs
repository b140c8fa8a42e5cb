//! Quotas of namespaces, in the catalog's file.

use std::sync::Arc;

use dhow_core::name::Label;
use dhow_core::ports::{CatalogError, Snapshot};
use dhow_core::quota::{Quota, Quotas};
use serde_json::{Value, json};

use super::{Inner, records, storage};

impl Inner {
    pub(super) fn set_quota(
        &self,
        namespace: &Label,
        quota: Option<Quota>,
    ) -> Result<(), CatalogError> {
        let mut disk = self.disk.lock();
        let before = Arc::clone(&self.snapshot.borrow());
        if before.quotas.get(namespace) == quota.as_ref() {
            return Ok(());
        }
        let version = before.version + 1;
        let record = quota.map(|quota| encode(namespace, &quota));
        disk.set_quota(namespace.as_str(), record.as_deref(), version).map_err(storage)?;
        let mut quotas = Quotas::clone(&before.quotas);
        match quota {
            Some(quota) => drop(quotas.insert(namespace.clone(), quota)),
            None => drop(quotas.remove(namespace)),
        }
        let functions = before.functions.clone();
        let quotas = Arc::new(quotas);
        self.snapshot.send_replace(Arc::new(Snapshot { version, functions, quotas }));
        Ok(())
    }
}

/// The quotas of these records.
pub(super) fn read(records: &[Vec<u8>]) -> Result<Quotas, String> {
    records.iter().map(|bytes| decode(bytes)).collect()
}

fn encode(namespace: &Label, quota: &Quota) -> Vec<u8> {
    let Quota { functions, memory, cpu_millis, calls } = quota;
    json!({
        "namespace": namespace.as_str(),
        "functions": functions,
        "memory": memory,
        "cpuMillis": cpu_millis,
        "calls": calls,
    })
    .to_string()
    .into_bytes()
}

/// A record with a field that is missing or wrong is none: less than was said would bound nothing.
fn decode(bytes: &[u8]) -> Result<(Label, Quota), String> {
    let record = records::parse(bytes)?;
    let number = |field: &str| match record.get(field) {
        Some(Value::Null) => Ok(None),
        _ => records::number(&record, field).map(Some),
    };
    let small = |field: &str| {
        let number = number(field)?;
        number.map(u32::try_from).transpose().map_err(|_| format!("`{field}` is too large"))
    };
    let namespace = records::text(&record, "namespace")?.parse();
    Ok((
        namespace.map_err(|error| format!("`namespace`: {error}"))?,
        Quota {
            functions: small("functions")?,
            memory: number("memory")?,
            cpu_millis: small("cpuMillis")?,
            calls: small("calls")?,
        },
    ))
}

#[cfg(test)]
mod tests {
    use dhow_core::name::FunctionName;
    use dhow_core::ports::Catalog as _;

    use super::super::EmbeddedCatalog;
    use super::super::tests::new;
    use super::*;
    use crate::folder::DataFolder;

    fn open(path: &std::path::Path) -> EmbeddedCatalog {
        EmbeddedCatalog::open(&Arc::new(DataFolder::open(path).unwrap())).unwrap()
    }

    fn two() -> Quota {
        Quota { functions: Some(2), memory: Some(5 << 30), cpu_millis: None, calls: Some(7) }
    }

    #[tokio::test]
    async fn quotas_outlive_the_process_and_are_news_to_readers() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = open(folder.path());
        let (shop, gone): (Label, Label) = ("shop".parse().unwrap(), "gone".parse().unwrap());
        catalog.set_quota(shop.clone(), Some(two())).await.unwrap();
        catalog.set_quota(gone.clone(), Some(Quota::default())).await.unwrap();
        let mut watch = catalog.watch();
        let version = watch.borrow_and_update().version;
        catalog.set_quota(shop.clone(), Some(two())).await.unwrap();
        assert!(!watch.has_changed().unwrap(), "what is so already is no change");
        catalog.set_quota(gone, None).await.unwrap();
        assert_eq!(watch.borrow_and_update().version, version + 1);
        drop(catalog);
        let catalog = open(folder.path());
        assert_eq!(*catalog.snapshot().quotas, Quotas::from([(shop, two())]));
        assert_eq!(catalog.snapshot().version, version + 1);
    }

    #[tokio::test]
    async fn one_function_more_than_the_quota_is_refused_and_others_change_as_they_like() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = open(folder.path());
        catalog.deploy(new("a", 1, &[])).await.unwrap();
        catalog.set_quota(Label::default_namespace(), Some(two())).await.unwrap();
        catalog.deploy(new("b", 1, &[])).await.unwrap();
        let refused = catalog.deploy(new("c", 1, &[])).await;
        assert!(matches!(refused, Err(CatalogError::Quota(_))), "{refused:?}");
        catalog.deploy(new("a", 2, &[])).await.unwrap();
        catalog.deploy(new("c.other", 1, &[])).await.unwrap();
        catalog.delete(FunctionName::parse("b").unwrap()).await.unwrap();
        catalog.deploy(new("c", 1, &[])).await.unwrap();
    }

    #[test]
    fn a_record_that_says_less_is_refused() {
        let shop = "shop".parse().unwrap();
        let whole: Value = serde_json::from_slice(&encode(&shop, &two())).unwrap();
        assert_eq!(decode(whole.to_string().as_bytes()), Ok((shop, two())));
        for field in ["namespace", "functions", "memory", "cpuMillis", "calls"] {
            let mut less = whole.clone();
            less.as_object_mut().unwrap().remove(field);
            assert!(decode(less.to_string().as_bytes()).is_err(), "{field}");
        }
    }
}
