//! An image, fetched by the client itself: into a folder that goes with it.

use std::sync::Arc;
use std::time::Instant;

use dhow_oci::archive::Archive;
use dhow_oci::image::budget::Budget;
use dhow_oci::image::platform;
use dhow_oci::image::pull::{Ask, pull};
use dhow_oci::image::pulled::Pulled;
use dhow_oci::layout::Layout;
use dhow_oci::reference::Reference;
use dhow_oci::registry::Session;
use dhow_oci::source::Source;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::place::Place;
use super::{RegistryArgs, keychain, pull_failure, registry_failure};
use crate::cli::bar::Bar;
use crate::cli::error::CommandError;
use crate::cli::output::Output;

/// What was fetched, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// What it is.
    pub(crate) pulled: Pulled,
    /// The reference, pinned to what it led to; none for what is no registry's.
    pub(crate) reference: Option<Reference>,
    _folder: TempDir,
}

/// Fetches what is at `place`; none where that is a module and no image. `command` says what runs,
/// where the image shall not.
///
/// # Errors
/// When it can't be had, or is refused.
pub(crate) async fn fetch(
    place: &Place,
    command: &[String],
    registry: &RegistryArgs,
    output: &mut Output,
) -> Result<Option<Fetched>, CommandError> {
    let folder = tempfile::tempdir()
        .map_err(|error| CommandError::failure(format!("no temporary folder: {error}")))?;
    let (shown, reference, source): (String, _, Box<dyn Source>) = match place {
        Place::Module(_) => return Ok(None),
        Place::Layout(path, name) => {
            let layout = Layout::new(path, name.clone());
            (path.display().to_string(), None, Box::new(layout))
        }
        Place::Archive(path, name) => {
            let shown = path.display().to_string();
            let budget = Budget::default();
            let opened = Archive::open(path, name.clone(), folder.path(), &budget).await;
            let archive = opened.map_err(|error| pull_failure(&shown, &error))?;
            (shown, None, Box::new(archive))
        }
        Place::Image(reference) => {
            let session = session(reference, registry).await?;
            (reference.to_string(), Some(reference), Box::new(session))
        }
    };
    let pulled = with_bar(&shown, source.as_ref(), command, &folder, output).await?;
    let reference =
        reference.map(|reference| reference.pinned(pulled.index.unwrap_or(pulled.manifest)));
    Ok(Some(Fetched { pulled, reference, _folder: folder }))
}

/// A conversation about `image`, as whom Docker's or podman's files say we are.
///
/// # Errors
/// When certificates or credentials are named that can't be used.
pub(crate) async fn session(
    image: &Reference,
    registry: &RegistryArgs,
) -> Result<Session, CommandError> {
    let credential = match keychain() {
        Some(keychain) => keychain
            .credential(image)
            .await
            .map_err(|error| CommandError::failure(format!("credentials for {image}: {error}")))?,
        None => None,
    };
    registry.registry()?.session(image, credential).map_err(|error| registry_failure(&error))
}

async fn with_bar(
    shown: &str,
    source: &dyn Source,
    command: &[String],
    folder: &TempDir,
    output: &mut Output,
) -> Result<Pulled, CommandError> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let ask = Ask {
        staging: folder.path().to_owned(),
        budget: Budget::default(),
        command: command.to_vec(),
        machine: platform::machine().to_owned(),
        // Nobody listens once the pull has ended.
        hear: Arc::new(move |blob, received| {
            let _over = tell.send((blob.digest, received, blob.size));
        }),
        // The folder goes with this process.
        hold: Arc::new(()),
    };
    let mut bar = Bar::new(Instant::now());
    let mut pulling = std::pin::pin!(pull(source, &ask));
    loop {
        tokio::select! {
            done = &mut pulling => return done.map_err(|error| pull_failure(shown, &error)),
            Some((blob, received, size)) = told.recv() => {
                if let Some(text) = bar.hear(&blob.to_string(), received, size, Instant::now()) {
                    output.progress(&format!("{shown}: pulling"), &text);
                }
            }
        }
    }
}
