//! From a source to modules in a folder and what runs of them.

use std::any::Any;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use dhow_core::digest::Digest;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use super::budget::{Budget, MOST_CONFIG_BYTES, MOST_INDEX_DEPTH};
use super::classify::{Classified, Parts, classify};
use super::command;
use super::config::ImageConfig;
use super::descriptor::Descriptor;
use super::error::PullError;
use super::incoming::{Hear, Incoming};
use super::layers::meter::{Ledger, Stop};
use super::layers::rootfs::{self, Layer, WASM_MAGIC};
use super::manifest::{self, Document, Manifest};
use super::pulled::{AppFile, Entry, Module, Pulled};
use super::spin::{self, Content};
use super::staged::{Staged, Unnamed};
use super::{media, platform};
use crate::source::{MOST_MANIFEST_BYTES, RawManifest, Source};

/// Blobs that are fetched at once.
const AT_ONCE: usize = 4;

/// What is asked for.
#[derive(Clone)]
pub struct Ask {
    /// A folder of this user's alone. What is pulled lies there, under its digests.
    pub staging: PathBuf,
    /// What it may cost.
    pub budget: Budget,
    /// The module and its first arguments, where the image shall not say; else empty.
    pub command: Vec<String>,
    /// The architecture of Linux images, [`platform::machine`] for this one's.
    pub machine: String,
    /// Hears of every blob's bytes.
    pub hear: Arc<Hear>,
    /// What is held until the last work on the staging folder has ended, which may be a while after
    /// the pull's future was dropped.
    pub hold: Arc<dyn Any + Send + Sync>,
}

/// Where a reference leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Of the manifest.
    pub digest: Digest,
    /// Of the outermost index, where there was one.
    pub index: Option<Digest>,
    /// The manifest.
    pub manifest: Manifest,
}

/// Follows the reference to one manifest, through indexes.
///
/// # Errors
/// The source's; [`PullError::WrongDigest`], [`PullError::WrongSize`], [`PullError::BadManifest`],
/// [`PullError::NoPlatform`], [`PullError::TooLarge`].
pub async fn resolve(source: &dyn Source, machine: &str) -> Result<Resolved, PullError> {
    let raw = source.manifest(None).await?;
    let mut digest = checked(&raw, source.pinned(), None)?;
    let mut document = manifest::read(&raw.bytes, raw.media_type.as_deref())?;
    let mut outermost = None;
    for _ in 0..=MOST_INDEX_DEPTH {
        let index = match document {
            Document::Manifest(manifest) => {
                return Ok(Resolved { digest, index: outermost, manifest });
            }
            Document::Index(index) => index,
        };
        outermost.get_or_insert(digest);
        let child = platform::choose(&index, machine)?;
        let raw = source.manifest(Some(child)).await?;
        digest = checked(&raw, Some(child.digest), Some(child.size))?;
        document = manifest::read(&raw.bytes, Some(&child.media_type))?;
    }
    let most = MOST_INDEX_DEPTH.to_string();
    Err(PullError::TooLarge { what: "the number of indexes within each other".to_owned(), most })
}

/// Pulls an image into `ask.staging`.
///
/// # Errors
/// See [`PullError`]. What was fetched until then may lie in the folder.
pub async fn pull(source: &dyn Source, ask: &Ask) -> Result<Pulled, PullError> {
    let resolved = resolve(source, &ask.machine).await?;
    let manifest = &resolved.manifest;
    affordable(manifest, &ask.budget)?;
    let config = document(source, &manifest.config, ask).await?;
    let Classified { format, parts, warnings } = classify(manifest, &config)?;
    let mut labels = manifest.annotations.clone().unwrap_or_default();
    let contents = match parts {
        Parts::Module { layer, config } => {
            labels.extend(
                config.as_ref().and_then(|config| config.start().labels).unwrap_or_default(),
            );
            module(source, ask, manifest, layer, config).await?
        }
        Parts::Rootfs { layers, config } => {
            labels.extend(config.start().labels.unwrap_or_default());
            image(source, ask, layers, config).await?
        }
        Parts::Spin { application } => {
            let locked = match application {
                Some(layer) => document(source, layer, ask).await?,
                None => config,
            };
            spin_application(source, ask, manifest, locked).await?
        }
    };
    Ok(Pulled {
        manifest: resolved.digest,
        index: resolved.index,
        format,
        modules: contents.modules,
        files: contents.files,
        entry: contents.entry,
        labels,
        warnings: warnings.into_iter().chain(contents.warnings).collect(),
    })
}

