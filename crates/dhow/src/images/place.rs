//! What a SOURCE on the command line or a path in a manifest means.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use dhow_oci::layout::Layout;
use dhow_oci::reference::Reference;

use crate::cli::error::CommandError;

/// Where code is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file that is taken for a module.
    Module(PathBuf),
    /// A folder with an image layout, and the name of an entry in it.
    Layout(PathBuf, Option<String>),
    /// An archive of an image: an image layout, or what `docker save` writes.
    Archive(PathBuf, Option<String>),
    /// An image of a registry.
    Image(Reference),
}

/// How skopeo and podman name these places.
const LAYOUT: &str = "oci:";
const ARCHIVES: [&str; 2] = ["oci-archive:", "docker-archive:"];

impl Place {
    /// Reads what was typed: `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]`,
    /// `docker-archive:FILE[:NAME]`, a path that exists or looks like one, or a reference.
    ///
    /// # Errors
    /// When it is none of them.
    pub(crate) fn of(text: &str) -> Result<Self, CommandError> {
        if let Some(rest) = text.strip_prefix(LAYOUT) {
            let (folder, name) = named(rest);
            return Ok(Self::Layout(folder, name));
        }
        if let Some(rest) = ARCHIVES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
            let (file, name) = named(rest);
            return Ok(Self::Archive(file, name));
        }
        let path = Path::new(text);
        if path.exists() || looks_like_a_path(text) {
            return Self::of_path(path);
        }
        text.parse().map(Self::Image).map_err(|error| {
            CommandError::usage(format!(
                "there is no file `{text}`, and it is no reference of an image: {error}"
            ))
            .hint("name a .wasm or .wat file, an image layout or archive, or HOST/PATH:TAG")
        })
    }

    /// What is at `path`.
    ///
    /// # Errors
    /// When it can't be looked at, or is a folder without an image.
    pub(crate) fn of_path(path: &Path) -> Result<Self, CommandError> {
        let shown = path.display();
        let unreadable = |error| CommandError::file("the module", &shown, &error);
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        if metadata.is_dir() {
            return match Layout::is_one(path) {
                true => Ok(Self::Layout(path.to_owned(), None)),
                false => Err(CommandError::failure(format!("`{shown}` is a folder")).hint(
                    "name a module or an image layout; this version of dhow builds no sources",
                )),
            };
        }
        let mut head = Vec::new();
        let mut file = File::open(path).map_err(unreadable)?.take(512);
        file.read_to_end(&mut head).map_err(unreadable)?;
        Ok(match is_archive(&head) {
            true => Self::Archive(path.to_owned(), None),
            false => Self::Module(path.to_owned()),
        })
    }
}

/// `PATH:NAME`. A name has no slash before its first colon.
fn named(text: &str) -> (PathBuf, Option<String>) {
    match text.split_once(':') {
        Some((path, name)) if !name.is_empty() => (path.into(), Some(name.to_owned())),
        _ => (text.trim_end_matches(':').into(), None),
    }
}

/// Whether whoever wrote this had a file in mind, though there may be none.
fn looks_like_a_path(text: &str) -> bool {
    let ending = Path::new(text).extension().and_then(|ending| ending.to_str());
    text.starts_with(['/', '.', '~'])
        || (!text.contains('/') || !text.contains(':'))
            && matches!(ending, Some("wasm" | "wat" | "tar" | "tgz" | "toml" | "yaml"))
}

/// A tar archive (POSIX ustar and GNU have this at byte 257), gzip or zstd.
fn is_archive(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
        || head.starts_with(&[0x1f, 0x8b])
        || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_a_path_or_a_reference() {
        let image = |text: &str| Ok(Place::Image(text.parse().unwrap()));
        assert_eq!(Place::of("ghcr.io/me/hello:v1"), image("ghcr.io/me/hello:v1"));
        assert_eq!(
            Place::of("localhost:5000/hello.wasm:v1"),
            image("localhost:5000/hello.wasm:v1")
        );
        assert_eq!(Place::of("hello"), image("docker.io/library/hello"));
        for (text, folder, name) in
            [("oci:a/b", "a/b", None), ("oci:a:v1", "a", Some("v1")), ("oci:a:", "a", None)]
        {
            let name = name.map(str::to_owned);
            assert_eq!(Place::of(text), Ok(Place::Layout(folder.into(), name)));
        }
        let name = Some("localhost/x:v1".to_owned());
        let archive = Place::of("docker-archive:a.tar:localhost/x:v1");
        assert_eq!(archive, Ok(Place::Archive("a.tar".into(), name)));
        for missing in ["hello.wasm", "./hello", "/no/such", "dir/hello.wat"] {
            let error = Place::of(missing).unwrap_err();
            assert!(error.message.contains("can't be read"), "{missing}: {error}");
        }
        assert!(Place::of("Hello World").unwrap_err().message.contains("no reference"));
    }

    #[test]
    fn what_is_there_is_told_by_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| Place::of(folder.path().join(name).to_str().unwrap());
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        };
        write("module", b"\0asm\x01\0\0\0");
        write("image.wasm", &[0x1f, 0x8b, 8, 0]);
        std::fs::create_dir(folder.path().join("layout")).unwrap();
        write("layout/oci-layout", b"{}");
        assert_eq!(of("module"), Ok(Place::Module(folder.path().join("module"))));
        assert_eq!(of("image.wasm"), Ok(Place::Archive(folder.path().join("image.wasm"), None)));
        assert_eq!(of("layout"), Ok(Place::Layout(folder.path().join("layout"), None)));
        assert!(of("").unwrap_err().message.contains("is a folder"));
    }
}
