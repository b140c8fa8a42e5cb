//! Manifests and indexes, read from strangers' bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::budget::{MOST_INDEX_ENTRIES, MOST_LAYERS};
use super::descriptor::Descriptor;
use super::error::PullError;
use super::media;

/// What a reference leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image or artifact.
    Manifest(Manifest),
    /// A choice of them.
    Index(Index),
}

/// The parts of one image or artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// What the document says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact it is, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Free notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Manifests, or further indexes, for different platforms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// What the document says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What there is.
    pub manifests: Vec<Descriptor>,
}

/// What tells the two apart, and what neither may be.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
}

/// Reads a manifest or an index. `stated` is the media type that came with it, where one came.
///
/// # Errors
/// [`PullError::BadManifest`]; also for a document that could be read as both, or as another kind
/// than it says. [`PullError::TooLarge`] for too many layers or entries.
pub fn read(bytes: &[u8], stated: Option<&str>) -> Result<Document, PullError> {
    let outline: Outline = json("the manifest", bytes)?;
    if outline.schema_version != 2 {
        return Err(PullError::Unsupported(format!(
            "manifests of schema version {} are not read, only 2",
            outline.schema_version
        )));
    }
    let is_index = outline.manifests.is_some();
    if is_index && (outline.layers.is_some() || outline.config.is_some()) {
        return Err(PullError::manifest("the manifest", "it is an index and a manifest at once"));
    }
    match outline.media_type.as_deref().or(stated) {
        Some(media::OCI_INDEX | media::DOCKER_INDEX) if !is_index => {
            Err(PullError::manifest("the index", "`manifests` is missing"))
        }
        Some(media::OCI_MANIFEST | media::DOCKER_MANIFEST) if is_index => {
            Err(PullError::manifest("the manifest", "it says so, but has the parts of an index"))
        }
        _ if is_index => read_index(bytes).map(Document::Index),
        _ => read_manifest(bytes).map(Document::Manifest),
    }
}

fn read_index(bytes: &[u8]) -> Result<Index, PullError> {
    let index: Index = json("the index", bytes)?;
    within("the index's number of entries", index.manifests.len(), MOST_INDEX_ENTRIES)?;
    Ok(index)
}

fn read_manifest(bytes: &[u8]) -> Result<Manifest, PullError> {
    let manifest: Manifest = json("the manifest", bytes)?;
    within("the manifest's number of layers", manifest.layers.len(), MOST_LAYERS)?;
    Ok(manifest)
}

fn within(what: &str, count: usize, most: usize) -> Result<(), PullError> {
    if count > most {
        return Err(PullError::TooLarge { what: what.to_owned(), most: most.to_string() });
    }
    Ok(())
}

pub(super) fn json<'a, T: Deserialize<'a>>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<T, PullError> {
    serde_json::from_slice(bytes).map_err(|error| PullError::manifest(what, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTOR: &str = r#"{"mediaType":"application/wasm","size":3,
        "digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#;

    fn reason(text: &str, stated: Option<&str>) -> &'static str {
        read(text.as_bytes(), stated).unwrap_err().reason()
    }

    #[test]
    fn manifests_and_indexes_are_told_apart_by_their_parts() {
        let manifest = format!(r#"{{"schemaVersion":2,"config":{DESCRIPTOR},"layers":[]}}"#);
        assert!(matches!(read(manifest.as_bytes(), None), Ok(Document::Manifest(_))));
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{DESCRIPTOR}]}}"#);
        assert!(matches!(read(index.as_bytes(), None), Ok(Document::Index(_))));
        assert_eq!(reason(&index, Some(media::OCI_MANIFEST)), "bad-manifest");
        assert_eq!(reason(&manifest, Some(media::DOCKER_INDEX)), "bad-manifest");
    }

    #[test]
    fn what_could_be_read_in_two_ways_or_in_none_is_refused() {
        let both =
            format!(r#"{{"schemaVersion":2,"manifests":[],"config":{DESCRIPTOR},"layers":[]}}"#);
        assert_eq!(reason(&both, None), "bad-manifest");
        for bad in ["", "[]", "{}", r#"{"schemaVersion":2}"#, r#"{"schemaVersion":2,"layers":[]}"#]
        {
            assert_eq!(reason(bad, None), "bad-manifest", "{bad}");
        }
        assert_eq!(reason(r#"{"schemaVersion":1,"name":"old"}"#, None), "unsupported");
        let climbing = DESCRIPTOR.replace("sha256:aa", "sha256:..");
        let climbing = format!(r#"{{"schemaVersion":2,"manifests":[{climbing}]}}"#);
        assert_eq!(reason(&climbing, None), "bad-manifest");
        let negative = DESCRIPTOR.replace(":3", ":-3");
        let negative = format!(r#"{{"schemaVersion":2,"manifests":[{negative}]}}"#);
        assert_eq!(reason(&negative, None), "bad-manifest");
    }

    #[test]
    fn too_many_layers_and_too_much_depth_are_refused() {
        let layers = vec![DESCRIPTOR; MOST_LAYERS + 1].join(",");
        let many = format!(r#"{{"schemaVersion":2,"config":{DESCRIPTOR},"layers":[{layers}]}}"#);
        assert_eq!(reason(&many, None), "too-large");
        let deep = format!(r#"{{"schemaVersion":2,"manifests":{}"#, "[".repeat(100_000));
        assert_eq!(reason(&deep, None), "bad-manifest");
    }
}
