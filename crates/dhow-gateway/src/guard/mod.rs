//! What stands before a function that asks for it: who may call ([`auth`]), from which pages
//! ([`cors`]), how often ([`rate`]). A function that asks for none of it has no guard.

mod auth;
pub mod cors;
mod jwks;
mod jwt;
mod rate;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use dhow_core::access::Access;
pub use dhow_core::access::CLIENT;
use dhow_core::function::Deployed;
use dhow_core::name::Label;
use dhow_core::outcome::{Failure, Reason};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue};

use self::auth::Auth;
use self::cors::Cors;
pub use self::jwks::{Fetch, KeySets};
use self::rate::Buckets;
use crate::admin::Credentials;

/// Makes guards. Cheap to clone.
#[derive(Clone)]
pub struct Guards {
    credentials: Credentials,
    key_sets: Arc<KeySets>,
}

/// The guard of one function.
pub struct Guard {
    access: Access,
    namespace: Label,
    auth: Option<Auth>,
    cors: Option<Cors>,
    buckets: Buckets,
}

/// Why a call is not let in, and the headers that say what to do about it.
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub failure: Failure,
    /// Besides what every failure has.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Guards {
    /// Guards that take the tokens of `credentials`, and fetch issuers' keys from `key_sets`.
    pub fn new(credentials: Credentials, key_sets: Arc<KeySets>) -> Self {
        Self { credentials, key_sets }
    }

    /// The guard of `function`; `before` stays where nothing has changed for it, with all that it
    /// counted. `None`: everybody may call.
    pub fn guard(&self, function: &Deployed, before: Option<&Arc<Guard>>) -> Option<Arc<Guard>> {
        let access = function.access.as_deref()?;
        if let Some(before) = before.filter(|before| before.access == *access) {
            return Some(Arc::clone(before));
        }
        let auth = access.auth.as_ref();
        Some(Arc::new(Guard {
            namespace: function.name.namespace.clone(),
            auth: auth.map(|auth| Auth::new(auth, &self.credentials, &self.key_sets)),
            cors: access.cors.as_ref().map(Cors::new),
            buckets: Buckets::new(access.rate, Instant::now()),
            access: access.clone(),
        }))
    }
}

impl Guard {
    /// Which pages may call the function.
    pub fn cors(&self) -> Option<&Cors> {
        self.cors.as_ref()
    }

    /// Lets a call in, or not. What the caller showed goes no further, except a token that others
    /// can check; in its place the function is told who called.
    ///
    /// # Errors
    /// Why not.
    pub async fn enter(&self, headers: &mut HeaderMap, peer: IpAddr) -> Result<(), Refusal> {
        let client = match &self.auth {
            Some(auth) => Some(auth.check(headers, &self.namespace).await?),
            None => None,
        };
        self.buckets.take(client.as_deref(), peer, Instant::now()).map_err(too_often)?;
        if let Some(value) = client.and_then(|client| HeaderValue::try_from(client).ok()) {
            headers.insert(CLIENT, value);
        }
        Ok(())
    }
}

fn too_often(refused: rate::TooOften) -> Refusal {
    let seconds = refused.wait.as_secs() + u64::from(refused.wait.subsec_nanos() > 0);
    Refusal {
        failure: Failure::new(Reason::RateLimit, refused.to_string()),
        headers: vec![(RETRY_AFTER, HeaderValue::from(seconds.max(1)))],
    }
}

impl Refusal {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { failure: Failure::new(reason, message), headers: vec![] }
    }

    /// The caller has to show who they are.
    fn unauthorized(message: impl Into<String>, challenge: Option<&'static str>) -> Self {
        let challenge = challenge.map(|value| (WWW_AUTHENTICATE, HeaderValue::from_static(value)));
        Self {
            failure: Failure::new(Reason::Unauthorized, message),
            headers: challenge.into_iter().collect(),
        }
    }
}
