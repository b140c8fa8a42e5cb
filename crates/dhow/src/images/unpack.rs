//! A Spin application out of an image, as a folder: a `spin.toml` with what is beside it as it
//! was, or the locked application as `spin.lock.json`, each component's module under its name, and
//! its files under `files/COMPONENT/`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dhow_core::digest::Digest;
use dhow_oci::image::pulled::{Entry, Pulled};
use dhow_oci::image::staged::Staged;

/// The locked application, as `spin registry push` wrote it.
const LOCKED: &str = "spin.lock.json";

/// Writes the application into `folder`, which is made whole or not at all.
///
/// # Errors
/// When the system refuses, or `folder` is there already.
pub(crate) fn unpack(pulled: &Pulled, folder: &Path) -> io::Result<()> {
    let parent = match folder.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let beside = tempfile::Builder::new().prefix(".pulling-").tempdir_in(parent)?;
    let mut written: HashMap<PathBuf, Digest> = HashMap::new();
    for (path, file) in files(pulled) {
        match written.insert(path.clone(), file.digest) {
            None => copy(file, &beside.path().join(path))?,
            Some(same) if same == file.digest => {}
            Some(_) => {
                let message = format!("two files of it would be `{}`", path.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
            }
        }
    }
    // Over an empty folder, too, but over nothing that holds something.
    fs::rename(beside.path(), folder)?;
    open_to_others(folder)?;
    let _renamed = beside.keep();
    Ok(())
}

/// As a new file, and not as the private one that it is copied from.
fn copy(file: &Staged, place: &Path) -> io::Result<()> {
    if let Some(within) = place.parent() {
        fs::create_dir_all(within)?;
    }
    let mut from = fs::File::open(&file.path)?;
    io::copy(&mut from, &mut fs::File::create_new(place)?)?;
    Ok(())
}

/// Each file of the application, and its place in the folder.
fn files(pulled: &Pulled) -> Vec<(PathBuf, &Staged)> {
    let mut files: Vec<(PathBuf, &Staged)> = pulled
        .files
        .iter()
        .map(|file| match &file.component {
            Some(component) => {
                (Path::new("files").join(plain(component)).join(&file.path), &file.file)
            }
            None => (PathBuf::from(&file.path), &file.file),
        })
        .collect();
    if let Entry::Spin(locked) = &pulled.entry {
        files.push((LOCKED.into(), locked));
        let modules = pulled.modules.iter();
        files.extend(
            modules.map(|module| (format!("{}.wasm", plain(&module.name)).into(), &module.file)),
        );
    }
    files
}

/// A component's name as one name of a path.
fn plain(name: &str) -> String {
    let name = name.replace(['/', '\0'], "_");
    if matches!(name.as_str(), "" | "." | "..") { "_".to_owned() } else { name }
}

/// A temporary folder is its maker's alone; what was pulled is a folder like others.
fn open_to_others(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use dhow_oci::image::classify::Format;
    use dhow_oci::image::pulled::{AppFile, Module};

    use super::*;

    #[test]
    fn an_application_is_a_folder_with_modules_and_files() {
        let source = tempfile::tempdir().unwrap();
        let staged = |text: &str| {
            let path = source.path().join(text);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let mut digest = [0; 32];
            digest[..text.len()].copy_from_slice(text.as_bytes());
            Staged { digest: Digest::from_bytes(digest), size: 1, path }
        };
        let module = |name: &str, text| Module { name: name.to_owned(), file: staged(text) };
        let file = AppFile {
            component: Some("web".to_owned()),
            path: "static/a.txt".to_owned(),
            file: staged("text"),
        };
        let mut pulled = Pulled {
            manifest: Digest::from_bytes([0; 32]),
            index: None,
            format: Format::Spin,
            modules: vec![module("web", "one"), module("web/dependency", "two"), module("..", "3")],
            files: vec![file],
            entry: Entry::Spin(staged("locked")),
            labels: Default::default(),
            warnings: vec![],
        };
        let target = tempfile::tempdir().unwrap();
        let folder = target.path().join("app");
        unpack(&pulled, &folder).unwrap();
        for (path, text) in [
            ("spin.lock.json", "locked"),
            ("web.wasm", "one"),
            ("web_dependency.wasm", "two"),
            ("_.wasm", "3"),
            ("files/web/static/a.txt", "text"),
        ] {
            assert_eq!(fs::read_to_string(folder.join(path)).unwrap(), text);
            let mode = fs::metadata(folder.join(path)).unwrap().permissions().mode();
            assert_ne!(mode & 0o044, 0, "{path}");
        }
        unpack(&pulled, &folder).unwrap_err();
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1);

        // The same file under one name twice is one file, two files are none.
        pulled.modules.push(module("web", "one"));
        unpack(&pulled, &target.path().join("same")).unwrap();
        pulled.modules.push(module("web_dependency", "other"));
        let error = unpack(&pulled, &target.path().join("other")).unwrap_err();
        assert!(error.to_string().contains("web_dependency.wasm"), "{error}");
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 2);
    }
}
