//! Whom TLS trusts: the system's authorities, and those that are given.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;

/// Sessions that are remembered for one function.
const SESSIONS: usize = 32;

/// Whom to trust. The system's authorities are read when somebody first needs them.
pub struct Trust {
    given: Vec<CertificateDer<'static>>,
    config: OnceCell<Result<ClientConfig, String>>,
}

/// Why authorities can't be had.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", file.display())]
pub struct TrustError {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub why: String,
}

impl Trust {
    /// The system's authorities and those in `files`, PEM.
    ///
    /// # Errors
    /// When a file can't be read, or holds no certificate.
    pub fn with(files: &[PathBuf]) -> Result<Self, TrustError> {
        let mut given = Vec::new();
        for file in files {
            given.extend(read(file)?);
        }
        Ok(Self { given, config: OnceCell::new() })
    }

    /// Settings for one function, whose sessions are its own.
    pub(crate) async fn config(&self) -> Result<ClientConfig, String> {
        let given = &self.given;
        let config = self.config.get_or_init(|| async {
            let given = given.clone();
            let made = tokio::task::spawn_blocking(move || make(given)).await;
            made.unwrap_or_else(|error| Err(error.to_string()))
        });
        let mut config = config.await.clone()?;
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(config)
    }
}

fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let told = |why: String| TrustError { file: file.to_owned(), why };
    let found = CertificateDer::pem_file_iter(file).map_err(|error| told(error.to_string()))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| told(error.to_string()))?;
    let mut store = RootCertStore::empty();
    for certificate in &found {
        store.add(certificate.clone()).map_err(|error| told(error.to_string()))?;
    }
    if found.is_empty() { Err(told("no certificate (PEM) is in it".to_owned())) } else { Ok(found) }
}

fn make(given: Vec<CertificateDer<'static>>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // A machine may have none, or a broken one among many: a request that needs it says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in given {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
