//! `dhow push`: a module into a registry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Instant;

use bytes::Bytes;
use dhow_guest::interfaces::{Interfaces, Kind};
use dhow_oci::image::pack::{Component, Outside, Packed, Shape, Words, pack};
use dhow_oci::reference::Reference;
use dhow_oci::registry::{Content, Session};
use tokio::sync::mpsc;

use crate::cli::bar::Bar;
use crate::cli::error::CommandError;
use crate::cli::output::Output;
use crate::images::fetch::session;
use crate::images::{RegistryArgs, pull_failure, registry_failure};

/// What to push, and where to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The module: FILE.wasm
    file: PathBuf,
    /// Where it goes: HOST/PATH:TAG
    reference: Reference,
    /// The format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// A note in the manifest; may be repeated
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    annotations: Vec<String>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// The CNCF's Wasm OCI artifact
    #[default]
    Artifact,
    /// What wasm-to-oci and Krustlet read
    WasmToOci,
    /// A `FROM scratch` image for wasi/wasm, which containerd and Docker read
    Image,
}

/// Pushes it; prints the reference, pinned to the digest of what was pushed.
///
/// # Errors
/// When the file is no module, or the registry refuses.
pub fn run(args: &Args, output: &mut Output) -> Result<(), CommandError> {
    if args.reference.digest().is_some() {
        return Err(CommandError::usage("a digest is what comes of a push")
            .hint("write HOST/PATH:TAG, or HOST/PATH for a push without a tag"));
    }
    let packed = packed(args)?;
    let digest = crate::run::runtime()?.block_on(async {
        let session = session(&args.reference, &args.registry).await?;
        send(&session, &packed, &args.reference, output).await
    })?;
    output.line(args.reference.pinned(digest))?;
    Ok(())
}

fn packed(args: &Args) -> Result<Packed, CommandError> {
    let shown = args.file.display().to_string();
    let module = std::fs::read(&args.file)
        .map_err(|error| CommandError::file("the module", &shown, &error))?;
    let shape = match args.format {
        Format::Artifact => Shape::WasmArtifact(outside(&shown, &module)?),
        Format::WasmToOci => Shape::WasmToOci,
        Format::Image => Shape::Scratch,
    };
    let name = args.file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let annotations = args.annotations.iter().map(|said| annotation(said));
    let words = Words {
        name: name.to_owned(),
        annotations: annotations.collect::<Result<BTreeMap<_, _>, _>>()?,
    };
    pack(Bytes::from(module), &shape, &words).map_err(|error| pull_failure(&shown, &error))
}

fn annotation(said: &str) -> Result<(String, String), CommandError> {
    let (key, value) =
        said.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
            CommandError::usage(format!("--annotation is `{said}`, and not KEY=VALUE"))
        })?;
    Ok((key.to_owned(), value.to_owned()))
}

/// What the artifact's configuration says of the module.
fn outside(shown: &str, module: &[u8]) -> Result<Outside, CommandError> {
    let read = Interfaces::read(module).map_err(|error| {
        let text = Path::new(shown).extension().is_some_and(|ending| ending == "wat");
        let hint = if text { "assemble it first; a registry holds binary modules" } else { "" };
        CommandError::failure(format!("{shown}: {error}")).hint(hint)
    })?;
    let component = (read.kind == Kind::Component).then(|| Component {
        exports: read.exports,
        imports: read.imports.into_iter().map(|(name, _)| name).collect(),
    });
    Ok(Outside { component })
}

async fn send(
    session: &Session,
    packed: &Packed,
    reference: &Reference,
    output: &mut Output,
) -> Result<dhow_core::digest::Digest, CommandError> {
    let mut bar = Bar::new(Instant::now());
    for (blob, bytes) in &packed.blobs {
        let (tell, mut told) = mpsc::unbounded_channel();
        // Nobody listens once the push has ended.
        let hear = |sent: u64| {
            let _over = tell.send(sent);
        };
        let content = Content::Bytes(bytes.clone());
        let mut pushing = pin!(session.push_blob(blob.digest, blob.size, &content, &hear));
        loop {
            let sent = tokio::select! {
                done = &mut pushing => break done.map_err(|error| registry_failure(&error))?,
                Some(sent) = told.recv() => sent,
            };
            let name = blob.digest.to_string();
            if let Some(text) = bar.hear(&name, sent, blob.size, Instant::now()) {
                output.progress(&format!("{reference}: pushing"), &text);
            }
        }
    }
    let manifest = packed.manifest.clone();
    let pushed = session.push_manifest(&packed.descriptor.media_type, manifest).await;
    pushed.map_err(|error| registry_failure(&error))
}
