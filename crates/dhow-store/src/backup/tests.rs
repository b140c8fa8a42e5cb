//! A folder out of an archive, whole or not at all: with the process killed at any step, with the
//! power cut, on a full disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dhow_core::ports::Catalog as _;
use dhow_disk::durable::System;
use http_body_util::Full;

use super::copy::CopyError;
use super::restore::{self, MAKING_ROOM, MOVING_IN, REPLACED, RestoreError};
use super::{Check, archive, copy};
use crate::blobs::{BlobStore, Room};
use crate::catalog::EmbeddedCatalog;
use crate::catalog::tests::new;
use crate::folder::{DataFolder, OpenError};
use crate::small_disk::SmallDisk;

/// A data folder with one function, whose module is `module`, and an archive of it.
async fn archive_of(name: &str, module: &'static str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), name, module).await;
    let mut archive = Vec::new();
    copy::folder(folder.path(), &mut archive, 7, &[]).unwrap();
    archive
}

async fn fill(path: &Path, name: &str, module: &'static str) {
    let folder = Arc::new(DataFolder::open(path).unwrap());
    let blobs = BlobStore::open(&folder, Room::boundless()).unwrap();
    let stored = blobs.put(Full::new(Bytes::from(module)), 100).await.unwrap();
    let catalog = EmbeddedCatalog::open(&folder).unwrap();
    let mut function = new(name, 1, &[]);
    function.digest = stored.digest;
    catalog.deploy(function).await.unwrap();
}

/// What is deployed in a folder, with the bytes of its modules.
fn deployed(path: &Path) -> Vec<(String, String)> {
    let folder = Arc::new(DataFolder::open(path).unwrap());
    let (catalog, blobs) = (
        EmbeddedCatalog::open(&folder).unwrap(),
        BlobStore::open(&folder, Room::boundless()).unwrap(),
    );
    let functions = &catalog.snapshot().functions;
    let of = functions.iter().map(|function| {
        let module = fs::read_to_string(blobs.place(&function.revision.digest)).unwrap();
        (function.name.name.to_string(), module)
    });
    of.collect()
}

/// Every file below `path`, with its bytes.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => drop(files.insert(entry.path(), fs::read(entry.path()).unwrap())),
            }
        }
    }
    files
}

/// Ends the process, so to speak, after so many steps.
#[derive(Debug)]
struct Killed(std::sync::atomic::AtomicUsize);

impl Killed {
    fn step(&self) -> std::io::Result<()> {
        use std::sync::atomic::Ordering::Relaxed;
        let left = self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| std::io::Error::other("killed"))
    }
}

impl dhow_disk::durable::Steps for Killed {
    fn sync(&self, path: &Path, file: &fs::File) -> std::io::Result<()> {
        self.step().and_then(|()| System.sync(path, file))
    }

    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.step().and_then(|()| System.rename(from, to))
    }

    fn make_folder(&self, folder: &Path) -> std::io::Result<()> {
        self.step().and_then(|()| System.make_folder(folder))
    }

    fn sync_folder(&self, folder: &Path) -> std::io::Result<()> {
        self.step().and_then(|()| System.sync_folder(folder))
    }
}

#[tokio::test]
async fn a_restore_that_is_killed_at_any_step_is_finished_by_the_next_start() {
    let archive = archive_of("restored", "new").await;
    let mut steps = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), "before", "old").await;
        // What `restore` does until the archive holds.
        let begun = folder.path().join(MAKING_ROOM);
        restore::unpack(&archive[..], &begun, &[]).unwrap();
        let killed = Killed(steps.into());
        let finished = restore::finish(&killed, folder.path());
        assert_eq!(deployed(folder.path()), [("restored".to_owned(), "new".to_owned())]);
        assert_eq!(
            deployed(&folder.path().join(REPLACED)),
            [("before".to_owned(), "old".to_owned())],
            "{steps} steps"
        );
        for name in [MAKING_ROOM, MOVING_IN] {
            assert!(!folder.path().join(name).exists(), "{name} after {steps} steps");
        }
        steps += 1;
        if finished.is_ok() {
            break;
        }
    }
    assert!(steps > 5, "only {steps} steps");
}

