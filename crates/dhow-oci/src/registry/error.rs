//! Why a registry did not give or take, with a stable short name, and what to do about it.
//!
//! No secret is ever in one: of addresses only scheme, host and path are told, of a registry's own
//! words only its error code.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use dhow_core::digest::Digest;

/// Why a step with a registry failed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No connection, or one that broke more often than is tried.
    #[error("{host} can't be reached: {why}")]
    Unreachable {
        /// The host and port.
        host: String,
        /// What the network or TLS said.
        why: String,
    },
    /// The certificate is not one that is trusted.
    #[error("the certificate of {host} is not trusted: {why}")]
    Untrusted {
        /// The host and port.
        host: String,
        /// What TLS said.
        why: String,
    },
    /// It wants to know who we are, or does not believe it.
    #[error("{host} {} for {what}", if *.known { "did not accept the credentials" } else { "wants credentials" })]
    LoginRequired {
        /// The host and port.
        host: String,
        /// What was asked for.
        what: String,
        /// Whether credentials were shown.
        known: bool,
    },
    /// It knows who we are and says no.
    #[error("{host} denies access to {what}{}", in_brackets(.code.as_ref()))]
    Denied {
        /// The host and port.
        host: String,
        /// What was asked for.
        what: String,
        /// The registry's error code.
        code: Option<String>,
    },
    /// It has no such thing.
    #[error("{host} has no {what}{}", in_brackets(.code.as_ref()))]
    NotFound {
        /// The host and port.
        host: String,
        /// What was asked for.
        what: String,
        /// The registry's error code.
        code: Option<String>,
    },
    /// It is asked too often.
    #[error("{host} is asked too often{}", .after.map_or(String::new(), |after| format!("; it says to wait {} s", after.as_secs())))]
    RateLimited {
        /// The host and port.
        host: String,
        /// How long it says to wait.
        after: Option<Duration>,
    },
    /// It refused what was asked, or failed, with this status.
    #[error("{host} answered {status} to {what}{}", in_brackets(.code.as_ref()))]
    Refused {
        /// The host and port.
        host: String,
        /// What was asked for.
        what: String,
        /// Of HTTP.
        status: u16,
        /// The registry's error code.
        code: Option<String>,
    },
    /// The bytes are not the ones that were asked for.
    #[error("{what} has the digest {found}, not {wanted}; nothing of it is kept")]
    WrongDigest {
        /// Which.
        what: String,
        /// By its digest.
        wanted: Digest,
        /// Of the bytes that came.
        found: Digest,
    },
    /// There are more or fewer bytes than were promised.
    #[error("{what} has {found} bytes, not {wanted}; nothing of it is kept")]
    WrongSize {
        /// Which.
        what: String,
        /// As the manifest says.
        wanted: u64,
        /// As they came, or as the registry said.
        found: u64,
    },
    /// There is more than the budget.
    #[error("{what} has more than {most} bytes, the most that is taken")]
    TooLarge {
        /// Which.
        what: String,
        /// The budget.
        most: u64,
    },
    /// It sends us on and on, or to where credentials and checks would be lost.
    #[error("{host} redirects {what} {why}")]
    Redirect {
        /// The host and port.
        host: String,
        /// What was asked for.
        what: String,
        /// Where to.
        why: String,
    },
    /// It does not speak the protocol.
    #[error("{host} does not answer as a registry: {why}")]
    Protocol {
        /// The host and port.
        host: String,
        /// In what.
        why: String,
    },
    /// The time for a step or for the whole is over.
    #[error("{host} took longer than {} s for {what}", .limit.as_secs_f64())]
    Timeout {
        /// The host and port.
        host: String,
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// Bytes can't be written or read here.
    #[error("{}: {source}", file.display())]
    Disk {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The client can't be made of its settings.
    #[error("{what}: {why}")]
    Setup {
        /// Which setting.
        what: String,
        /// Why.
        why: String,
    },
}

fn in_brackets(code: Option<&String>) -> String {
    code.map_or(String::new(), |code| format!(" ({code})"))
}

impl RegistryError {
    /// The stable short name.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "registry-unreachable",
            Self::Untrusted { .. } => "untrusted-certificate",
            Self::LoginRequired { .. } => "login-required",
            Self::Denied { .. } => "denied",
            Self::NotFound { .. } => "not-found",
            Self::RateLimited { .. } => "rate-limited",
            Self::Refused { .. } => "registry-refused",
            Self::WrongDigest { .. } => "wrong-digest",
            Self::WrongSize { .. } => "wrong-size",
            Self::TooLarge { .. } => "too-large",
            Self::Redirect { .. } => "redirect",
            Self::Protocol { .. } => "bad-registry",
            Self::Timeout { .. } => "timeout",
            Self::Disk { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "storage-full"
            }
            Self::Disk { .. } => "disk",
            Self::Setup { .. } => "bad-setting",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Cow<'static, str> {
        Cow::Owned(match self {
            Self::Unreachable { host, .. } => format!(
                "check the name and the network; a registry without TLS needs --insecure-registry {host}"
            ),
            Self::Untrusted { host, .. } => format!(
                "give its authority's certificate, or, for a registry of your own, --insecure-registry {host}"
            ),
            Self::LoginRequired { host, known: false, .. } => {
                format!("dhow login {}", login_host(host))
            }
            Self::LoginRequired { host, known: true, .. } => {
                format!("the password or token may have expired: dhow login {}", login_host(host))
            }
            Self::Denied { host, .. } => {
                format!("ask for access, or use another account: dhow login {}", login_host(host))
            }
            Self::NotFound { host, .. } => format!(
                "check the name and the tag; many registries hide private repositories so: dhow login {}",
                login_host(host)
            ),
            Self::RateLimited { host, .. } => {
                format!("wait, or log in for a larger allowance: dhow login {}", login_host(host))
            }
            Self::WrongDigest { .. } | Self::WrongSize { .. } => {
                "the registry or something before it changes bytes; pull again or elsewhere"
                    .to_owned()
            }
            Self::Disk { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "make room on the disk".to_owned()
            }
            Self::Timeout { .. } => return "try again when the registry is less slow".into(),
            Self::TooLarge { .. } => {
                return "make it smaller: a function needs its module and little else".into();
            }
            Self::Refused { .. } | Self::Redirect { .. } | Self::Protocol { .. } => {
                return "check that the name is a registry's, and what the registry's log says"
                    .into();
            }
            Self::Disk { .. } => return "see the system's reason, then try again".into(),
            Self::Setup { .. } => return "correct the setting and try again".into(),
        })
    }
}

/// The host that people log in to.
fn login_host(host: &str) -> String {
    crate::reference::canonical_host(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_told_from_what_is_denied() {
        let host = || "registry-1.docker.io".to_owned();
        let what = || "me/x:v1".to_owned();
        let unknown = RegistryError::LoginRequired { host: host(), what: what(), known: false };
        assert_eq!(unknown.to_string(), "registry-1.docker.io wants credentials for me/x:v1");
        assert_eq!(unknown.hint(), "dhow login docker.io");
        let denied = RegistryError::Denied { host: host(), what: what(), code: None };
        let absent = RegistryError::NotFound {
            host: host(),
            what: what(),
            code: Some("MANIFEST_UNKNOWN".to_owned()),
        };
        assert_eq!((denied.reason(), absent.reason()), ("denied", "not-found"));
        assert!(absent.to_string().ends_with("(MANIFEST_UNKNOWN)"), "{absent}");
    }
}
