//! Who may call a function, from which pages, and how often.
//!
//! It belongs to the function and not to a revision: a rollback must not open what was closed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};

use crate::digest::Digest;
use crate::limits::Bounds;
use crate::name::Label;

/// The header of API keys, unless a function names another.
pub const API_KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");
/// What a function is told of its caller, where it asked that callers show who they are.
pub const CLIENT: HeaderName = HeaderName::from_static("x-dhow-client");
/// API keys of one function.
pub const MOST_API_KEYS: usize = 1000;
/// Issuers that one function trusts.
pub const MOST_ISSUERS: usize = 16;
/// Entries of the other lists.
pub const MOST_ENTRIES: usize = 100;
/// Bytes of a key set, written out or fetched.
pub const MOST_KEY_SET: usize = 256 << 10;
/// `auth.jwt[].leeway`: how far the clocks of issuer and server may be apart.
pub const LEEWAY: Bounds<Duration> = Bounds {
    default: Duration::from_secs(30),
    least: Duration::ZERO,
    most: Duration::from_secs(300),
};
/// `cors.maxAge`: how long a browser may remember an answer. Browsers have lower bounds of their own.
pub const CORS_MAX_AGE: Bounds<Duration> = Bounds {
    default: Duration::from_secs(600),
    least: Duration::ZERO,
    most: Duration::from_secs(24 * 3600),
};
/// `rateLimit.*.calls` and `.burst`.
pub const RATE_CALLS: Bounds<u32> = Bounds { default: 1, least: 1, most: 1_000_000 };
/// `rateLimit.*.per`.
pub const RATE_PER: Bounds<Duration> = Bounds {
    default: Duration::from_secs(1),
    least: Duration::from_millis(1),
    most: Duration::from_secs(24 * 3600),
};

/// What stands before a function. Open to everybody unless something is said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// Callers have to show who they are.
    pub auth: Option<Auth>,
    /// Pages of other origins may call it.
    pub cors: Option<Cors>,
    /// Calls come at this pace at most.
    pub rate: RateLimits,
}

/// How a caller may show who they are. Any one of them is enough.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Auth {
    /// By a key of the function's own.
    pub api_keys: Option<ApiKeys>,
    /// By a JSON Web Token (RFC 7519) of one of these issuers.
    pub jwt: Vec<Issuer>,
    /// By a token of this installation with the scope `invoke`.
    pub tokens: bool,
}

/// Keys in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeys {
    /// Which header.
    pub header: HeaderName,
    /// The keys that are known; names and hashes are unique.
    pub keys: Vec<ApiKey>,
}

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Whose it is.
    pub name: Label,
    /// SHA-256 of the key.
    pub hash: Digest,
}

/// Somebody whose tokens are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The claim `iss`, to the letter.
    pub issuer: String,
    /// The claim `aud` has to name one of these; never empty.
    pub audiences: Vec<String>,
    /// The algorithms of signatures that are believed; never empty.
    pub algorithms: Vec<Algorithm>,
    /// Where the keys are that signatures are checked with.
    pub keys: KeySet,
    /// How far apart the clocks may be.
    pub leeway: Duration,
}

/// A JSON Web Key Set (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySet {
    /// To be fetched from here, again and again.
    Url(String),
    /// Written out: JSON.
    Inline(String),
}

/// A signature's algorithm (RFC 7518, RFC 8037), of those whose verifier holds no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// Which pages may call, beyond those of the function's own origin (the Fetch standard's CORS).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Their origins; never empty.
    pub origins: Origins,
    /// The methods that they may use.
    pub methods: Vec<Method>,
    /// The headers that they may send.
    pub headers: Vec<HeaderName>,
    /// The headers of answers that they may read.
    pub expose: Vec<HeaderName>,
    /// Whether requests may carry cookies and the like. Never with [`Origins::Any`].
    pub credentials: bool,
    /// How long a browser may remember what it was told.
    pub max_age: Duration,
}

/// Origins of pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// All of them.
    Any,
    /// These, as browsers write them: `https://app.example`.
    These(Vec<String>),
}

/// How often a function may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimits {
    /// By everybody together.
    pub function: Option<Rate>,
    /// By one client: whoever the caller showed to be, else their address.
    pub client: Option<Rate>,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// So many calls.
    pub calls: u32,
    /// In so much time.
    pub per: Duration,
    /// So many may come at once.
    pub burst: u32,
}

/// The text names no [`Algorithm`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAlgorithm {
    /// It has a shared secret, or no signature.
    #[error("`{0}` is not taken: a signature is checked with a public key")]
    NotPublic(String),
    /// It is none.
    #[error("is not one of {}", Algorithm::ALL.map(Algorithm::as_str).join(", "))]
    Unknown,
}

impl Access {
    /// Whether nothing stands before the function.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// To be kept with a function; most have none.
    pub fn shared(self) -> Option<Arc<Self>> {
        (!self.is_open()).then(|| Arc::new(self))
    }
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The name in a token's header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = BadAlgorithm;

    fn from_str(text: &str) -> Result<Self, BadAlgorithm> {
        if let "none" | "HS256" | "HS384" | "HS512" = text {
            return Err(BadAlgorithm::NotPublic(text.to_owned()));
        }
        let known = Self::ALL.into_iter().find(|known| known.as_str() == text);
        known.ok_or(BadAlgorithm::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_are_those_of_public_keys() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
        }
        for secret in ["none", "HS256", "HS384", "HS512"] {
            assert!(matches!(secret.parse::<Algorithm>(), Err(BadAlgorithm::NotPublic(_))));
        }
        assert_eq!("rs256".parse::<Algorithm>(), Err(BadAlgorithm::Unknown));
        assert_eq!("None".parse::<Algorithm>(), Err(BadAlgorithm::Unknown));
    }
}