/// What one format gives.
struct Contents {
    modules: Vec<Module>,
    files: Vec<AppFile>,
    entry: Entry,
    warnings: Vec<String>,
}

async fn module(
    source: &dyn Source,
    ask: &Ask,
    manifest: &Manifest,
    layer: &Descriptor,
    config: Option<ImageConfig>,
) -> Result<Contents, PullError> {
    within_module(layer.size, &ask.budget)?;
    let path = fetch(source, layer, ask).await?;
    let file = Staged { digest: layer.digest, size: layer.size, path };
    require_wasm(&file).await?;
    let title = "org.opencontainers.image.title";
    let title = layer
        .annotation(title)
        .or_else(|| manifest.annotations.as_ref()?.get(title).map(String::as_str));
    let start = config.map(|config| config.start()).unwrap_or_default();
    Ok(Contents {
        modules: vec![Module { name: file_name(title), file }],
        files: Vec::new(),
        entry: Entry::Module(command::run_layer(&start, &ask.command)),
        warnings: Vec::new(),
    })
}

async fn image(
    source: &dyn Source,
    ask: &Ask,
    layers: &[Descriptor],
    config: ImageConfig,
) -> Result<Contents, PullError> {
    let unpacked = config.unpacked(layers.len())?;
    let fetched = fetch_all(source, layers.iter(), ask).await?;
    let layers: Vec<Layer> = layers
        .iter()
        .enumerate()
        .map(|(at, layer)| Layer {
            path: fetched[&layer.digest].clone(),
            name: format!("layer {} ({})", at + 1, layer.digest.short()),
            unpacked: unpacked.get(at).copied(),
        })
        .collect();
    let start = config.start();
    stoppable(ask, move |ask, stop| {
        let contents = from_rootfs(&layers, ask, &start, stop);
        if !matches!(contents, Err(PullError::Stopped)) {
            // A layer has served; the same file may have been several layers.
            for path in fetched.values() {
                std::fs::remove_file(path).map_err(PullError::io("a layer can't be removed"))?;
            }
        }
        contents
    })
    .await
}

fn from_rootfs(
    layers: &[Layer],
    ask: &Ask,
    start: &super::config::Start,
    stop: &Stop,
) -> Result<Contents, PullError> {
    let mut ledger = Ledger::open(&ask.budget, stop);
    let tree = rootfs::look(layers, &mut ledger)?;
    if tree.find(std::path::Path::new("/spin.toml")).is_some() {
        return spin_files(layers, ask, &tree, &mut ledger);
    }
    let chosen = command::choose(&tree, start, &ask.command)?;
    within_module(chosen.file.size, &ask.budget)?;
    let mut taken = rootfs::take(layers, &[chosen.file.at], &ask.staging, &mut ledger)?;
    let name = file_name(chosen.path.to_str());
    Ok(Contents {
        modules: taken.drain(..).map(|file| Module { name: name.clone(), file }).collect(),
        files: Vec::new(),
        entry: Entry::Module(chosen.run),
        warnings: chosen.warnings,
    })
}

