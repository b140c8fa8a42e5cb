//! A session as a [`Source`] of images.

use dhow_core::digest::Digest;
use dhow_core::ports::BoxFuture;

use super::Session;
use crate::image::descriptor::Descriptor;
use crate::image::error::PullError;
use crate::image::incoming::Incoming;
use crate::source::{RawManifest, Source};

impl Source for Session {
    fn pinned(&self) -> Option<Digest> {
        self.image.digest()
    }

    fn manifest<'a>(
        &'a self,
        child: Option<&'a Descriptor>,
    ) -> BoxFuture<'a, Result<RawManifest, PullError>> {
        Box::pin(async move {
            let manifest = match child {
                Some(child) => self.manifest_by_digest(child.digest).await?,
                None => Session::manifest(self).await?,
            };
            let media_type = Some(manifest.media_type).filter(|named| !named.is_empty());
            Ok(RawManifest { bytes: manifest.bytes, media_type })
        })
    }

    fn blob<'a>(
        &'a self,
        blob: &'a Descriptor,
        into: &'a mut Incoming,
    ) -> BoxFuture<'a, Result<(), PullError>> {
        Box::pin(self.pull_blob(blob, into))
    }
}
