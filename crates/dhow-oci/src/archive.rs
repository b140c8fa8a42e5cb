//! Images as one tar archive: what `docker save` and `podman save` write, and image layouts in an
//! archive (`skopeo copy … oci-archive:`). Nothing is unpacked; blobs are read where they are.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dhow_core::digest::Digest;
use dhow_core::ports::BoxFuture;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::image::budget::{Budget, MOST_CONFIG_BYTES, MOST_LAYERS};
use crate::image::descriptor::Descriptor;
use crate::image::error::PullError;
use crate::image::incoming::Incoming;
use crate::image::layers::members::{Kind, walk};
use crate::image::layers::meter::{Ledger, Metered, Stop};
use crate::image::layers::rootfs::unpacked;
use crate::image::manifest::Manifest;
use crate::image::media;
use crate::image::pull::blocking;
use crate::layout::{INDEX, MARK, checked, choose, copy, document, place};
use crate::source::{RawManifest, Source};

/// The file of a `docker save` archive that says what is in it.
const DOCKER_MANIFEST: &str = "manifest.json";

/// An archive.
#[derive(Debug, Clone)]
pub struct Archive(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    /// The archive, or what it is decompressed, which is removed with this.
    path: PathBuf,
    _decompressed: Option<NamedTempFile>,
    /// Where each file is: first byte, length.
    files: HashMap<PathBuf, (u64, u64)>,
    /// What `manifest` answers.
    root: RawManifest,
    /// Where blobs are that are not under their digest.
    blobs: HashMap<Digest, (u64, u64)>,
}

/// An entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Archive {
    /// Opens the archive at `path`, gzip and zstd included, and looks through it. `name` chooses
    /// among several images. `scratch` takes the archive decompressed for as long as this lives.
    ///
    /// # Errors
    /// [`PullError::BadLayer`] for what is no such archive; [`PullError::NotFound`] and
    /// [`PullError::NoEntry`] where `name` leaves no choice or too much.
    pub async fn open(
        path: impl Into<PathBuf>,
        name: Option<String>,
        scratch: &Path,
        budget: &Budget,
    ) -> Result<Self, PullError> {
        let (path, scratch, budget) = (path.into(), scratch.to_owned(), budget.clone());
        blocking(move || open(path, name.as_deref(), &scratch, &budget)).await
    }
}

fn open(
    path: PathBuf,
    name: Option<&str>,
    scratch: &Path,
    budget: &Budget,
) -> Result<Archive, PullError> {
    let mut ledger = Ledger::open(budget, &Stop::default());
    let decompressed = decompress(&path, scratch, &mut ledger)?;
    let path = decompressed.as_ref().map_or(path, |file| file.path().to_owned());
    ledger.again();
    let files = files(&path, &mut ledger)?;
    let mut archive = File::open(&path).map_err(PullError::io("the archive can't be opened"))?;
    let mut blobs = HashMap::new();
    let root = if files.contains_key(Path::new(MARK)) && files.contains_key(Path::new(INDEX)) {
        layout_root(&mut archive, &files, name)?
    } else if files.contains_key(Path::new(DOCKER_MANIFEST)) {
        docker_root(&mut archive, &files, name, &mut blobs)?
    } else {
        return Err(PullError::BadLayer {
            what: "given".to_owned(),
            why: format!("it has neither `{INDEX}` nor `{DOCKER_MANIFEST}`"),
        });
    };
    Ok(Archive(Arc::new(Opened { path, _decompressed: decompressed, files, root, blobs })))
}

/// The archive without compression, where it has any.
fn decompress(
    path: &Path,
    scratch: &Path,
    ledger: &mut Ledger<'_>,
) -> Result<Option<NamedTempFile>, PullError> {
    let failed = "the archive can't be opened";
    let mut head = Vec::new();
    let mut file = File::open(path).map_err(PullError::io(failed))?;
    (&mut file).take(4).read_to_end(&mut head).map_err(PullError::io(failed))?;
    file.rewind().map_err(PullError::io(failed))?;
    if !matches!(head[..], [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(None);
    }
    let bytes = unpacked(file, ledger).map_err(PullError::reading("given"))?;
    let mut plain =
        NamedTempFile::new_in(scratch).map_err(PullError::io("the archive can't be unpacked"))?;
    if let Err(error) = io::copy(&mut Metered::new(bytes, ledger), &mut plain) {
        // A decoder tells in words of its own that it was given nothing any more.
        ledger.check()?;
        return Err(match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => PullError::Full,
            _ => PullError::reading("given")(error),
        });
    }
    Ok(Some(plain))
}

