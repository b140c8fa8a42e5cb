//! Posts messages to a collector, and asks again where the protocol says so.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use prost::Message;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::sleep;

use crate::config::Endpoint;

/// How often one message is sent, the first time included.
const ATTEMPTS: u32 = 5;
/// The pause after the first attempt; each further one doubles it.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, also where the collector asks for a longer one.
const MOST_PAUSE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read.
const MOST_ANSWER: usize = 64 << 10;

/// Sends to one endpoint.
pub(crate) struct Sender {
    client: Client,
    url: Url,
    headers: HeaderMap,
    gzip: bool,
}

/// Why the TLS that an endpoint asks for can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be used.
    #[error("`{file}` can't be used: {why}")]
    File {
        /// Which.
        file: String,
        /// Why.
        why: String,
    },
    /// The library refused.
    #[error("TLS can't be set up: {0}")]
    Setup(String),
}

/// Why a message did not arrive. Names no header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// There was no answer.
    #[error("the collector can't be reached: {0}")]
    Connection(String),
    /// It was refused.
    #[error("the collector answered {0}")]
    Refused(StatusCode),
}

impl Sender {
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self, TlsError> {
        let client = Client::builder()
            .redirect(Policy::none())
            .timeout(endpoint.timeout)
            .user_agent(concat!("dhow/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls(endpoint)?)
            .build()
            .map_err(|error| TlsError::Setup(error.to_string()))?;
        let Endpoint { url, headers, gzip, .. } = endpoint;
        Ok(Self { client, url: url.clone(), headers: headers.clone(), gzip: *gzip })
    }

    /// Sends `message`, and again after pauses where the collector is away or busy. What it
    /// answered.
    pub(crate) async fn send(&self, message: &impl Message) -> Result<Vec<u8>, SendError> {
        let body = self.encode(message);
        let mut attempt = 1;
        loop {
            let (error, asked) = match self.post(body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(refused) => refused,
            };
            let again = match &error {
                SendError::Connection(_) => true,
                // OTLP/HTTP names these.
                SendError::Refused(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            };
            if !again || attempt == ATTEMPTS {
                return Err(error);
            }
            sleep(pause(attempt, asked)).await;
            attempt += 1;
        }
    }

    fn encode(&self, message: &impl Message) -> Vec<u8> {
        let body = message.encode_to_vec();
        if !self.gzip {
            return body;
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&body).and_then(|()| gzip.finish()).expect("memory takes it")
    }

    /// One attempt. On failure also how long the collector wants to be left alone.
    async fn post(&self, body: Vec<u8>) -> Result<Vec<u8>, (SendError, Option<Duration>)> {
        let mut request = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, "application/x-protobuf");
        if self.gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let lost = |error: reqwest::Error| {
            // The address stands in its text, and has no secret.
            (SendError::Connection(chain(&error)), None)
        };
        let mut response = request.body(body).send().await.map_err(lost)?;
        let status = response.status();
        if !status.is_success() {
            let asked = response.headers().get(RETRY_AFTER);
            let asked = asked.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
            return Err((SendError::Refused(status), asked.map(Duration::from_secs)));
        }
        let mut answer = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(lost)? {
            answer.extend_from_slice(&piece);
            if answer.len() > MOST_ANSWER {
                break;
            }
        }
        Ok(answer)
    }
}

/// Doubles with each attempt, with a random part, so that many do not come back at once.
fn pause(attempt: u32, asked: Option<Duration>) -> Duration {
    let grown = PAUSE * 2u32.pow(attempt - 1);
    let base = asked.unwrap_or(grown).min(MOST_PAUSE);
    base.mul_f64(1.0 + fastrand::f64() / 4.0)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Trusts the system's authorities and the endpoint's own; shows the endpoint's certificate.
fn tls(endpoint: &Endpoint) -> Result<ClientConfig, TlsError> {
    let setup = |error: rustls::Error| TlsError::Setup(error.to_string());
    let mut roots = RootCertStore::empty();
    // A machine may have none, or a broken one among many: a connection that needs it says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = &endpoint.authorities {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|error| unusable(file, error))?;
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(setup)?
        .with_root_certificates(roots);
    match &endpoint.identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_file(&identity.key)
                .map_err(|error| unusable(&identity.key, error))?;
            let shown = certificates(&identity.certificate)?;
            builder.with_client_auth_cert(shown, key).map_err(setup)
        }
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| unusable(file, error))?;
    if certificates.is_empty() {
        return Err(unusable(file, "no certificate (PEM) is in it"));
    }
    Ok(certificates)
}

fn unusable(file: &Path, why: impl std::fmt::Display) -> TlsError {
    TlsError::File { file: file.display().to_string(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_a_bound() {
        for (attempt, asked, least, most) in [
            (1, None, 1.0, 1.25),
            (4, None, 8.0, 10.0),
            (1, Some(7), 7.0, 8.75),
            (1, Some(3600), 30.0, 37.5),
        ] {
            let pause = pause(attempt, asked.map(Duration::from_secs)).as_secs_f64();
            assert!((least..=most).contains(&pause), "{attempt}: {pause}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_has_no_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "nothing").unwrap();
        for file in [folder.path().join("missing.pem"), empty] {
            let error = certificates(&file).unwrap_err().to_string();
            assert!(error.contains(&file.display().to_string()), "{error}");
        }
    }
}
