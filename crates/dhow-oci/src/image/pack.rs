//! What `dhow push` sends: a module as an artifact or an image. The same module and the same words
//! give the same bytes.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use bytes::Bytes;
use dhow_core::digest::Digest;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::config::{ImageConfig, Start};
use super::descriptor::{Descriptor, Platform};
use super::error::PullError;
use super::manifest::{Index, Manifest};
use super::media;
use crate::layout::{INDEX, MARK, NAME, place};

/// The formats that are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// The CNCF's Wasm OCI artifact.
    WasmArtifact(Outside),
    /// What wasm-to-oci pushes.
    WasmToOci,
    /// A `FROM scratch` image for `wasi/wasm` with the module at `/NAME`.
    Scratch,
}

/// What a module is from outside, as its artifact's configuration says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outside {
    /// For a component: what it exports and imports. `None`: a core module.
    pub component: Option<Component>,
}

/// A component's interfaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Component {
    /// As in `wasi:http/incoming-handler@0.2.0`.
    pub exports: Vec<String>,
    /// As in `wasi:cli/environment@0.2.0`.
    pub imports: Vec<String>,
}

/// What is pushed besides the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// The module's file name; it has no `/`.
    pub name: String,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A packed image: blobs first, then the manifest that names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The manifest.
    pub manifest: Bytes,
    /// How it is named.
    pub descriptor: Descriptor,
    /// The configuration and the layer.
    pub blobs: Vec<(Descriptor, Bytes)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WasmConfig<'c> {
    created: &'static str,
    architecture: &'static str,
    os: &'static str,
    layer_digests: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<&'c Component>,
}

/// Packs `module`.
///
/// # Errors
/// [`PullError::NotWasm`] when it is no module, [`PullError::UnsafePath`] for a bad name.
pub fn pack(module: Bytes, shape: &Shape, words: &Words) -> Result<Packed, PullError> {
    if !module.starts_with(super::layers::rootfs::WASM_MAGIC) {
        return Err(PullError::NotWasm("it does not begin as a module".to_owned()));
    }
    let bad_name = matches!(words.name.as_str(), "" | "." | "..")
        || words.name.starts_with(".wh.")
        || words.name.len() > 100
        || words.name.contains(['/', '#'])
        || words.name.contains(char::is_control);
    if bad_name {
        let path = super::classify::printable(&words.name);
        return Err(PullError::UnsafePath { path, why: "a file in an image can't have this name" });
    }
    let (config, config_type, layer, layer_type) = match shape {
        Shape::WasmArtifact(outside) => {
            (wasm_config(&module, outside)?, media::WASM_CONFIG, module, media::WASM)
        }
        Shape::WasmToOci => {
            (b"{}".to_vec(), media::WASM_TO_OCI_CONFIG, module, media::WASM_TO_OCI_LAYER)
        }
        Shape::Scratch => {
            let layer = scratch_layer(&module, &words.name)
                .map_err(PullError::io("the layer can't be written"))?;
            let start =
                Start { entrypoint: Some(vec![format!("/{}", words.name)]), ..Start::default() };
            let config = json(&ImageConfig::of_one_layer("wasi", start, digest(&layer)))?;
            (config, media::OCI_CONFIG, Bytes::from(layer), media::OCI_LAYER)
        }
    };
    let config = Bytes::from(config);
    let mut described = descriptor(&layer, layer_type);
    if *shape != Shape::Scratch {
        let title = "org.opencontainers.image.title".to_owned();
        described.annotations = Some(BTreeMap::from([(title, words.name.clone())]));
    }
    let config_descriptor = descriptor(&config, config_type);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::OCI_MANIFEST.to_owned()),
        artifact_type: None,
        config: config_descriptor.clone(),
        layers: vec![described.clone()],
        annotations: Some(words.annotations.clone()).filter(|notes| !notes.is_empty()),
    };
    let manifest = Bytes::from(json(&manifest)?);
    Ok(Packed {
        descriptor: descriptor(&manifest, media::OCI_MANIFEST),
        manifest,
        blobs: vec![(config_descriptor, config), (described, layer)],
    })
}

impl Packed {
    /// Writes it as an image layout into `folder`, which is made. `name` becomes its tag.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write_layout(&self, folder: &Path, name: &str) -> Result<(), PullError> {
        let failed = "the layout can't be written";
        let write = |path: &str, bytes: &[u8]| {
            std::fs::write(folder.join(path), bytes).map_err(PullError::io(failed))
        };
        std::fs::create_dir_all(folder.join("blobs/sha256")).map_err(PullError::io(failed))?;
        for (blob, bytes) in &self.blobs {
            write(&place(&blob.digest), bytes)?;
        }
        write(&place(&self.descriptor.digest), &self.manifest)?;
        let mut entry = self.descriptor.clone();
        entry.annotations = Some(BTreeMap::from([(NAME.to_owned(), name.to_owned())]));
        if self.is_image() {
            entry.platform =
                Some(Platform { os: "wasi".to_owned(), architecture: "wasm".to_owned() });
        }
        let media_type = Some(media::OCI_INDEX.to_owned());
        let index = Index { schema_version: 2, media_type, manifests: vec![entry] };
        write(INDEX, &json(&index)?)?;
        write(MARK, br#"{"imageLayoutVersion":"1.0.0"}"#)
    }

    fn is_image(&self) -> bool {
        self.blobs.iter().any(|(blob, _)| blob.media_type == media::OCI_CONFIG)
    }
}

fn wasm_config(module: &[u8], outside: &Outside) -> Result<Vec<u8>, PullError> {
    json(&WasmConfig {
        // So that bytes do not depend on the day.
        created: "1970-01-01T00:00:00Z",
        architecture: "wasm",
        os: if outside.component.is_some() { "wasip2" } else { "wasip1" },
        layer_digests: vec![digest(module).to_string()],
        component: outside.component.as_ref(),
    })
}

fn scratch_layer(module: &[u8], name: &str) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(module.len() as u64);
    header.set_mode(0o755);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, module)?;
    tar.into_inner()
}

fn descriptor(bytes: &[u8], media_type: &str) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest(bytes),
        size: bytes.len() as u64,
        platform: None,
        annotations: None,
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, PullError> {
    serde_json::to_vec(value).map_err(|error| PullError::manifest("what is packed", error))
}