/// Where each file of the archive is. Older `docker save`s link layers that two images share.
fn files(path: &Path, ledger: &mut Ledger<'_>) -> Result<HashMap<PathBuf, (u64, u64)>, PullError> {
    let budget = ledger.budget();
    let file = File::open(path).map_err(PullError::io("the archive can't be opened"))?;
    let mut files = HashMap::new();
    let mut links = Vec::new();
    let mut names = 0;
    walk(BufReader::new(file), "given", ledger, &mut |member, _| {
        names += member.path.as_os_str().len();
        if let Kind::Symlink(target) = &member.kind {
            names += target.as_os_str().len();
        }
        if names > budget.names {
            let most = format!("{} bytes", budget.names);
            return Err(PullError::TooLarge { what: "the names in the archive".to_owned(), most });
        }
        match member.kind {
            Kind::File(size) => {
                if files.insert(member.path.clone(), (member.offset, size)).is_some() {
                    let path = member.path.display().to_string();
                    let why = "it comes twice in one archive";
                    return Err(PullError::UnsafePath { path, why });
                }
            }
            Kind::Symlink(target) => links.push((member.path, target)),
            Kind::Folder | Kind::Hardlink(_) | Kind::Special => {}
        }
        Ok(())
    })?;
    for (path, target) in links {
        let beside = path.parent().unwrap_or_else(|| Path::new("")).join(target);
        if let Some(at) = lexical(&beside).and_then(|target| files.get(&target).copied()) {
            files.entry(path).or_insert(at);
        }
    }
    Ok(files)
}

/// `path` without `.` and `..`; `None` when it leaves the archive.
fn lexical(path: &Path) -> Option<PathBuf> {
    use std::path::Component;
    let mut names = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::ParentDir if names.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(names)
}

fn layout_root(
    archive: &mut File,
    files: &HashMap<PathBuf, (u64, u64)>,
    name: Option<&str>,
) -> Result<RawManifest, PullError> {
    let index = part(archive, files, INDEX)?;
    let index = document(index, Some(media::OCI_INDEX.to_owned()))?;
    match choose(&index.bytes, name)? {
        None => Ok(index),
        Some(entry) => {
            let manifest = part(archive, files, &place(&entry.digest))?;
            checked(document(manifest, Some(entry.media_type.clone()))?, &entry)
        }
    }
}

/// The manifest that a registry would have for the image: a `docker save` archive has none.
fn docker_root(
    archive: &mut File,
    files: &HashMap<PathBuf, (u64, u64)>,
    name: Option<&str>,
    blobs: &mut HashMap<Digest, (u64, u64)>,
) -> Result<RawManifest, PullError> {
    let saved = document(part(archive, files, DOCKER_MANIFEST)?, None)?;
    let saved: Vec<Saved> = serde_json::from_slice(&saved.bytes)
        .map_err(|error| PullError::manifest("the archive's manifest.json", error))?;
    let saved = one_of(saved, name)?;
    if saved.layers.len() > MOST_LAYERS {
        let what = "the number of layers in the archive's manifest.json".to_owned();
        return Err(PullError::TooLarge { what, most: MOST_LAYERS.to_string() });
    }
    // Many names may lead to the same bytes, which are read once.
    let mut known: HashMap<(u64, u64), Digest> = HashMap::new();
    let mut described = |path: &str, media_type: &str, most: u64| {
        let mut bytes = part(archive, files, path)?;
        let (size, at) = (bytes.limit(), files[&clean(path)]);
        if size > most {
            let most = format!("{most} bytes");
            return Err(PullError::TooLarge { what: "the configuration".to_owned(), most });
        }
        let digest = match known.get(&at) {
            Some(digest) => *digest,
            None => {
                let mut hash = Sha256::new();
                let failed = "the archive can't be read";
                io::copy(&mut bytes, &mut hash).map_err(PullError::io(failed))?;
                Digest::from_bytes(hash.finalize().into())
            }
        };
        known.insert(at, digest);
        blobs.insert(digest, at);
        let media_type = media_type.to_owned();
        Ok(Descriptor { media_type, digest, size, platform: None, annotations: None })
    };
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::DOCKER_MANIFEST.to_owned()),
        artifact_type: None,
        config: described(&saved.config, media::DOCKER_CONFIG, MOST_CONFIG_BYTES)?,
        layers: saved
            .layers
            .iter()
            .map(|layer| described(layer, media::DOCKER_LAYER, u64::MAX))
            .collect::<Result<_, _>>()?,
        annotations: None,
    };
    let bytes = serde_json::to_vec(&manifest)
        .map_err(|error| PullError::manifest("the archive's manifest", error))?;
    Ok(RawManifest { bytes: Bytes::from(bytes), media_type: manifest.media_type })
}

