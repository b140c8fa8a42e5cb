//! How a file comes to stay, whenever the power goes: written beside its place and synced, then
//! renamed, then its folder synced. Who acknowledges something does so after the last step.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

/// The steps. [`System`] takes them; tests take them too, and make images of what a cut leaves.
pub(crate) trait Steps: std::fmt::Debug + Send + Sync {
    /// Has the bytes of `file`, which is at `path`, on the disk when it returns.
    fn sync(&self, path: &Path, file: &File) -> io::Result<()>;

    /// Gives what is at `from` the name `to`; what had it is gone.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes one folder, open to its owner alone.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;

    /// Has the names in `folder` on the disk when it returns.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// The system that this process runs on.
#[derive(Debug)]
pub(crate) struct System;

impl Steps for System {
    fn sync(&self, _: &Path, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

/// Puts a file that was written at `place`, durably, over one that may be there.
pub(crate) fn keep(steps: &dyn Steps, file: NamedTempFile, place: &Path) -> io::Result<()> {
    steps.sync(file.path(), file.as_file())?;
    steps.rename(file.path(), place)?;
    // Its name is no longer one to be removed.
    file.keep().map_err(|error| error.error)?;
    steps.sync_folder(parent(place))
}

/// Makes `path` and what leads there, if absent, open to the owner alone and durably. A folder that
/// is there keeps its mode: it may be one that others have business in.
pub(crate) fn make_private(steps: &dyn Steps, path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent(path);
    make_private(steps, parent)?;
    match steps.make_folder(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    match steps.sync_folder(parent) {
        // One that may be written and not read, which is somebody else's, can't be synced.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use dhow_testkit::power::Syncs;
    use dhow_testkit::power::files::Files;

    use super::*;

    /// Takes the steps, or forgets to sync, and records them.
    #[derive(Debug)]
    pub(crate) struct Recorded(pub(crate) Files);

    impl Steps for Recorded {
        fn sync(&self, path: &Path, file: &File) -> io::Result<()> {
            System.sync(path, file)?;
            self.0.synced(path)
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            System.rename(from, to)?;
            self.0.renamed(from, to);
            Ok(())
        }

        fn make_folder(&self, folder: &Path) -> io::Result<()> {
            System.make_folder(folder)?;
            self.0.made(folder);
            Ok(())
        }

        fn sync_folder(&self, folder: &Path) -> io::Result<()> {
            System.sync_folder(folder)?;
            self.0.folder_synced(folder);
            Ok(())
        }
    }

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
}
