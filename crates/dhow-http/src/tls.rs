//! TLS of listeners: one certificate, read from two files and read again when they change.
//!
//! Knows PEM and rustls; knows nothing of HTTP but the names of its versions (ALPN, RFC 7301).

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How often the files are looked at: whoever renews a certificate waits no longer for it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The most bytes of one of the files.
const MOST: u64 = 1 << 20;

/// HTTP/2 and HTTP/1.1, as clients and servers name them to each other.
pub const H2_AND_H1: &[&[u8]] = &[b"h2", b"http/1.1"];
/// HTTP/1.1 alone.
pub const H1: &[&[u8]] = &[b"http/1.1"];

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate and those that lead to its authority, in PEM, its own first.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// Why files hold no certificate that can be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{} can't be read: {source}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds nothing of its kind.
    #[error("{} holds no {what} in PEM", file.display())]
    Empty {
        /// Which.
        file: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// What they hold can't be used.
    #[error("{} and {}: {source}", files.certificate.display(), files.key.display())]
    Unusable {
        /// Which.
        files: Files,
        /// Why; that key and certificate do not belong together, mostly.
        source: rustls::Error,
    },
}

/// The certificate in force. New connections have the newest that could be used.
pub struct Certificates {
    files: Files,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<CertifiedKey>,
}

/// What the two files held.
#[derive(PartialEq, Eq)]
struct Bytes {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// TLS as one listener speaks it. Cheap to clone.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

/// A connection, with TLS or without.
pub enum Transport {
    /// As it came.
    Plain(TcpStream),
    /// Inside TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// When they hold no certificate with its key.
    pub fn open(files: Files) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let current = parse(&files, &read(&files)?, &provider)?;
        Ok(Arc::new(Self { files, provider, current: ArcSwap::from_pointee(current) }))
    }

    /// Takes up what the files come to hold, for as long as it is polled. Where that can't be used
    /// the certificate in force stays, and the log says so once.
    pub async fn follow(self: Arc<Self>) {
        let mut seen = None;
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let this = Arc::clone(&self);
            let mut before = seen;
            let looked = tokio::task::spawn_blocking(move || {
                this.look(&mut before);
                before
            });
            seen = match looked.await {
                Ok(seen) => seen,
                Err(error) => {
                    tracing::error!(%error, "looking at the certificate's files broke off");
                    None
                }
            };
        }
    }

    /// Reads the files and, when they hold something else than `seen`, takes it up.
    fn look(&self, seen: &mut Option<Result<Bytes, String>>) {
        let now = read(&self.files).map_err(|error| error.to_string());
        if seen.as_ref() == Some(&now) {
            return;
        }
        let file = self.files.certificate.display();
        let used = match &now {
            Ok(bytes) => {
                parse(&self.files, bytes, &self.provider).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.clone()),
        };
        match used {
            Ok(new) if new.cert == self.current.load().cert => {}
            Ok(new) => {
                self.current.store(Arc::new(new));
                tracing::info!(%file, "the new certificate is in force");
            }
            Err(error) => {
                tracing::warn!(%file, error, "the new certificate can't be used; the old one stays");
            }
        }
        *seen = Some(now);
    }
}

impl Tls {
    /// TLS 1.2 and 1.3 with these certificates, for clients that speak one of `protocols`.
    ///
    /// # Errors
    /// When rustls takes none of its own versions, which would be a defect.
    pub fn new(
        certificates: Arc<Certificates>,
        protocols: &[&[u8]],
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::clone(&certificates.provider);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificates);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Shakes hands with a client. Takes as long as the client does: whoever calls bounds it.
    ///
    /// # Errors
    /// When the client speaks no TLS, or none that is spoken here.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Transport> {
        Ok(Transport::Tls(Box::new(self.0.accept(stream).await?)))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn read(files: &Files) -> Result<Bytes, TlsError> {
    let bytes = |file: &PathBuf| {
        let told = |source| TlsError::File { file: file.clone(), source };
        if fs::metadata(file).map_err(told)?.len() > MOST {
            return Err(told(io::ErrorKind::FileTooLarge.into()));
        }
        fs::read(file).map_err(told)
    };
    Ok(Bytes { certificate: bytes(&files.certificate)?, key: bytes(&files.key)? })
}

fn parse(
    files: &Files,
    bytes: &Bytes,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let empty = |file: &PathBuf, what| TlsError::Empty { file: file.clone(), what };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes.certificate).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| empty(&files.certificate, "certificate"))?;
    // What the error says may quote the key.
    let key =
        PrivateKeyDer::from_pem_slice(&bytes.key).map_err(|_| empty(&files.key, "private key"))?;
    CertifiedKey::from_der(chain, key, provider)
        .map_err(|source| TlsError::Unusable { files: files.clone(), source })
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
