//! A source in memory.

use std::collections::HashMap;

use bytes::Bytes;
use dhow_core::digest::Digest;
use dhow_core::ports::BoxFuture;
use dhow_oci::image::descriptor::Descriptor;
use dhow_oci::image::error::PullError;
use dhow_oci::image::incoming::Incoming;
use dhow_oci::source::{RawManifest, Source};
use sha2::{Digest as _, Sha256};

/// Blobs, the root among them.
#[derive(Default)]
pub(crate) struct Memory {
    blobs: HashMap<Digest, Bytes>,
    root: Bytes,
    pub(crate) pinned: Option<Digest>,
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

impl Memory {
    /// A source whose root is `text`. In it `@NAME` stands for the digest and the size of the part
    /// of this name, `#NAME` for the digest alone.
    pub(crate) fn new(text: &str, parts: &[(&str, &[u8])]) -> Self {
        let mut source = Self::default();
        for (_, bytes) in parts {
            source.put(bytes);
        }
        source.root = Bytes::from(fill(text, parts));
        source
    }

    fn put(&mut self, bytes: &[u8]) {
        self.blobs.insert(digest(bytes), Bytes::copy_from_slice(bytes));
    }

    /// Gives `bytes` wherever what has `digest` is asked for.
    pub(crate) fn lie(&mut self, digest: Digest, bytes: &'static [u8]) {
        self.blobs.insert(digest, Bytes::from_static(bytes));
    }

    /// Has nothing where what has `digest` is asked for.
    pub(crate) fn lose(&mut self, digest: Digest) {
        self.blobs.remove(&digest);
    }

    fn get(&self, digest: &Digest) -> Result<Bytes, PullError> {
        let found = self.blobs.get(digest).cloned();
        found.ok_or_else(|| PullError::NotFound(digest.to_string()))
    }
}

/// See [`Memory::new`].
pub(crate) fn fill(text: &str, parts: &[(&str, &[u8])]) -> String {
    parts.iter().fold(text.to_owned(), |text, (name, bytes)| {
        let (digest, size) = (digest(bytes), bytes.len());
        text.replace(&format!("\"@{name}\""), &format!(r#""digest":"{digest}","size":{size}"#))
            .replace(&format!("#{name}"), &digest.to_string())
    })
}

impl Source for Memory {
    fn pinned(&self) -> Option<Digest> {
        self.pinned
    }

    fn manifest<'a>(
        &'a self,
        child: Option<&'a Descriptor>,
    ) -> BoxFuture<'a, Result<RawManifest, PullError>> {
        Box::pin(async move {
            let bytes = match child {
                Some(child) => self.get(&child.digest)?,
                None => self.root.clone(),
            };
            Ok(RawManifest { bytes, media_type: None })
        })
    }

    fn blob<'a>(
        &'a self,
        blob: &'a Descriptor,
        into: &'a mut Incoming,
    ) -> BoxFuture<'a, Result<(), PullError>> {
        Box::pin(async move { into.write(&self.get(&blob.digest)?).await })
    }
}
