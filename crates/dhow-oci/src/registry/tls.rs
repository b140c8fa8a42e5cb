//! Whom TLS trusts: the system's authorities, those that are given, or, for a registry that is
//! named insecure, anybody.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::RegistryError;

/// The most files of certificates that one registry may have.
const MOST_FILES: usize = 64;

/// The system's authorities and those in `files`.
pub(super) fn roots(files: &[PathBuf]) -> Result<RootCertStore, RegistryError> {
    let mut store = RootCertStore::empty();
    // A machine may have none, or a broken one among many: registries that need it say so.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for file in files {
        add(&mut store, file)?;
    }
    Ok(store)
}

/// Docker's files for one registry that has these `names`: `FOLDER/HOST/*.crt`.
pub(super) fn host_files(
    folders: &[PathBuf],
    names: &[String],
) -> Result<Vec<PathBuf>, RegistryError> {
    let mut files = Vec::new();
    for folder in folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name))) {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(RegistryError::Disk { file: folder, source }),
        };
        for entry in entries {
            let entry =
                entry.map_err(|source| RegistryError::Disk { file: folder.clone(), source })?;
            if entry.path().extension().is_some_and(|extension| extension == "crt") {
                files.push(entry.path());
            }
            if files.len() > MOST_FILES {
                let what = folder.display().to_string();
                let why = format!("it has more than {MOST_FILES} files of certificates");
                return Err(RegistryError::Setup { what, why });
            }
        }
    }
    files.sort();
    Ok(files)
}

/// TLS that trusts `roots`.
pub(super) fn checked(roots: RootCertStore) -> Result<ClientConfig, RegistryError> {
    Ok(builder()?.with_root_certificates(roots).with_no_client_auth())
}

/// TLS that trusts anybody.
pub(super) fn unchecked() -> Result<ClientConfig, RegistryError> {
    let anybody = Arc::new(Anybody(provider()));
    Ok(builder()?.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth())
}

fn add(store: &mut RootCertStore, file: &Path) -> Result<(), RegistryError> {
    let told = |why: String| RegistryError::Setup { what: file.display().to_string(), why };
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|error| told(error.to_string()))?;
    let mut found = false;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| told(error.to_string()))?;
        store.add(certificate).map_err(|error| told(error.to_string()))?;
        found = true;
    }
    if found { Ok(()) } else { Err(told("no certificate (PEM) is in it".to_owned())) }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, RegistryError> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| RegistryError::Setup { what: "TLS".to_owned(), why: error.to_string() })
}

/// Checks that the other side holds the key of the certificate that it shows, whosever it is.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_certificate_of_a_host_is_read_or_it_is_said_that_they_are_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let host = folder.path().join("a.io");
        std::fs::create_dir(&host).unwrap();
        let found = || host_files(&[folder.path().to_owned()], &["b.io".into(), "a.io".into()]);
        for at in 0..MOST_FILES {
            std::fs::write(host.join(format!("{at}.key")), "").unwrap();
            std::fs::write(host.join(format!("{at}.crt")), "").unwrap();
        }
        assert_eq!(found().unwrap().len(), MOST_FILES);
        std::fs::write(host.join("more.crt"), "").unwrap();
        assert_eq!(found().unwrap_err().reason(), "bad-setting");
    }
}
