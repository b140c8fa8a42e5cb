//! Locked Spin applications, as far as their contents go: which blob is which component's module
//! or file. What the application means is read elsewhere.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dhow_core::digest::Digest;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::classify::printable;
use super::error::PullError;
use super::manifest::json;

const WHAT: &str = "the locked application";

/// The contents of a locked application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its modules, by name: a component's id, or `ID/DEPENDENCY`.
    pub modules: Vec<(String, Content)>,
    /// Its files: the component, the path, the bytes.
    pub files: Vec<(String, String, Content)>,
}

/// Where bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In a blob or an archive.
    Blob(Digest),
    /// In the application itself.
    Inline(Vec<u8>),
}

#[derive(Deserialize)]
struct Locked {
    spin_lock_version: u64,
    #[serde(default)]
    must_understand: Vec<String>,
    #[serde(default)]
    components: Vec<LockedComponent>,
}

#[derive(Deserialize)]
struct LockedComponent {
    id: String,
    source: Reference,
    #[serde(default)]
    files: Vec<LockedFile>,
    #[serde(default)]
    dependencies: BTreeMap<String, Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    source: Reference,
}

#[derive(Deserialize)]
struct LockedFile {
    path: String,
    #[serde(flatten)]
    content: Reference,
}

#[derive(Deserialize)]
struct Reference {
    digest: Option<String>,
    inline: Option<String>,
}

/// Whether `bytes` are a locked application: an object with `spin_lock_version`.
pub fn is_locked_application(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Mark {
        #[serde(rename = "spin_lock_version")]
        _version: serde::de::IgnoredAny,
    }
    serde_json::from_slice::<Mark>(bytes).is_ok()
}

/// Reads the contents of a locked application.
///
/// # Errors
/// [`PullError::BadManifest`], [`PullError::UnsafePath`] for a file outside of the component's
/// files, [`PullError::Unsupported`] for an application that must be understood better.
pub fn read(bytes: &[u8]) -> Result<Application, PullError> {
    let locked: Locked = json(WHAT, bytes)?;
    if locked.spin_lock_version > 1 {
        return Err(PullError::Unsupported(format!(
            "Spin's lock version {} is not read, only 0 and 1",
            locked.spin_lock_version
        )));
    }
    if let Some(part) = locked.must_understand.iter().find(|part| *part != "host_requirements") {
        let part = printable(part);
        return Err(PullError::Unsupported(format!(
            "the Spin application demands that `{part}` be understood, which is not known here"
        )));
    }
    if locked.components.is_empty() {
        return Err(PullError::NotWasm("the Spin application has no components".to_owned()));
    }
    let mut application = Application { modules: Vec::new(), files: Vec::new() };
    for component in locked.components {
        let id = component.id;
        application.modules.push((id.clone(), component.source.content()?));
        for (name, dependency) in component.dependencies {
            application.modules.push((format!("{id}/{name}"), dependency.source.content()?));
        }
        for file in component.files {
            let path = inside(&file.path)?;
            application.files.push((id.clone(), path, file.content.content()?));
        }
    }
    Ok(application)
}

impl Reference {
    fn content(self) -> Result<Content, PullError> {
        match (self.inline, self.digest) {
            (Some(inline), digest) => {
                let bytes = STANDARD
                    .decode(inline)
                    .map_err(|error| PullError::manifest(WHAT, format!("`inline`: {error}")))?;
                let found = Digest::from_bytes(Sha256::digest(&bytes).into()).to_string();
                match digest {
                    Some(digest) if digest != found => Err(PullError::manifest(
                        WHAT,
                        format!("`inline` is {found}, and the `digest` beside it another"),
                    )),
                    _ => Ok(Content::Inline(bytes)),
                }
            }
            (None, Some(digest)) => digest
                .parse()
                .map(Content::Blob)
                .map_err(|error| PullError::manifest(WHAT, format!("`digest`: {error}"))),
            (None, None) => Err(PullError::manifest(
                WHAT,
                "a content has neither `digest` nor `inline`: it was not pushed by Spin",
            )),
        }
    }
}

/// `path` as names alone. Spin writes it absolute at times; it is within the component's files
/// either way.
fn inside(path: &str) -> Result<String, PullError> {
    let refused = |why| PullError::UnsafePath { path: printable(path), why };
    if path.contains('\0') || path.len() > 4096 {
        return Err(refused("no file has this path"));
    }
    let mut names = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => names.extend(name.to_str()),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(refused("it climbs with `..`"));
            }
        }
    }
    if names.is_empty() {
        return Err(refused("it names no file"));
    }
    Ok(names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> &'static str {
        read(text.as_bytes()).unwrap_err().reason()
    }

    #[test]
    fn what_must_be_understood_and_is_not_is_refused() {
        assert_eq!(reason(r#"{"spin_lock_version":2}"#), "unsupported");
        assert_eq!(
            reason(r#"{"spin_lock_version":1,"must_understand":["teleport"]}"#),
            "unsupported"
        );
        assert_eq!(reason(r#"{"spin_lock_version":1,"components":[]}"#), "not-wasm");
        assert_eq!(
            reason(r#"{"spin_lock_version":1,"components":[{"id":"a","source":{}}]}"#),
            "bad-manifest"
        );
    }

    #[test]
    fn a_file_outside_is_refused() {
        let with = |path: &str| {
            format!(
                r#"{{"spin_lock_version":1,"components":[{{"id":"a","source":{{"inline":""}},
                    "files":[{{"path":"{path}","inline":"aGk="}}]}}]}}"#
            )
        };
        for path in ["../x", "/a/../../x", "a/..", "", "/", "a\\u0000b"] {
            assert_eq!(reason(&with(path)), "unsafe-path", "{path}");
        }
        let read = read(with("/a/./b.txt").as_bytes()).unwrap();
        let hi = Content::Inline(b"hi".to_vec());
        assert_eq!(read.files, [("a".into(), "a/b.txt".into(), hi)]);
        let other = with("a").replace(r#""aGk=""#, r#""aGk=","digest":"sha256:00""#);
        assert_eq!(reason(&other), "bad-manifest");
    }
}
