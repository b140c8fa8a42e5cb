//! Who speaks to the API, and whether they may do what they ask for.
//!
//! A credential is the admin secret or a token, as `Authorization: Bearer SECRET` or as the
//! password of `Basic admin:SECRET`. Each is kept as its SHA-256: 256 random bits can't be guessed,
//! so a slow hash would only slow every request down. Whether credentials are asked for depends on
//! the address ([`Credentials::demanded`]); one that is given is looked at in any case.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use dhow_core::digest::Digest;
use dhow_core::name::Label;
use dhow_core::ports::Tokens;
use dhow_core::token::{Grant, Place, Scope};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::error::ApiError;
use super::need::{Need, Where};
use super::time::now_ms;

/// The name that goes with a secret in basic authentication, and the admin secret's in the log.
const ADMIN: &str = "admin";
/// What tokens begin with, so that people and scanners of leaks recognise them.
const PREFIX: &str = "dhow_";

/// The credentials of one installation, as one listener asks for them. Cheap to clone.
#[derive(Clone)]
pub struct Credentials {
    tokens: Arc<dyn Tokens>,
    admin: Digest,
    demanded: bool,
}

/// Whoever sent a request. Every request of the API that was let in has it as an extension, and
/// the answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(super) who: Who,
    grants: Arc<[Grant]>,
}

/// How they showed who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// Nobody asked them: they are on this machine, or `--insecure` was said.
    Unasked,
    /// They hold the admin secret.
    Admin,
    /// They hold this token.
    Token(Label),
}

impl Credentials {
    /// Those of `tokens` and of the admin `secret`; `demanded` says whether requests without any
    /// are refused.
    pub fn new(tokens: Arc<dyn Tokens>, secret: &str, demanded: bool) -> Self {
        Self { tokens, admin: hash(secret), demanded }
    }

    /// The same, for another listener.
    #[must_use]
    pub fn demanding(&self, demanded: bool) -> Self {
        Self { demanded, ..self.clone() }
    }

    /// Whether requests without any are refused.
    pub fn demanded(&self) -> bool {
        self.demanded
    }

    /// Who sent a request with these headers.
    pub(crate) fn principal(&self, headers: &HeaderMap) -> Result<Principal, Refused> {
        match given(headers)? {
            None if self.demanded => Err(Refused::Missing),
            None => Ok(Principal { who: Who::Unasked, grants: [Grant::ADMIN].into() }),
            Some(secret) => self.holder(&secret, now_ms()).ok_or(Refused::Unknown),
        }
    }

    /// Who holds `secret`. All are compared, each in constant time, so that the time taken says
    /// nothing of any.
    pub(crate) fn holder(&self, secret: &str, now_ms: u64) -> Option<Principal> {
        let hash = hash(secret);
        let mut found = None;
        for token in self.tokens.tokens().iter() {
            if is_same(&token.hash, &hash) && token.is_valid(now_ms) {
                let grants = token.grants.as_slice().into();
                found = Some(Principal { who: Who::Token(token.name.clone()), grants });
            }
        }
        if is_same(&self.admin, &hash) {
            found = Some(Principal { who: Who::Admin, grants: [Grant::ADMIN].into() });
        }
        found
    }
}

impl Principal {
    /// Whether they may do things of `scope` at `place`.
    pub(crate) fn may(&self, scope: Scope, place: Place<'_>) -> bool {
        self.grants.iter().any(|grant| grant.allows(scope, place))
    }

    /// The name that functions are told.
    pub(crate) fn client(&self) -> String {
        match &self.who {
            Who::Unasked => "anybody".to_owned(),
            Who::Admin => ADMIN.to_owned(),
            Who::Token(name) => format!("token:{name}"),
        }
    }

    /// The namespaces that they may see; `None` is all.
    pub(crate) fn visible(&self) -> Option<Vec<Label>> {
        if self.may(Scope::Read, Place::Everywhere) {
            return None;
        }
        let own = self.grants.iter().filter_map(|grant| grant.namespace.clone());
        Some(own.filter(|namespace| self.sees(namespace)).collect())
    }

    /// Whether they may see what is in `namespace`.
    pub(crate) fn sees(&self, namespace: &Label) -> bool {
        self.may(Scope::Read, Place::Namespace(namespace))
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.who {
            Who::Unasked => f.write_str("anybody on this machine"),
            Who::Admin => f.write_str(ADMIN),
            Who::Token(name) => write!(f, "token {name}"),
        }
    }
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the request has no credentials, and this address asks for some")]
    Missing,
    #[error("the credentials are none that are known here, or are no longer valid")]
    Unknown,
    #[error("the header Authorization is neither `Bearer SECRET` nor `Basic` with `admin:SECRET`")]
    Malformed,
}