fn one_of(saved: Vec<Saved>, name: Option<&str>) -> Result<Saved, PullError> {
    let tags = |saved: &Saved| saved.repo_tags.clone().unwrap_or_default();
    let all: Vec<String> = saved.iter().flat_map(&tags).take(20).collect();
    let fits = |saved: &Saved| name.is_none_or(|name| tags(saved).iter().any(|tag| tag == name));
    let fitting: Vec<Saved> = saved.into_iter().filter(fits).collect();
    match <[_; 1]>::try_from(fitting) {
        Ok([one]) => Ok(one),
        Err(none) if none.is_empty() => {
            Err(PullError::NotFound(format!("`{}`, in the archive,", name.unwrap_or("an image"))))
        }
        Err(several) => Err(PullError::NoEntry(format!(
            "the archive has {} images; name one: {}",
            several.len(),
            crate::image::classify::printable(&all.join(", "))
        ))),
    }
}

fn clean(path: &str) -> PathBuf {
    lexical(Path::new(path)).unwrap_or_default()
}

fn part<'f>(
    archive: &'f mut File,
    files: &HashMap<PathBuf, (u64, u64)>,
    path: &str,
) -> Result<io::Take<&'f mut File>, PullError> {
    let (offset, size) = *files.get(&clean(path)).ok_or_else(|| {
        let path = crate::image::classify::printable(path);
        PullError::NotFound(format!("`{path}`, in the archive,"))
    })?;
    archive.seek(SeekFrom::Start(offset)).map_err(PullError::io("the archive can't be read"))?;
    Ok(archive.take(size))
}

impl Source for Archive {
    fn pinned(&self) -> Option<Digest> {
        None
    }

    fn manifest<'a>(
        &'a self,
        child: Option<&'a Descriptor>,
    ) -> BoxFuture<'a, Result<RawManifest, PullError>> {
        let (opened, child) = (Arc::clone(&self.0), child.cloned());
        Box::pin(blocking(move || {
            let Some(child) = child else { return Ok(opened.root.clone()) };
            let mut archive =
                File::open(&opened.path).map_err(PullError::io("the archive can't be opened"))?;
            let bytes = part(&mut archive, &opened.files, &place(&child.digest))?;
            document(bytes, Some(child.media_type))
        }))
    }

    fn blob<'a>(
        &'a self,
        blob: &'a Descriptor,
        into: &'a mut Incoming,
    ) -> BoxFuture<'a, Result<(), PullError>> {
        Box::pin(async move {
            let failed = "the archive can't be read";
            let place = place(&blob.digest);
            let by_name = self.0.files.get(Path::new(&place));
            let (offset, size) = *self
                .0
                .blobs
                .get(&blob.digest)
                .or(by_name)
                .ok_or_else(|| PullError::NotFound(format!("`{place}`, in the archive,")))?;
            let mut archive =
                tokio::fs::File::open(&self.0.path).await.map_err(PullError::io(failed))?;
            archive.seek(SeekFrom::Start(offset)).await.map_err(PullError::io(failed))?;
            copy(archive.take(size), into).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `docker save` writes, with so many layers that are all one file.
    fn saved(folder: &Path, layers: usize) -> PathBuf {
        let path = folder.join(format!("{layers}.tar"));
        let manifest = format!(
            r#"[{{"Config":"c.json","Layers":[{}]}}]"#,
            vec![r#""l.tar""#; layers].join(",")
        );
        let mut tar = tar::Builder::new(File::create(&path).unwrap());
        for (name, bytes) in
            [("manifest.json", manifest.as_bytes()), ("c.json", b"{}"), ("l.tar", &[0; 1024])]
        {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes).unwrap();
        }
        tar.finish().unwrap();
        path
    }

    #[test]
    fn the_layers_of_an_archive_are_counted_before_they_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let open = |layers| {
            let path = saved(folder.path(), layers);
            super::open(path, None, folder.path(), &Budget::default())
        };
        assert_eq!(open(MOST_LAYERS + 1).unwrap_err().reason(), "too-large");
        let archive = open(3).unwrap();
        let manifest: Manifest = serde_json::from_slice(&archive.0.root.bytes).unwrap();
        assert_eq!(manifest.layers.len(), 3);
        assert!(manifest.layers.iter().all(|layer| *layer == manifest.layers[0]));
        assert_eq!((manifest.layers[0].size, archive.0.blobs.len()), (1024, 2));
    }
}
