//! What a client of registries is given: whom it trusts, how much it takes, how long it waits.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use dhow_core::plan::egress::EgressRule;
use url::Url;

use super::transport::authority;
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
    /// Which addresses a registry may send this client to: by redirects, as token servers, and
    /// where uploads go on. The registry's own host is free, and so is every insecure one. `None`:
    /// all are.
    pub egress: Option<EgressRule>,
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
            egress: None,
            limits: RegistryLimits::default(),
        }
    }
}

impl RegistryConfig {
    /// Whether the certificate of a host goes unchecked that has these names.
    pub(super) fn is_unchecked(&self, names: &[String]) -> bool {
        self.insecure.iter().any(|named| names.contains(&canonical_host(named)))
    }

    /// Whether the registry at `address` may speak plain HTTP.
    pub(super) fn may_be_plain(&self, address: &Url) -> bool {
        is_loopback(&authority(address)) || self.is_unchecked(&names(address))
    }
}

/// How an operator may write the host of `address`, as [`canonical_host`] has it: with its port, and
/// without one that is the scheme's own.
pub(super) fn names(address: &Url) -> Vec<String> {
    let host = authority(address);
    let with_port = match (address.port(), address.port_or_known_default()) {
        (None, Some(port)) => Some(format!("{host}:{port}")),
        _ => None,
    };
    let canonical = Some(canonical_host(&host)).filter(|canonical| *canonical != host);
    [Some(host), with_port, canonical].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_with_its_port_or_without_the_usual_one() {
        let config = |insecure: &str| RegistryConfig {
            insecure: BTreeSet::from([insecure.to_owned()]),
            ..RegistryConfig::default()
        };
        for (named, address, is_meant) in [
            ("a.io", "https://a.io/v2/", true),
            ("A.io", "https://a.io/v2/", true),
            ("a.io:443", "https://a.io/v2/", true),
            ("a.io", "https://a.io:443/v2/", true),
            ("a.io:80", "http://a.io/v2/", true),
            ("a.io:5000", "https://a.io:5000/v2/", true),
            ("docker.io", "https://registry-1.docker.io/v2/", true),
            ("a.io", "https://a.io:5000/v2/", false),
            ("a.io:5000", "https://a.io/v2/", false),
            ("a.io:80", "https://a.io/v2/", false),
            ("b.a.io", "https://a.io/v2/", false),
        ] {
            let address: Url = address.parse().unwrap();
            let config = config(named);
            assert_eq!(config.is_unchecked(&names(&address)), is_meant, "{named} {address}");
            assert_eq!(config.may_be_plain(&address), is_meant, "{named} {address}");
        }
    }
}