/// An image with a `spin.toml` at its root: every file may be one that the application names.
fn spin_files(
    layers: &[Layer],
    ask: &Ask,
    tree: &super::layers::tree::Tree,
    ledger: &mut Ledger<'_>,
) -> Result<Contents, PullError> {
    let found = tree.files()?;
    // Hard links are several files of one.
    unpackable(found.iter().map(|(_, file)| file.size), &ask.budget)?;
    for (_, module) in found.iter().filter(|(_, file)| file.wasm) {
        within_module(module.size, &ask.budget)?;
    }
    if !found.iter().any(|(_, file)| file.wasm) {
        return Err(PullError::NotWasm("no file in it is a module".to_owned()));
    }
    let wanted: Vec<_> = found.iter().map(|(_, file)| file.at).collect();
    let taken = rootfs::take(layers, &wanted, &ask.staging, ledger)?;
    let (mut modules, mut files) = (Vec::new(), Vec::new());
    for ((path, file), staged) in found.into_iter().zip(taken) {
        let path = path.into_os_string().into_string().map_err(|path| PullError::UnsafePath {
            path: path.to_string_lossy().into_owned(),
            why: "files of a Spin application have UTF-8 names",
        })?;
        if file.wasm {
            modules.push(Module { name: path.clone(), file: staged.clone() });
        }
        files.push(AppFile { component: None, path, file: staged });
    }
    Ok(Contents { modules, files, entry: Entry::SpinManifest, warnings: Vec::new() })
}

async fn spin_application(
    source: &dyn Source,
    ask: &Ask,
    manifest: &Manifest,
    locked: Vec<u8>,
) -> Result<Contents, PullError> {
    let application = spin::read(&locked)?;
    let contents = application.modules.iter().map(|(_, content)| content);
    let contents = contents.chain(application.files.iter().map(|(_, _, content)| content));
    let named: HashSet<Digest> = contents
        .filter_map(|content| match content {
            Content::Blob(digest) => Some(*digest),
            Content::Inline(_) => None,
        })
        .collect();
    let is_bundle = |layer: &&Descriptor| layer.media_type == media::SPIN_BUNDLE;
    let bundles: Vec<&Descriptor> = manifest.layers.iter().filter(is_bundle).collect();
    let plain = manifest.layers.iter().filter(|layer| named.contains(&layer.digest));
    let plain = plain.filter(|layer| !is_bundle(layer));
    let fetched = fetch_all(source, plain.chain(bundles.iter().copied()), ask).await?;
    let held: HashMap<Digest, Staged> = manifest
        .layers
        .iter()
        .filter(|layer| !is_bundle(layer))
        .filter_map(|layer| {
            let Descriptor { digest, size, .. } = *layer;
            fetched.get(&digest).map(|path| (digest, Staged { digest, size, path: path.clone() }))
        })
        .collect();
    let bundles = bundles.into_iter().map(|bundle| Layer {
        path: fetched[&bundle.digest].clone(),
        name: format!("bundle {}", bundle.digest.short()),
        unpacked: None,
    });
    let bundles = bundles.collect::<Vec<_>>();
    stoppable(ask, move |ask, stop| gather(application, &locked, held, &bundles, &named, ask, stop))
        .await
}

/// Finds each content of the application among blobs, bundles and the application's own text.
fn gather(
    application: spin::Application,
    locked: &[u8],
    mut held: HashMap<Digest, Staged>,
    bundles: &[Layer],
    named: &HashSet<Digest>,
    ask: &Ask,
    stop: &Stop,
) -> Result<Contents, PullError> {
    let mut ledger = Ledger::open(&ask.budget, stop);
    for bundle in bundles {
        let wanted = |digest: &Digest| named.contains(digest);
        let files = rootfs::take_by_digest(bundle, &wanted, &ask.staging, &mut ledger)?;
        held.extend(files.into_iter().map(|file| (file.digest, file)));
        std::fs::remove_file(&bundle.path).map_err(PullError::io("a bundle can't be removed"))?;
    }
    let find = |content: &Content| match content {
        Content::Blob(digest) => held.get(digest).cloned().ok_or_else(|| {
            let why = format!("{digest} is in no layer");
            PullError::manifest("the locked application", why)
        }),
        Content::Inline(bytes) => stage(bytes, ask),
    };
    let size = |content: &Content| match content {
        Content::Blob(digest) => held.get(digest).map_or(0, |file| file.size),
        Content::Inline(bytes) => bytes.len() as u64,
    };
    let files = application.files.iter().map(|(_, _, content)| content);
    let all = application.modules.iter().map(|(_, content)| content).chain(files);
    unpackable(all.map(size), &ask.budget)?;
    let mut modules = Vec::new();
    for (name, content) in &application.modules {
        ledger.check()?;
        let file = find(content)?;
        within_module(file.size, &ask.budget)?;
        check_wasm(&file)?;
        modules.push(Module { name: name.clone(), file });
    }
    let mut files = Vec::new();
    for (component, path, content) in application.files {
        ledger.check()?;
        files.push(AppFile { component: Some(component), path, file: find(&content)? });
    }
    let entry = Entry::Spin(stage(locked, ask)?);
    Ok(Contents { modules, files, entry, warnings: Vec::new() })
}

