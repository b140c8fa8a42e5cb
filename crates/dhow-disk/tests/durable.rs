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
    let folder = tempfile::tempdir().unwrap();
    let record = Files::new(folder.path(), syncs);
    let steps = Recorded(record.clone());
    let below = folder.path().join("a/b");
    make_private(&steps, &below).unwrap();
    let file = NamedTempFile::new_in(folder.path()).unwrap();
    fs::write(file.path(), "whole").unwrap();
    keep(&steps, file, &below.join("file")).unwrap();
    record.acknowledge();
    let images = record.images().into_iter().filter(|image| image.acknowledged == 1);
    let has_it = images.map(|image| {
        let left = tempfile::tempdir().unwrap();
        image.write(left.path()).unwrap();
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
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let shared = folder.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
    make_private(&System, &shared.join("a/b")).unwrap();
    assert_eq!(mode(&shared), 0o755);
    assert_eq!(mode(&shared.join("a")), 0o700);
    assert_eq!(mode(&shared.join("a/b")), 0o700);
}
