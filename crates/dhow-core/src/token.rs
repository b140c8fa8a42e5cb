//! Tokens: credentials with a name, for people and programs, and what each of them may do.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::name::Label;

/// Tokens that one installation keeps at most: each request is held against all of them.
pub const MOST_TOKENS: usize = 1000;
/// Scopes of one token.
pub const MOST_GRANTS: usize = 100;

/// A kind of things that may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// See functions, their outcomes, logs and figures.
    Read,
    /// Change functions; includes `read`.
    Deploy,
    /// Call functions that ask for a token.
    Invoke,
    /// Everything, tokens and quotas too.
    Admin,
}

/// What one token may do, in one namespace or in all. Written `read` or `read:NAMESPACE`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    /// What.
    pub scope: Scope,
    /// Where; `None` is everywhere. Never there for [`Scope::Admin`].
    pub namespace: Option<Label>,
}

/// A text that is not a [`Grant`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadGrant {
    /// No such scope.
    #[error("a scope is one of read, deploy, invoke, admin, and may end in `:NAMESPACE`")]
    Scope,
    /// What follows the colon is not the name of a namespace.
    #[error("the namespace: {0}")]
    Namespace(#[from] crate::name::BadLabel),
    /// Tokens and quotas are not of one namespace.
    #[error("`admin` is for everything; for one namespace say deploy:NAMESPACE")]
    AdminOfOne,
}

/// Where something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// In this namespace.
    Namespace(&'a Label),
    /// In some namespace or other: what is answered is of those alone that may be seen.
    Somewhere,
    /// In the installation as a whole.
    Everywhere,
}

/// A token as it is kept: without the secret, which nobody can make again from its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What people call it.
    pub name: Label,
    /// SHA-256 of the secret. A slow hash would add nothing: the secret is 256 random bits, which
    /// cannot be guessed, and each request would pay for it.
    pub hash: Digest,
    /// What it may do; never empty.
    pub grants: Vec<Grant>,
    /// When it was made, milliseconds since 1970.
    pub created_ms: u64,
    /// When it ends, milliseconds since 1970; `None` is never.
    pub expires_ms: Option<u64>,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Read, Self::Deploy, Self::Invoke, Self::Admin];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Deploy => "deploy",
            Self::Invoke => "invoke",
            Self::Admin => "admin",
        }
    }

    fn includes(self, other: Self) -> bool {
        self == other || self == Self::Admin || (self, other) == (Self::Deploy, Self::Read)
    }
}

impl Grant {
    /// Everything.
    pub const ADMIN: Self = Self { scope: Scope::Admin, namespace: None };

    /// Whether it suffices for `scope` at `place`.
    pub fn allows(&self, scope: Scope, place: Place<'_>) -> bool {
        let there = match (&self.namespace, place) {
            (None, _) | (Some(_), Place::Somewhere) => true,
            (Some(own), Place::Namespace(other)) => own == other,
            (Some(_), Place::Everywhere) => false,
        };
        there && self.scope.includes(scope)
    }
}

impl Token {
    /// Whether it still holds at `now_ms`.
    pub fn is_valid(&self, now_ms: u64) -> bool {
        self.expires_ms.is_none_or(|end| now_ms < end)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}:{namespace}", self.scope),
            None => write!(f, "{}", self.scope),
        }
    }
}

impl FromStr for Grant {
    type Err = BadGrant;

    fn from_str(text: &str) -> Result<Self, BadGrant> {
        let (scope, namespace) = match text.split_once(':') {
            Some((scope, namespace)) => (scope, Some(namespace)),
            None => (text, None),
        };
        let known = Scope::ALL.into_iter().find(|known| known.as_str() == scope);
        let scope = known.ok_or(BadGrant::Scope)?;
        if scope == Scope::Admin && namespace.is_some() {
            return Err(BadGrant::AdminOfOne);
        }
        let namespace = namespace.map(str::parse).transpose()?;
        Ok(Self { scope, namespace })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(grant: &str, scope: Scope, place: Place<'_>) -> bool {
        grant.parse::<Grant>().unwrap().allows(scope, place)
    }

    #[test]
    fn a_grant_is_written_as_it_is_read() {
        for text in ["read", "deploy", "invoke:shop", "admin"] {
            assert_eq!(text.parse::<Grant>().unwrap().to_string(), text);
        }
        assert_eq!("write".parse::<Grant>(), Err(BadGrant::Scope));
        assert_eq!("".parse::<Grant>(), Err(BadGrant::Scope));
        assert_eq!("Read".parse::<Grant>(), Err(BadGrant::Scope));
        assert_eq!("admin:shop".parse::<Grant>(), Err(BadGrant::AdminOfOne));
        for wrong in ["read:", "read:A", "read:a:b", "read:a b"] {
            assert!(matches!(wrong.parse::<Grant>(), Err(BadGrant::Namespace(_))), "{wrong}");
        }
    }

    #[test]
    fn a_scope_is_for_itself_and_for_what_it_includes() {
        use Scope::{Admin, Deploy, Invoke, Read};
        for (grant, allowed) in [
            ("read", vec![Read]),
            ("deploy", vec![Read, Deploy]),
            ("invoke", vec![Invoke]),
            ("admin", vec![Read, Deploy, Invoke, Admin]),
        ] {
            for scope in Scope::ALL {
                let expected = allowed.contains(&scope);
                assert_eq!(allows(grant, scope, Place::Everywhere), expected, "{grant} {scope}");
            }
        }
    }

    #[test]
    fn a_namespace_is_no_other() {
        let (shop, other) = ("shop".parse().unwrap(), "other".parse().unwrap());
        let grant = "deploy:shop";
        assert!(allows(grant, Scope::Deploy, Place::Namespace(&shop)));
        assert!(!allows(grant, Scope::Deploy, Place::Namespace(&other)));
        assert!(allows(grant, Scope::Read, Place::Somewhere));
        assert!(!allows(grant, Scope::Read, Place::Everywhere));
        assert!(!allows(grant, Scope::Admin, Place::Somewhere));
        assert!(!allows(grant, Scope::Invoke, Place::Namespace(&shop)));
    }

    #[test]
    fn a_token_ends_when_it_says() {
        let token = |expires_ms| Token {
            name: "t".parse().unwrap(),
            hash: Digest::from_bytes([0; 32]),
            grants: vec![Grant::ADMIN],
            created_ms: 0,
            expires_ms,
        };
        assert!(token(None).is_valid(u64::MAX));
        assert!(token(Some(10)).is_valid(9));
        assert!(!token(Some(10)).is_valid(10));
    }
}