/// Whether all files of an application are within the budget, each as often as it is named: who
/// unpacks it has them all.
fn unpackable(sizes: impl Iterator<Item = u64>, budget: &Budget) -> Result<(), PullError> {
    let (count, bytes) =
        sizes.fold((0_u64, 0_u64), |(count, all), size| (count + 1, all.saturating_add(size)));
    let over = |what: &str, most: String| PullError::TooLarge { what: what.to_owned(), most };
    if count > budget.entries {
        return Err(over("the number of the application's files", budget.entries.to_string()));
    }
    if bytes > budget.unpacked {
        let most = format!("{} bytes", budget.unpacked);
        return Err(over("the application's files, each as often as it is named", most));
    }
    Ok(())
}

/// Whether a module of so many bytes is taken.
fn within_module(size: u64, budget: &Budget) -> Result<(), PullError> {
    if size > budget.module {
        return Err(PullError::TooLarge {
            what: format!("the module with its {size} bytes"),
            most: format!("{} bytes", budget.module),
        });
    }
    Ok(())
}

fn stage(mut bytes: &[u8], ask: &Ask) -> Result<Staged, PullError> {
    Unnamed::write(&ask.staging, "the application", &mut bytes)?.name(&ask.staging)
}

/// Whether the manifest's parts together are within the budget, before any is fetched.
fn affordable(manifest: &Manifest, budget: &Budget) -> Result<(), PullError> {
    let sizes = manifest.layers.iter().chain([&manifest.config]).map(|part| part.size);
    let all = sizes.fold(0_u64, u64::saturating_add);
    if all > budget.stored {
        return Err(PullError::TooLarge {
            what: format!("the image with its {all} bytes"),
            most: format!("{} bytes", budget.stored),
        });
    }
    Ok(())
}

/// Fetches a blob that is read into memory.
async fn document(source: &dyn Source, blob: &Descriptor, ask: &Ask) -> Result<Vec<u8>, PullError> {
    if blob.size > MOST_CONFIG_BYTES {
        return Err(PullError::TooLarge {
            what: format!("the blob {}", blob.digest),
            most: format!("{MOST_CONFIG_BYTES} bytes"),
        });
    }
    let path = fetch(source, blob, ask).await?;
    let bytes = tokio::fs::read(&path).await.map_err(PullError::io("a blob can't be read"))?;
    tokio::fs::remove_file(&path).await.map_err(PullError::io("a blob can't be removed"))?;
    Ok(bytes)
}