/// Lets a request in whose sender may do what it asks for.
pub(crate) async fn guard(
    State(credentials): State<Credentials>,
    mut request: Request,
    next: Next,
) -> Response {
    let need = Need::of(request.method(), request.uri().path());
    let scope = match &need {
        Need::Nothing => return next.run(request).await,
        Need::Credentials => None,
        Need::Grant(scope, place) => Some((*scope, place)),
    };
    let principal = match credentials.principal(request.headers()) {
        Ok(principal) => principal,
        Err(refused) => return unauthorized(refused),
    };
    if let Some((scope, place)) = scope
        && !principal.may(scope, place.as_place())
    {
        let forbidden = forbidden(&principal, scope, place);
        return (Extension(principal), forbidden).into_response();
    }
    request.extensions_mut().insert(principal.clone());
    // The audit log, around this, asks the answer who it was.
    (Extension(principal), next.run(request).await).into_response()
}

/// Lets a request in whose sender may read everything: for figures of all namespaces.
pub(crate) async fn guard_metrics(
    State(credentials): State<Credentials>,
    request: Request,
    next: Next,
) -> Response {
    match credentials.principal(request.headers()) {
        Err(refused) => unauthorized(refused),
        Ok(principal) if principal.may(Scope::Read, Place::Everywhere) => next.run(request).await,
        Ok(principal) => forbidden(&principal, Scope::Read, &Where::Everywhere).into_response(),
    }
}

fn unauthorized(refused: Refused) -> Response {
    tracing::debug!(why = %refused, "a request to the admin API is refused");
    let hint = "on that machine, `admin-secret` in the data folder holds the secret; with it, \
                `dhow auth login` and `dhow token create` give access";
    let error = ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", refused.to_string(), hint);
    let mut response = error.into_response();
    // Not `Basic`: a browser that asks its user for a password would send it with every request
    // that any page makes from then on.
    let challenge = HeaderValue::from_static("Bearer realm=\"dhow\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn forbidden(principal: &Principal, scope: Scope, place: &Where) -> ApiError {
    let needed = match place {
        Where::Namespace(namespace) => format!("{scope}:{namespace}"),
        Where::Somewhere | Where::Everywhere => scope.to_string(),
    };
    ApiError::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        format!("this needs the scope `{needed}`, which {principal} does not have"),
        format!("`dhow token create NAME --scope {needed}` makes a token that has it"),
    )
}

/// The secret that a request gives.
pub(crate) fn given(headers: &HeaderMap) -> Result<Option<String>, Refused> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refused::Malformed);
    }
    let text = value.to_str().map_err(|_| Refused::Malformed)?;
    let (scheme, rest) = text.split_once(' ').ok_or(Refused::Malformed)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Some(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Refused::Malformed);
    }
    let pair = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = pair.ok_or(Refused::Malformed)?;
    let (user, secret) = pair.split_once(':').ok_or(Refused::Malformed)?;
    match user {
        ADMIN => Ok(Some(secret.to_owned())),
        _ => Err(Refused::Malformed),
    }
}

/// A new secret: 256 random bits, recognisable as dhow's.
///
/// # Errors
/// When the system has no randomness to give.
pub fn fresh_secret() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// What is kept of a secret.
pub(crate) fn hash(secret: impl AsRef<[u8]>) -> Digest {
    Digest::from_bytes(Sha256::digest(secret).into())
}

/// Compares in constant time.
pub(crate) fn is_same(one: &Digest, other: &Digest) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// Whether a listener at `listen` asks for credentials.
pub fn are_demanded(listen: SocketAddr, always: bool, insecure: bool) -> bool {
    always || !(listen.ip().is_loopback() || insecure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let pair = |value: &&str| (AUTHORIZATION, value.parse().unwrap());
        values.iter().map(pair).collect()
    }

    #[test]
    fn a_secret_comes_as_bearer_or_as_admins_password() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        for (value, secret) in [
            ("Bearer abc".to_owned(), Ok("abc")),
            ("bearer  abc ".to_owned(), Ok("abc")),
            (basic("admin:a:b"), Ok("a:b")),
            (basic("other:abc"), Err(Refused::Malformed)),
            (basic("admin"), Err(Refused::Malformed)),
            ("Basic %%%".to_owned(), Err(Refused::Malformed)),
            ("Digest abc".to_owned(), Err(Refused::Malformed)),
            ("abc".to_owned(), Err(Refused::Malformed)),
        ] {
            let found = given(&headers(&[&value]));
            assert_eq!(found, secret.map(|secret| Some(secret.to_owned())), "{value}");
        }
        assert_eq!(given(&HeaderMap::new()), Ok(None));
        assert_eq!(given(&headers(&["Bearer a", "Bearer b"])), Err(Refused::Malformed));
    }

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let (one, other) = (fresh_secret().unwrap(), fresh_secret().unwrap());
        assert_ne!(one, other);
        assert!(one.starts_with(PREFIX));
        assert_eq!(one.len(), PREFIX.len() + 43);
    }

    #[test]
    fn another_machine_is_asked_unless_somebody_said_otherwise() {
        for (listen, always, insecure, demanded) in [
            ("127.0.0.1:1", false, false, false),
            ("[::1]:1", false, false, false),
            ("127.0.0.1:1", true, false, true),
            ("0.0.0.0:1", false, false, true),
            ("[::]:1", false, false, true),
            ("[::ffff:127.0.0.1]:1", false, false, true),
            ("192.0.2.1:1", false, true, false),
        ] {
            let listen = listen.parse().unwrap();
            assert_eq!(are_demanded(listen, always, insecure), demanded, "{listen}");
        }
    }
}
