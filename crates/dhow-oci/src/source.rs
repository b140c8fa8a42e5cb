//! The seam between where an image comes from (a registry, a folder, an archive) and what is read
//! out of it. A source moves bytes; whether they are the right ones is checked on this side, once
//! for all of them: manifests when they are parsed, blobs by [`Incoming`].

use bytes::Bytes;
use dhow_core::digest::Digest;
use dhow_core::ports::BoxFuture;

use crate::image::descriptor::Descriptor;
use crate::image::error::PullError;
use crate::image::incoming::Incoming;

/// The most bytes that a manifest or an index may have. Registries allow 4 MiB.
pub const MOST_MANIFEST_BYTES: u64 = 4 << 20;

/// Where one image comes from.
pub trait Source: Send + Sync {
    /// The digest that the reference itself demands of the root, where it names one.
    fn pinned(&self) -> Option<Digest>;

    /// The manifest or index that the reference names; with `child`, one that an index names. Of
    /// no more than [`MOST_MANIFEST_BYTES`]: a source stops reading there with
    /// [`PullError::TooLarge`]. The caller checks its digest.
    fn manifest<'a>(
        &'a self,
        child: Option<&'a Descriptor>,
    ) -> BoxFuture<'a, Result<RawManifest, PullError>>;

    /// Writes the blob into `into`, from [`Incoming::received`] on or, after
    /// [`Incoming::restart`], from its beginning. It may try again after a failure of its own;
    /// what `into` says is final. The caller checks digest and size when it returns.
    fn blob<'a>(
        &'a self,
        blob: &'a Descriptor,
        into: &'a mut Incoming,
    ) -> BoxFuture<'a, Result<(), PullError>>;
}

/// A manifest or an index as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawManifest {
    /// Its bytes, exactly.
    pub bytes: Bytes,
    /// Its media type as the source names it, without parameters, where it names one. One that
    /// the document states itself comes first.
    pub media_type: Option<String>,
}