async fn fetch_all<'d>(
    source: &dyn Source,
    blobs: impl Iterator<Item = &'d Descriptor>,
    ask: &Ask,
) -> Result<HashMap<Digest, PathBuf>, PullError> {
    // The same blob may be several layers. One that states two sizes fails by one of them.
    let mut different: BTreeMap<(Digest, u64), &Descriptor> = BTreeMap::new();
    different.extend(blobs.map(|blob| ((blob.digest, blob.size), blob)));
    // Owned, so that the future of a pull is one that any thread may run.
    let different: Vec<Descriptor> = different.into_values().cloned().collect();
    stream::iter(different)
        .map(|blob| async move { Ok((blob.digest, fetch(source, &blob, ask).await?)) })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn fetch(source: &dyn Source, blob: &Descriptor, ask: &Ask) -> Result<PathBuf, PullError> {
    if let Some(path) = left(blob, ask).await? {
        (ask.hear)(blob, blob.size);
        return Ok(path);
    }
    let mut incoming = Incoming::create(blob, &ask.staging, Arc::clone(&ask.hear)).await?;
    source.blob(blob, &mut incoming).await?;
    incoming.finish().await
}

/// The blob, if an earlier pull that broke off left it whole.
async fn left(blob: &Descriptor, ask: &Ask) -> Result<Option<PathBuf>, PullError> {
    let path = ask.staging.join(blob.digest.hex());
    let (digest, size) = (blob.digest, blob.size);
    stoppable(ask, move |ask, stop| {
        let failed = "a part of the image can't be read";
        let file = match std::fs::File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(PullError::io(failed))?,
        };
        let mut hash = Sha256::new();
        let mut bytes = Ledger::open(&ask.budget, stop).watched(file);
        let length = std::io::copy(&mut bytes, &mut hash).map_err(PullError::io(failed))?;
        let is_it = length == size && Digest::from_bytes(hash.finalize().into()) == digest;
        Ok(is_it.then_some(path))
    })
    .await
}

pub(crate) fn checked(
    raw: &RawManifest,
    expected: Option<Digest>,
    size: Option<u64>,
) -> Result<Digest, PullError> {
    let length = raw.bytes.len() as u64;
    if length > MOST_MANIFEST_BYTES {
        let most = format!("{MOST_MANIFEST_BYTES} bytes");
        return Err(PullError::TooLarge { what: "the manifest".to_owned(), most });
    }
    let what = || "the manifest".to_owned();
    if let Some(expected) = size.filter(|size| *size != length) {
        return Err(PullError::WrongSize { what: what(), expected, found: length });
    }
    let found = Digest::from_bytes(Sha256::digest(&raw.bytes).into());
    match expected {
        Some(expected) if expected != found => {
            Err(PullError::WrongDigest { what: what(), expected, found })
        }
        _ => Ok(found),
    }
}

async fn require_wasm(file: &Staged) -> Result<(), PullError> {
    let file = file.clone();
    blocking(move || check_wasm(&file)).await
}

fn check_wasm(file: &Staged) -> Result<(), PullError> {
    use std::io::Read;
    let failed = "a module can't be read";
    let mut head = Vec::new();
    std::fs::File::open(&file.path)
        .and_then(|file| file.take(4).read_to_end(&mut head))
        .map_err(PullError::io(failed))?;
    if head != WASM_MAGIC {
        return Err(PullError::NotWasm(format!("{} does not begin as a module", file.digest)));
    }
    Ok(())
}

/// The last name of a path that a stranger wrote, fit to be shown and to be a command's own name.
fn file_name(path: Option<&str>) -> String {
    let name = path.and_then(|path| path.rsplit('/').find(|name| !name.is_empty()));
    let name: String =
        name.unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect();
    if matches!(name.as_str(), "" | "." | "..") { "module.wasm".to_owned() } else { name }
}

/// Tells the work in the background to stop when nobody waits for it any more.
#[derive(Default)]
struct Waiting(Stop);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Runs `work` for a pull where that holds up nobody. It holds what the pull holds, and is told to
/// stop when the pull's future is dropped.
async fn stoppable<T: Send + 'static>(
    ask: &Ask,
    work: impl FnOnce(&Ask, &Stop) -> Result<T, PullError> + Send + 'static,
) -> Result<T, PullError> {
    let waiting = Waiting::default();
    let (ask, stop) = (ask.clone(), waiting.0.clone());
    blocking(move || work(&ask, &stop)).await
}

/// Runs `work`, which waits for the disk, where that holds up nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PullError> + Send + 'static,
) -> Result<T, PullError> {
    spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(PullError::io("a layer can't be read")(std::io::Error::other(error)))
    })
}
