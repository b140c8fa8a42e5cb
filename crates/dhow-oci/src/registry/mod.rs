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

pub use config::{RegistryConfig, RegistryLimits};
pub use error::RegistryError;
pub use manifest::Manifest;
pub use push::Content;
pub use session::Session;

/// A client of registries. Cheap to make sessions of; connections are shared between them.
#[derive(Debug)]
pub struct Registry {
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
        let checked = transport::client(tls::checked(roots)?, &config.limits)?;
        let unchecked = transport::client(tls::unchecked()?, &config.limits)?;
        Ok(Self { config, checked, unchecked })
    }

    /// The client for `host`, with the trust that it is given.
    fn client_for(&self, host: &str) -> Result<reqwest::Client, RegistryError> {
        if self.config.is_unchecked(host) {
            return Ok(self.unchecked.clone());
        }
        let own = tls::host_files(&self.config.host_certificates, host)?;
        if own.is_empty() {
            return Ok(self.checked.clone());
        }
        let files: Vec<_> = self.config.certificates.iter().cloned().chain(own).collect();
        transport::client(tls::checked(tls::roots(&files)?)?, &self.config.limits)
    }
}
