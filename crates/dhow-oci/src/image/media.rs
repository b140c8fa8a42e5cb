//! Media types, as the tools write them.

/// OCI image specification 1.1.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image specification 1.1.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker image manifest, version 2, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's index.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The configuration of an OCI image.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The configuration of a Docker image.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// The configuration of a CNCF Wasm OCI artifact.
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The configuration that wasm-to-oci writes: `{}`.
pub const WASM_TO_OCI_CONFIG: &str = "application/vnd.wasm.config.v1+json";
/// The configuration of solo.io's and Istio's modules.
pub const SOLO_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";

/// A module or component, in CNCF artifacts and in runwasi's images.
pub const WASM: &str = "application/wasm";
/// A module, in wasm-to-oci's artifacts and in Spin applications.
pub const WASM_TO_OCI_LAYER: &str = "application/vnd.wasm.content.layer.v1+wasm";
/// A component in runwasi's images.
pub const RUNWASI_COMPONENT: &str = "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm";
/// solo.io's and Istio's modules.
pub const SOLO_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
/// One file of a Spin application.
pub const SPIN_DATA: &str = "application/vnd.wasm.content.layer.v1+data";
/// Files of a Spin application as one archive.
pub const SPIN_BUNDLE: &str = "application/vnd.wasm.content.bundle.v1.tar+gzip";
/// A Spin application itself: the locked application.
pub const SPIN_APPLICATION: &str = "application/vnd.fermyon.spin.application.v1+config";

/// A layer of files, not compressed.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer of files in a `docker save` archive.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// Whether a layer of this type is a module by itself.
pub fn is_module(media_type: &str) -> bool {
    matches!(media_type, WASM | WASM_TO_OCI_LAYER | RUNWASI_COMPONENT | SOLO_LAYER)
}

/// Whether a layer of this type changes a root file system. How it is compressed is seen from its
/// bytes: not all tools state it rightly.
pub fn is_rootfs(media_type: &str) -> bool {
    let compressed = |base: &str, separator: char| {
        media_type.strip_prefix(base).is_some_and(|rest| {
            rest.is_empty()
                || rest
                    .strip_prefix(separator)
                    .is_some_and(|compression| matches!(compression, "gzip" | "zstd"))
        })
    };
    compressed(OCI_LAYER, '+') || compressed(DOCKER_LAYER, '.') || compressed(DOCKER_LAYER, '+')
}