#[tokio::test]
async fn what_is_not_taken_changes_nothing() {
    let whole = archive_of("restored", "new").await;
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), "before", "old").await;
    let before = files(folder.path());
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        let error = restore::restore(&whole[..length], folder.path(), true, &[]).unwrap_err();
        assert!(matches!(error, RestoreError::Archive(_)), "{error}");
    }
    let error = restore::restore(&whole[..], folder.path(), false, &[]).unwrap_err();
    assert!(matches!(error, RestoreError::Occupied { .. }), "{error}");
    // An archive that is whole, but not one of a data folder.
    for (lacks, path) in [("catalog", "other"), ("catalog", "catalog.redb")] {
        let mut archive = Vec::new();
        let mut writer = archive::Writer::new(&mut archive, 1).unwrap();
        writer.add(Path::new(path), 4, &b"text"[..]).unwrap();
        writer.finish().unwrap();
        let error = restore::restore(&archive[..], folder.path(), true, &[]).unwrap_err();
        assert!(matches!(error, RestoreError::Catalog(_)), "{lacks}: {error}");
    }
    assert_eq!(files(folder.path()), before);
}

#[tokio::test]
async fn an_archive_without_a_module_that_is_needed_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), "f", "module").await;
    let catalog = fs::read(folder.path().join("catalog.redb")).unwrap();
    let mut archive = Vec::new();
    let mut writer = archive::Writer::new(&mut archive, 1).unwrap();
    writer.add(Path::new("catalog.redb"), catalog.len() as u64, &catalog[..]).unwrap();
    writer.finish().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let error = restore::restore(&archive[..], empty.path(), false, &[]).unwrap_err();
    assert!(matches!(error, RestoreError::Lacking(1)), "{error}");
}

#[tokio::test]
async fn a_full_disk_changes_nothing() {
    let archive = archive_of("restored", "new").await;
    let disk = SmallDisk::mount(4);
    fill(disk.path(), "before", "old").await;
    disk.fill();
    let error = restore::restore(&archive[..], disk.path(), true, &[]).unwrap_err();
    assert!(matches!(error, RestoreError::Open(OpenError::Full { .. })), "{error}");
    let mut copied = Vec::new();
    let error = copy::folder(disk.path(), &mut copied, 1, &[]).unwrap_err();
    assert!(matches!(error, copy::CopyError::Open(OpenError::Full { .. })), "{error}");
    disk.clear();
    assert_eq!(deployed(disk.path()), [("before".to_owned(), "old".to_owned())]);
    restore::restore(&archive[..], disk.path(), true, &[]).unwrap();
    assert_eq!(deployed(disk.path()), [("restored".to_owned(), "new".to_owned())]);
}

/// A check of the file `other.redb`, which is whole where it says so.
const OTHER: Check = Check {
    file: "other.redb",
    look: |copy, named| match fs::read_to_string(copy).unwrap().as_str() {
        "whole" => Ok(()),
        found => Err(format!("{} is {found}", named.display())),
    },
};

#[tokio::test]
async fn a_damaged_file_of_another_store_is_neither_archived_nor_restored() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), "f", "module").await;
    fs::write(folder.path().join("other.redb"), "damaged").unwrap();
    let mut archive = Vec::new();
    let error = copy::folder(folder.path(), &mut archive, 7, &[OTHER]).unwrap_err();
    assert!(matches!(error, CopyError::Damaged(_)), "{error}");
    assert!(error.to_string().ends_with("/other.redb is damaged"), "{error}");
    copy::folder(folder.path(), &mut archive, 7, &[]).unwrap();
    let empty = tempfile::tempdir().unwrap();
    let error = restore::restore(&archive[..], empty.path(), false, &[OTHER]).unwrap_err();
    assert!(matches!(error, RestoreError::Damaged(_)), "{error}");
    assert!(deployed(empty.path()).is_empty());
    fs::write(folder.path().join("other.redb"), "whole").unwrap();
    let mut archive = Vec::new();
    copy::folder(folder.path(), &mut archive, 7, &[OTHER]).unwrap();
    let other = tempfile::tempdir().unwrap();
    restore::restore(&archive[..], other.path(), false, &[OTHER]).unwrap();
    assert_eq!(deployed(other.path()), [("f".to_owned(), "module".to_owned())]);
}
