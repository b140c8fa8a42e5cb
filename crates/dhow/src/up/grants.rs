//! What guests may be granted by this server, and what keeps them from more.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dhow_core::ports::Secrets;
use dhow_engine::{SecretsIn, World};
use dhow_outbound::Way;
use dhow_outbound::resolve::System;
use dhow_outbound::tls::Trust;
use tokio::runtime::Handle;

use super::{Addresses, failure};
use crate::cli::error::CommandError;

/// What guests may be granted.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// A file of certificates (PEM) that guests' requests trust besides the system's; may be
    /// repeated
    #[arg(long, value_name = "FILE")]
    outbound_ca: Vec<PathBuf>,
}

/// The seams through which grants are met.
pub(super) fn world(
    args: &Args,
    addresses: &Addresses,
    data: &Path,
    secrets: Arc<dyn Secrets>,
    is_alone: bool,
) -> Result<World, CommandError> {
    let trust = Trust::with(&args.outbound_ca).map_err(|error| {
        failure(format!("--outbound-ca: {error}")).hint("name a file with certificates in PEM")
    })?;
    let own = vec![addresses.gateway, addresses.admin, addresses.metrics];
    let way = Way::new(own, Arc::new(System), trust, Handle::current());
    // Two dhows may be in one data folder, while one takes over from the other.
    let folder = data.join("given");
    if is_alone {
        // What a dhow left there that was killed.
        dhow_engine::clear(&folder)
            .map_err(|error| failure(format!("{} can't be emptied: {error}", folder.display())))?;
    }
    let folder = folder.join(std::process::id().to_string());
    let secrets = SecretsIn { secrets, folder };
    Ok(World { outbound: Some(Arc::new(way)), secrets: Some(secrets) })
}
