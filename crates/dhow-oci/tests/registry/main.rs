//! The registries' client against a real registry, an independent client, and a server that
//! misbehaves. Needs the programs of the packages docker-registry, skopeo, apache2-utils and
//! openssl.

#![allow(clippy::unwrap_used, reason = "a test that can't go on ends there")]

mod misbehaving;
mod real;
mod server;
mod tokens;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dhow_core::digest::Digest;
use dhow_oci::image::descriptor::Descriptor;
use dhow_oci::image::error::PullError;
use dhow_oci::image::incoming::Incoming;
use dhow_oci::registry::{Registry, RegistryConfig, RegistryLimits, Session};
use sha2::{Digest as _, Sha256};

/// A client that does not wait long.
fn config() -> RegistryConfig {
    let limits = RegistryLimits {
        first_wait: Duration::from_millis(5),
        longest_wait: Duration::from_secs(3),
        stall: Duration::from_secs(20),
        ..RegistryLimits::default()
    };
    RegistryConfig { limits, host_certificates: Vec::new(), ..RegistryConfig::default() }
}

/// A session about `image` as nobody.
fn session(config: RegistryConfig, image: &str) -> Session {
    Registry::try_new(config).unwrap().session(&image.parse().unwrap(), None).unwrap()
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest(bytes),
        size: bytes.len() as u64,
        platform: None,
        annotations: None,
    }
}

/// `length` bytes that do not repeat soon.
fn noise(length: usize, seed: u64) -> Bytes {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// Pulls a blob into `folder`, whole.
async fn pull(session: &Session, blob: &Descriptor, folder: &Path) -> Result<Bytes, PullError> {
    let mut into = Incoming::create(blob, folder, Arc::new(|_, _| {})).await?;
    session.pull_blob(blob, &mut into).await?;
    Ok(std::fs::read(into.finish().await?).unwrap().into())
}
