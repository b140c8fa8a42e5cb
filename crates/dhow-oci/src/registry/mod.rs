//! Registries: the OCI distribution protocol over HTTP, from the client's side.
//!
//! A [`Registry`] is made once of a [`RegistryConfig`]; a [`Session`] speaks about one image:
//! manifests and blobs in both directions, each verified, bounded and tried again. What the bytes
//! mean is not known here: formats are.

mod blob;
mod challenge;
mod config;
mod error;
mod failure;
mod manifest;
mod push;
mod redirect;
mod session;
mod source;
mod tls;
mod token;
mod transport;
mod wait;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

pub use config::{RegistryConfig, RegistryLimits};
pub use error::RegistryError;
pub use manifest::Manifest;
pub use push::Content;
pub use session::Session;

/// A client of registries. Cheap to make sessions of; connections are shared between them.
#[derive(Debug)]
pub struct Registry(Arc<Clients>);

/// Clients by whom they trust.
#[derive(Debug)]
struct Clients {
    config: RegistryConfig,
    checked: reqwest::Client,
    unchecked: reqwest::Client,
}

impl Registry {
    /// Reads the certificates and makes the client.
    ///
    /// # Errors
    /// A file of certificates can't be used.
    pub fn try_new(config: RegistryConfig) -> Result<Self, RegistryError> {
        let roots = tls::roots(&config.certificates)?;
        let checked = transport::client(tls::checked(roots)?, &config.limits, None)?;
        let unchecked = transport::client(tls::unchecked()?, &config.limits, None)?;
        Ok(Self(Arc::new(Clients { config, checked, unchecked })))
    }
}

impl Clients {
    /// The client for a host, with the trust that it is given by any of its `names`.
    fn client_for(&self, names: &[String]) -> Result<reqwest::Client, RegistryError> {
        if self.config.is_unchecked(names) {
            return Ok(self.unchecked.clone());
        }
        let own = tls::host_files(&self.config.host_certificates, names)?;
        if own.is_empty() {
            return Ok(self.checked.clone());
        }
        transport::client(self.trusting(own)?, &self.config.limits, None)
    }

    /// The client for a host that may be reached at these addresses alone, whatever its name means
    /// a moment later.
    fn client_at(
        &self,
        names: &[String],
        host: &str,
        addresses: &[SocketAddr],
    ) -> Result<reqwest::Client, RegistryError> {
        let own = tls::host_files(&self.config.host_certificates, names)?;
        transport::client(self.trusting(own)?, &self.config.limits, Some((host, addresses)))
    }

    fn trusting(&self, own: Vec<PathBuf>) -> Result<rustls::ClientConfig, RegistryError> {
        let files: Vec<_> = self.config.certificates.iter().cloned().chain(own).collect();
        tls::checked(tls::roots(&files)?)
    }
}
