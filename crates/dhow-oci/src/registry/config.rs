//! What a client of registries is given: whom it trusts, how much it takes, how long it waits.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::reference::{canonical_host, is_loopback};

/// How registries are spoken to.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// Registries (HOST or HOST:PORT) that are spoken to over TLS without a check of their
    /// certificate, or over plain HTTP where they speak no TLS. One at a loopback name of this
    /// machine may speak plain HTTP without being named; where it speaks TLS, that is checked.
    pub insecure: BTreeSet<String>,
    /// Files of certificates (PEM) that are trusted on top of the system's.
    pub certificates: Vec<PathBuf>,
    /// Folders as Docker has them, with HOST\[:PORT\]/*.crt trusted for that registry alone.
    pub host_certificates: Vec<PathBuf>,
    /// The budgets.
    pub limits: RegistryLimits,
}

/// Budgets of one session with a registry. Every one is enforced.
#[derive(Debug, Clone)]
pub struct RegistryLimits {
    /// The largest manifest, bytes.
    pub manifest: u64,
    /// The largest blob, bytes.
    pub blob: u64,
    /// The headers of one answer, bytes of names and values.
    pub headers: usize,
    /// The longest token that is taken from a token server, bytes.
    pub token: usize,
    /// Redirects that one request follows.
    pub redirects: usize,
    /// Blobs that are in transfer at once.
    pub parallel: usize,
    /// Tries of one step after the first that failed for a reason that may pass. A blob that
    /// went forward in between begins to count anew.
    pub retries: u32,
    /// The wait before the first new try; it doubles, with jitter, up to `longest_wait`.
    pub first_wait: Duration,
    /// The longest wait between two tries. A server that asks for a longer one is given up.
    pub longest_wait: Duration,
    /// For the connection, TLS included.
    pub connect: Duration,
    /// For the head of an answer, and between two pieces of a body.
    pub stall: Duration,
    /// For the whole session.
    pub total: Duration,
    /// Blobs above this many bytes are pushed in pieces of it.
    pub chunk: u64,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self {
            manifest: 4 << 20,
            blob: 4 << 30,
            headers: 64 << 10,
            token: 64 << 10,
            redirects: 5,
            parallel: 4,
            retries: 5,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(30),
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            total: Duration::from_secs(30 * 60),
            chunk: 16 << 20,
        }
    }
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            insecure: BTreeSet::new(),
            certificates: Vec::new(),
            host_certificates: vec!["/etc/containers/certs.d".into(), "/etc/docker/certs.d".into()],
            limits: RegistryLimits::default(),
        }
    }
}

impl RegistryConfig {
    /// Whether the certificate of `host` goes unchecked.
    pub(super) fn is_unchecked(&self, host: &str) -> bool {
        self.insecure.iter().any(|named| canonical_host(named) == canonical_host(host))
    }

    /// Whether `host` may speak plain HTTP.
    pub(super) fn may_be_plain(&self, host: &str) -> bool {
        is_loopback(host) || self.is_unchecked(host)
    }
}
