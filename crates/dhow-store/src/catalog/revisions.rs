//! Changes among the revisions of a function that are kept: rollbacks and splits.

use std::sync::Arc;

use dhow_core::function::{Deployed, Function, Kept, RolledBack};
use dhow_core::name::FunctionName;
use dhow_core::ports::{CatalogError, Snapshot};
use dhow_core::traffic::{Traffic, Weighted};

use super::disk::Disk;
use super::records::{self, FunctionRecord};
use super::{Inner, find, storage, traffic};

/// A function's revisions as they are written, oldest first.
struct Written {
    name: FunctionName,
    revisions: Vec<(u64, Vec<u8>)>,
}

impl Inner {
    pub(super) fn roll_back(
        &self,
        name: &FunctionName,
        to: u64,
        now_ms: u64,
    ) -> Result<Deployed, CatalogError> {
        let mut disk = self.disk.lock();
        let before = Arc::clone(&self.snapshot.borrow());
        let current = current(&before, name)?;
        if current.revision.number == to && current.split.is_empty() {
            return Ok(Deployed::clone(current));
        }
        let bytes = Written::read(&mut disk, name)?.find(to)?;
        let Kept { revision, deployed_ms } =
            records::decode_kept(to, &bytes).map_err(CatalogError::Storage)?;
        let said = records::decode_said(&bytes).map_err(CatalogError::Storage)?;
        let rolled_back = match current.revision.number {
            // Only a split is ended.
            from if from == to => current.rolled_back,
            from => Some(RolledBack { from, at_ms: now_ms }),
        };
        let record = FunctionRecord {
            revision: to,
            deployed_ms: deployed_ms.unwrap_or_default(),
            version: before.version + 1,
            traffic: Traffic::default(),
            rolled_back,
            // What is the function's and not the revision's stays: its routes, what is noted about
            // it, and what stands before it, which a rollback must not take away.
            function: Function {
                routes: current.routes.clone(),
                access: current.access.as_deref().cloned().unwrap_or_default(),
                metadata: current.metadata.as_deref().cloned().unwrap_or_default(),
                ..said
            },
        };
        self.put(&mut disk, &before, record, |record| record.deployed(revision, vec![]))
    }

    pub(super) fn split(
        &self,
        name: &FunctionName,
        wanted: Traffic,
    ) -> Result<Deployed, CatalogError> {
        let mut disk = self.disk.lock();
        let before = Arc::clone(&self.snapshot.borrow());
        let current = current(&before, name)?;
        if traffic(&current.split) == wanted {
            return Ok(Deployed::clone(current));
        }
        let written = Written::read(&mut disk, name)?;
        let weighted = wanted.shares().iter().map(|share| {
            let bytes = written.find(share.revision)?;
            let revision = records::decode_revision(share.revision, &bytes);
            let revision = Arc::new(revision.map_err(CatalogError::Storage)?);
            Ok(Weighted { revision, weight: share.weight })
        });
        let split = weighted.collect::<Result<Vec<_>, CatalogError>>()?;
        let lost = || CatalogError::Storage(format!("`{name}` has lost its record"));
        let record = disk.function(name).map_err(storage)?.ok_or_else(lost)?;
        let record = FunctionRecord {
            version: before.version + 1,
            traffic: wanted,
            ..FunctionRecord::decode(&record).map_err(CatalogError::Storage)?
        };
        let revision = Arc::clone(&current.revision);
        self.put(&mut disk, &before, record, |record| record.deployed(revision, split))
    }

    pub(super) fn revisions(&self, name: FunctionName) -> Result<Vec<Kept>, CatalogError> {
        let mut disk = self.disk.lock();
        let before = Arc::clone(&self.snapshot.borrow());
        let current = current(&before, &name)?;
        let written = Written::read(&mut disk, &name)?.revisions;
        let kept = written.iter().rev().map(|(number, bytes)| {
            let mut kept = records::decode_kept(*number, bytes).map_err(CatalogError::Storage)?;
            if *number == current.revision.number {
                // Written down with the function by every dhow.
                kept.deployed_ms = Some(current.deployed_ms).filter(|at| *at != 0);
            }
            Ok(kept)
        });
        kept.collect()
    }

    /// Writes `record` of a function that is deployed, and shows it to readers.
    fn put(
        &self,
        disk: &mut Disk,
        before: &Snapshot,
        record: FunctionRecord,
        deployed: impl FnOnce(FunctionRecord) -> Deployed,
    ) -> Result<Deployed, CatalogError> {
        let name = record.function.name.clone();
        disk.put(&name, &record.encode(), record.version).map_err(storage)?;
        let deployed = deployed(record);
        self.publish(before, &name, Some(deployed.clone()));
        Ok(deployed)
    }
}

impl Written {
    fn read(disk: &mut Disk, name: &FunctionName) -> Result<Self, CatalogError> {
        let revisions = disk.revisions(name).map_err(storage)?;
        Ok(Self { name: name.clone(), revisions })
    }

    /// The bytes of revision `number`.
    fn find(&self, number: u64) -> Result<Vec<u8>, CatalogError> {
        let found = self.revisions.iter().find(|(kept, _)| *kept == number);
        found.map(|(_, bytes)| bytes.clone()).ok_or_else(|| CatalogError::NoRevision {
            function: self.name.clone(),
            number,
            kept: self.revisions.iter().map(|(kept, _)| *kept).collect(),
        })
    }
}

fn current<'s>(
    snapshot: &'s Snapshot,
    name: &FunctionName,
) -> Result<&'s Arc<Deployed>, CatalogError> {
    let place = find(snapshot, name).map_err(|_| CatalogError::NotFound(name.clone()))?;
    Ok(&snapshot.functions[place])
}
