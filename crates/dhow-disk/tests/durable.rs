//! What is kept durably outlives the power. From outside the crate, since the testkit uses it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use dhow_disk::durable::{System, keep, make_private};
use dhow_testkit::power::Syncs;
use dhow_testkit::power::files::{Files, Recorded};
use tempfile::NamedTempFile;

/// How many of the images of a file that was kept do not have it.
fn without_it(syncs: Syncs) -> usize {
    let folder = tempfile::tempdir().expect("a disk with room");
    let record = Files::new(folder.path(), syncs);
    let steps = Recorded(record.clone());
    let below = folder.path().join("a/b");
    make_private(&steps, &below).expect("a disk with room");
    let file = NamedTempFile::new_in(folder.path()).expect("a disk with room");
    fs::write(file.path(), "whole").expect("a disk with room");
    keep(&steps, file, &below.join("file")).expect("a disk with room");
    record.acknowledge();
    let images = record.images().into_iter().filter(|image| image.acknowledged == 1);
    let has_it = images.map(|image| {
        let left = tempfile::tempdir().expect("a disk with room");
        image.write(left.path()).expect("a disk with room");
        fs::read(left.path().join("a/b/file")).is_ok_and(|bytes| bytes == b"whole")
    });
    has_it.filter(|has_it| !has_it).count()
}

#[test]
fn what_is_kept_outlives_the_power_with_the_folders_that_lead_there() {
    assert_eq!(without_it(Syncs::Kept), 0);
    assert!(without_it(Syncs::Ignored) > 0);
}

#[test]
fn folders_are_made_private_and_those_that_are_there_keep_their_mode() {
    let folder = tempfile::tempdir().expect("a disk with room");
    let mode =
        |path: &Path| fs::metadata(path).expect("a disk with room").permissions().mode() & 0o777;
    let shared = folder.path().join("shared");
    fs::create_dir(&shared).expect("a disk with room");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).expect("a disk with room");
    make_private(&System, &shared.join("a/b")).expect("a disk with room");
    assert_eq!(mode(&shared), 0o755);
    assert_eq!(mode(&shared.join("a")), 0o700);
    assert_eq!(mode(&shared.join("a/b")), 0o700);
}
