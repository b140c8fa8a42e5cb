//! Who calls: by an API key of the function's own, a token of this installation, or a JSON Web
//! Token of an issuer that the function trusts. Any one of them is enough.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use dhow_core::access::{ApiKey, Auth as Rules};
use dhow_core::name::Label;
use dhow_core::outcome::Reason;
use dhow_core::token::{Place, Scope};
use http::header::{AUTHORIZATION, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};

use super::Refusal;
use super::jwks::KeySets;
use super::jwt::{self, BadToken, Trusted};
use crate::admin::Credentials;
use crate::admin::credentials::{given, hash, is_same};

const BEARER: &str = "Bearer realm=\"dhow\"";
const BAD_TOKEN: &str = "Bearer realm=\"dhow\", error=\"invalid_token\"";

/// The ways in of one function.
pub(super) struct Auth {
    keys: Option<(HeaderName, Vec<ApiKey>)>,
    jwt: Vec<Trusted>,
    /// Where tokens of this installation are taken.
    tokens: Option<Credentials>,
}

impl Auth {
    pub(super) fn new(rules: &Rules, credentials: &Credentials, key_sets: &KeySets) -> Self {
        let keys = rules.api_keys.as_ref();
        Self {
            keys: keys.map(|keys| (keys.header.clone(), keys.keys.clone())),
            jwt: rules.jwt.iter().map(|issuer| Trusted::new(issuer, key_sets)).collect(),
            tokens: rules.tokens.then(|| credentials.clone()),
        }
    }

    /// Who sent these headers: `key:NAME`, `token:NAME` or `jwt:SUBJECT`. Keys and tokens of this
    /// installation are taken out of them: they are none of the function's business.
    pub(super) async fn check(
        &self,
        headers: &mut HeaderMap,
        namespace: &Label,
    ) -> Result<String, Refusal> {
        if let Some((header, keys)) = &self.keys
            && let Some(value) = headers.remove(header)
        {
            let name = key_of(keys, value.as_bytes());
            return name.map(|name| format!("key:{name}")).ok_or_else(|| {
                Refusal::unauthorized(format!("the key in {header} is not known"), None)
            });
        }
        let takes_bearers = self.tokens.is_some() || !self.jwt.is_empty();
        let bearer = match takes_bearers {
            true => given(headers)
                .map_err(|error| Refusal::unauthorized(error.to_string(), Some(BEARER)))?,
            false => None,
        };
        let Some(bearer) = bearer else { return Err(self.nothing_given(takes_bearers)) };
        if let Some(credentials) = &self.tokens
            && let Some(principal) = credentials.holder(&bearer, millis())
        {
            headers.remove(AUTHORIZATION);
            return match principal.may(Scope::Invoke, Place::Namespace(namespace)) {
                true => Ok(principal.client()),
                false => {
                    let message = format!(
                        "this needs the scope `invoke:{namespace}`, which {principal} does not have"
                    );
                    Err(Refusal::new(Reason::Forbidden, message))
                }
            };
        }
        if self.jwt.is_empty() {
            let message = "the token is not known here, or is no longer valid";
            return Err(Refusal::unauthorized(message, Some(BAD_TOKEN)));
        }
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        match jwt::check(&self.jwt, &bearer, Instant::now(), now_s).await {
            Ok(subject) => Ok(format!("jwt:{subject}")),
            Err(BadToken::Keys(error)) => Err(Refusal {
                headers: vec![(RETRY_AFTER, HeaderValue::from_static("10"))],
                ..Refusal::new(Reason::NotReady, error.to_string())
            }),
            Err(error) => Err(Refusal::unauthorized(error.to_string(), Some(BAD_TOKEN))),
        }
    }

    fn nothing_given(&self, takes_bearers: bool) -> Refusal {
        let ways = match (&self.keys, takes_bearers) {
            (Some((header, _)), true) => {
                format!("a key in the header {header}, or a token in Authorization")
            }
            (Some((header, _)), false) => format!("a key in the header {header}"),
            (None, _) => "a token in the header Authorization".to_owned(),
        };
        let message = format!("this function asks who calls: send {ways}");
        Refusal::unauthorized(message, takes_bearers.then_some(BEARER))
    }
}

/// Whose key it is. All are compared, each in constant time.
fn key_of<'k>(keys: &'k [ApiKey], key: &[u8]) -> Option<&'k Label> {
    let hash = hash(key);
    let mut found = None;
    for known in keys {
        if is_same(&known.hash, &hash) {
            found = Some(&known.name);
        }
    }
    found
}

fn millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
