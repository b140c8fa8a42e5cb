//! Which format a manifest is of. Pure: a manifest and a configuration in, the parts by their use
//! out.

use super::config::ImageConfig;
use super::descriptor::Descriptor;
use super::error::PullError;
use super::manifest::Manifest;
use super::media;
use super::spin;

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// What wasm-to-oci and Krustlet's tools push.
    WasmToOci,
    /// The CNCF's Wasm OCI artifact.
    WasmArtifact,
    /// solo.io's and Istio's modules.
    Solo,
    /// An image with a layer that is a module, as runwasi reads it.
    Runwasi,
    /// A Spin application whose locked application is a layer.
    Spin,
    /// A Spin application whose locked application is the configuration, as Spin 1 wrote it.
    OldSpin,
    /// A Docker or OCI image of files.
    Image,
}

impl Format {
    /// Its name, for people and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::WasmToOci => "wasm-to-oci",
            Self::WasmArtifact => "wasm-artifact",
            Self::Solo => "solo",
            Self::Runwasi => "runwasi",
            Self::Spin => "spin",
            Self::OldSpin => "old-spin",
            Self::Image => "image",
        }
    }
}

/// What a manifest's parts are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parts<'m> {
    /// One layer is the module. `config` is the image's, where it is an image.
    Module {
        /// The module's layer.
        layer: &'m Descriptor,
        /// Of an image.
        config: Option<ImageConfig>,
    },
    /// Files in layers, lowest first.
    Rootfs {
        /// The layers.
        layers: &'m [Descriptor],
        /// What it starts.
        config: ImageConfig,
    },
    /// A Spin application.
    Spin {
        /// The locked application's layer; `None`: it is the configuration.
        application: Option<&'m Descriptor>,
    },
}

/// A manifest, told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified<'m> {
    /// Its format.
    pub format: Format,
    /// Its parts.
    pub parts: Parts<'m>,
    /// What a user should hear.
    pub warnings: Vec<String>,
}

/// Tells a manifest apart, by the media types of its layers first and of its configuration then.
/// `config` is the configuration's bytes.
///
/// # Errors
/// [`PullError::NotWasm`] for what can't hold WebAssembly, [`PullError::Unsupported`] for a format
/// that says more than is run, [`PullError::BadManifest`] for a bad configuration.
pub fn classify<'m>(manifest: &'m Manifest, config: &[u8]) -> Result<Classified<'m>, PullError> {
    let layers = &manifest.layers;
    let of = |format, parts| Classified { format, parts, warnings: Vec::new() };
    // The last one holds, as Spin's own loader has it.
    let application = layers.iter().rfind(|layer| layer.media_type == media::SPIN_APPLICATION);
    if application.is_some() {
        return Ok(of(Format::Spin, Parts::Spin { application }));
    }
    if spin::is_locked_application(config) {
        return Ok(of(Format::OldSpin, Parts::Spin { application: None }));
    }
    let modules: Vec<&Descriptor> =
        layers.iter().filter(|layer| media::is_module(&layer.media_type)).collect();
    match (manifest.config.media_type.as_str(), &modules[..]) {
        (media::WASM_CONFIG, _) => {
            wasm_artifact(layers, config).map(|parts| of(Format::WasmArtifact, parts))
        }
        (_, []) => rootfs(layers, config).map(|parts| of(Format::Image, parts)),
        (media::OCI_CONFIG | media::DOCKER_CONFIG, modules) => runwasi(layers, modules, config),
        (_, [first, ..]) => Ok(first_module(first, modules.len())),
    }
}

/// One layer, which the configuration names too.
fn wasm_artifact<'m>(layers: &'m [Descriptor], config: &[u8]) -> Result<Parts<'m>, PullError> {
    let [layer] = layers else {
        return Err(PullError::Unsupported(format!(
            "a wasm artifact has one layer, but this one has {}",
            layers.len()
        )));
    };
    if !media::is_module(&layer.media_type) {
        return Err(PullError::NotWasm(format!("its layer is `{}`", printable(&layer.media_type))));
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        layer_digests: Option<Vec<String>>,
    }
    let what = "the artifact's configuration";
    let config: Config = super::manifest::json(what, config)?;
    match config.layer_digests.as_deref() {
        None | Some([]) => {}
        Some([digest]) if *digest == layer.digest.to_string() => {}
        Some(_) => {
            return Err(PullError::manifest(what, "`layerDigests` names another layer"));
        }
    }
    Ok(Parts::Module { layer, config: None })
}

fn runwasi<'m>(
    layers: &[Descriptor],
    modules: &[&'m Descriptor],
    config: &[u8],
) -> Result<Classified<'m>, PullError> {
    let [layer] = *modules else {
        return Err(PullError::Unsupported(format!(
            "it has {} layers that are modules; one is run",
            modules.len()
        )));
    };
    let mut warnings = Vec::new();
    if layers.len() > 1 {
        warnings.push("layers beside the module's are not read".to_owned());
    }
    let config = ImageConfig::read(config)?;
    // runwasi takes such a layer for the module only then.
    if !matches!(config.architecture.as_str(), "" | "wasm") {
        return Err(PullError::NotWasm(format!(
            "its layer is a module, but its configuration is for `{}`",
            printable(&config.architecture)
        )));
    }
    Ok(Classified {
        format: Format::Runwasi,
        parts: Parts::Module { layer, config: Some(config) },
        warnings,
    })
}

/// wasm-to-oci and those after it take the first layer, whatever follows.
fn first_module<'m>(layer: &'m Descriptor, modules: usize) -> Classified<'m> {
    let format = match layer.media_type.as_str() {
        media::SOLO_LAYER => Format::Solo,
        media::WASM_TO_OCI_LAYER => Format::WasmToOci,
        _ => Format::WasmArtifact,
    };
    let mut warnings = Vec::new();
    if modules > 1 {
        warnings.push(format!("the first of {modules} modules is taken"));
    }
    Classified { format, parts: Parts::Module { layer, config: None }, warnings }
}

fn rootfs<'m>(layers: &'m [Descriptor], config: &[u8]) -> Result<Parts<'m>, PullError> {
    if let Some(strange) = layers.iter().find(|layer| !media::is_rootfs(&layer.media_type)) {
        let kind = printable(&strange.media_type);
        return Err(PullError::NotWasm(format!("it has a layer of the type `{kind}`")));
    }
    if layers.is_empty() {
        return Err(PullError::NotWasm("it has no layers".to_owned()));
    }
    Ok(Parts::Rootfs { layers, config: ImageConfig::read(config)? })
}

/// A stranger's text, short and without control characters.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}
