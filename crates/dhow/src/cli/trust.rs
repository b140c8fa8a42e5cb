//! Whom the client takes for the server it means: the system's authorities, and those it is told.

use std::path::Path;
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::error::CommandError;

/// Whose certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trust {
    /// Those of the system's authorities.
    #[default]
    System,
    /// Those, and of the authorities in this PEM text.
    Also(Vec<u8>),
    /// Anybody's: the other end is a listener of this very process.
    OwnListener,
}

impl Trust {
    /// The system's authorities and those in `file`.
    ///
    /// # Errors
    /// When the file can't be read or has no certificate in it.
    pub fn also(file: &Path, source: &str) -> Result<Self, CommandError> {
        let what = format!("{source}: the certificates");
        let pem = std::fs::read(file)
            .map_err(|error| CommandError::file(&what, file.display(), &error))?;
        let has_some = certificates(&pem).next().is_some();
        has_some.then_some(Self::Also(pem)).ok_or_else(|| {
            let shown = file.display();
            CommandError::usage(format!("{source}: `{shown}` has no certificate in PEM in it"))
        })
    }

    /// TLS as a client speaks it.
    pub(crate) fn config(&self) -> TlsConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
        let more = match self {
            Self::OwnListener => return config.disable_verification(true).build(),
            Self::System => [].as_slice(),
            Self::Also(pem) => pem,
        };
        // A machine may have none: then only those that were named are believed.
        let system = rustls_native_certs::load_native_certs().certs;
        let system = system.iter().map(|der| Certificate::from_der(der).to_owned());
        config.root_certs(RootCerts::from(system.chain(certificates(more)))).build()
    }
}

fn certificates(pem: &[u8]) -> impl Iterator<Item = Certificate<'static>> {
    parse_pem(pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    })
}
