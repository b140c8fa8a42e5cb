//! Image layouts: `oci-layout`, `index.json` and blobs by digest (OCI image specification 1.1,
//! `image-layout.md`), in a folder or in a tar archive.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dhow_core::digest::Digest;
use dhow_core::ports::BoxFuture;

use crate::image::descriptor::Descriptor;
use crate::image::error::PullError;
use crate::image::incoming::Incoming;
use crate::image::manifest::{self, Document};
use crate::image::media;
use crate::image::pull::blocking;
use crate::source::{MOST_MANIFEST_BYTES, RawManifest, Source};

/// The file that marks a layout.
pub const MARK: &str = "oci-layout";
/// The file that says what is in it.
pub const INDEX: &str = "index.json";
/// The annotation that names an entry of the index.
pub const NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with which containerd and Docker name one in full.
const FULL_NAME: &str = "io.containerd.image.name";

/// A layout folder.
#[derive(Debug, Clone)]
pub struct Layout {
    folder: PathBuf,
    name: Option<String>,
}

impl Layout {
    /// The layout in `folder`. `name` chooses among its entries; without it there must be one, or
    /// one for each platform.
    pub fn new(folder: impl Into<PathBuf>, name: Option<String>) -> Self {
        Self { folder: folder.into(), name }
    }

    /// Whether `folder` has a layout.
    pub fn is_one(folder: &Path) -> bool {
        folder.join(MARK).is_file()
    }

    fn open(&self, path: &str) -> Result<File, PullError> {
        let path = self.folder.join(path);
        let shown = path.display().to_string();
        match std::fs::metadata(&path) {
            // Anything else could be waited for without end.
            Ok(metadata) if !metadata.is_file() => {
                Err(PullError::Unsupported(format!("`{shown}` is no regular file")))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(PullError::NotFound(format!("`{shown}`")))
            }
            Ok(_) => File::open(&path).map_err(PullError::io(format!("`{shown}` can't be read"))),
            Err(error) => Err(PullError::io(format!("`{shown}` can't be read"))(error)),
        }
    }
}

impl Source for Layout {
    fn pinned(&self) -> Option<Digest> {
        None
    }

    fn manifest<'a>(
        &'a self,
        child: Option<&'a Descriptor>,
    ) -> BoxFuture<'a, Result<RawManifest, PullError>> {
        let (layout, child) = (self.clone(), child.cloned());
        Box::pin(blocking(move || match child {
            Some(child) => document(layout.open(&place(&child.digest))?, Some(child.media_type)),
            None => {
                let index = document(layout.open(INDEX)?, Some(media::OCI_INDEX.to_owned()))?;
                match choose(&index.bytes, layout.name.as_deref())? {
                    Some(entry) => {
                        let file = layout.open(&place(&entry.digest))?;
                        checked(document(file, Some(entry.media_type.clone()))?, &entry)
                    }
                    None => Ok(index),
                }
            }
        }))
    }

    fn blob<'a>(
        &'a self,
        blob: &'a Descriptor,
        into: &'a mut Incoming,
    ) -> BoxFuture<'a, Result<(), PullError>> {
        Box::pin(async move {
            let (layout, digest) = (self.clone(), blob.digest);
            let file = blocking(move || layout.open(&place(&digest))).await?;
            copy(tokio::fs::File::from_std(file), into).await
        })
    }
}

/// Where a blob is in a layout.
pub(crate) fn place(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Reads a manifest or an index, no further than it may go.
pub(crate) fn document(
    from: impl Read,
    media_type: Option<String>,
) -> Result<RawManifest, PullError> {
    let mut bytes = Vec::new();
    from.take(MOST_MANIFEST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(PullError::io("a manifest can't be read"))?;
    if bytes.len() as u64 > MOST_MANIFEST_BYTES {
        let most = format!("{MOST_MANIFEST_BYTES} bytes");
        return Err(PullError::TooLarge { what: "a manifest".to_owned(), most });
    }
    Ok(RawManifest { bytes: Bytes::from(bytes), media_type })
}

/// The entry of a layout's index that is meant; `None`: the index itself, which leaves the choice
/// to the platform.
pub(crate) fn choose(index: &[u8], name: Option<&str>) -> Result<Option<Descriptor>, PullError> {
    let Document::Index(index) = manifest::read(index, Some(media::OCI_INDEX))? else {
        return Err(PullError::manifest("the layout's index", "it is a manifest"));
    };
    let names = |entry: &Descriptor, name: &str| {
        [NAME, FULL_NAME].iter().any(|key| entry.annotation(key) == Some(name))
    };
    let mut entries = index.manifests;
    if let Some(name) = name {
        entries.retain(|entry| names(entry, name) || entry.digest.to_string() == name);
        if entries.is_empty() {
            return Err(PullError::NotFound(format!("`{name}`, in the layout's index,")));
        }
    }
    match <[_; 1]>::try_from(entries) {
        Ok([entry]) => Ok(Some(entry)),
        Err(entries) if entries.iter().all(|entry| entry.platform.is_some()) => Ok(None),
        Err(entries) => {
            let known = entries.iter().filter_map(|entry| entry.annotation(NAME));
            let known: Vec<_> = known.take(20).map(crate::image::classify::printable).collect();
            Err(PullError::NoEntry(format!(
                "the layout has {} images; name one: {}",
                entries.len(),
                known.join(", ")
            )))
        }
    }
}

/// The root of a layout is checked as its index names it.
pub(crate) fn checked(raw: RawManifest, entry: &Descriptor) -> Result<RawManifest, PullError> {
    crate::image::pull::checked(&raw, Some(entry.digest), Some(entry.size))?;
    Ok(raw)
}

pub(crate) async fn copy(
    mut from: impl tokio::io::AsyncRead + Unpin,
    into: &mut Incoming,
) -> Result<(), PullError> {
    use tokio::io::AsyncReadExt;
    let mut chunk = vec![0; 256 << 10];
    loop {
        let read = from.read(&mut chunk).await.map_err(PullError::io("a blob can't be read"))?;
        if read == 0 {
            return Ok(());
        }
        into.write(&chunk[..read]).await?;
    }
}
