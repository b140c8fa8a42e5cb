//! Issuers' keys: fetched, kept, and fetched again as issuers change them.
//!
//! Keys are used for [`FRESH`] without a look, then fetched anew while calls go on with the old
//! ones, for up to [`STALE`] when the issuer can't be reached. A token signed with a key that is
//! not known has them fetched at once, though not more often than each [`PAUSE`]: anybody can name
//! a key that there is not.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use dhow_core::ports::BoxFuture;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use parking_lot::Mutex;

/// How long fetched keys are used without a look whether they have changed.
const FRESH: Duration = Duration::from_secs(300);
/// How long they are used when they can't be fetched again.
const STALE: Duration = Duration::from_secs(3600);
/// The least time between two attempts to fetch one set.
const PAUSE: Duration = Duration::from_secs(10);

/// Fetches what is at an address, or says why it can't be had. Bounded in time and size by whoever
/// makes it.
pub type Fetch = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Bytes, String>> + Send + Sync>;

/// The sets of all functions: one for each address.
pub struct KeySets {
    fetch: Fetch,
    known: Mutex<HashMap<String, Weak<Remote>>>,
}

/// The keys of one issuer, as a function uses them.
#[derive(Clone)]
pub(super) enum Keys {
    /// Written out in the manifest.
    Inline(Arc<JwkSet>),
    /// Fetched.
    Remote(Arc<Remote>),
}

/// A set that is fetched.
pub(super) struct Remote {
    url: String,
    fetch: Fetch,
    current: ArcSwapOption<Fetched>,
    /// When it was last tried to fetch it.
    tried: Mutex<Option<Instant>>,
    /// Held while it is fetched: others wait, and then find it.
    turn: tokio::sync::Mutex<()>,
}

struct Fetched {
    keys: Arc<JwkSet>,
    at: Instant,
}

/// There are no keys to check a token with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the keys of the issuer can't be had now")]
pub(super) struct Unavailable;

impl KeySets {
    /// Sets that are fetched with `fetch`.
    pub fn new(fetch: Fetch) -> Arc<Self> {
        Arc::new(Self { fetch, known: Mutex::default() })
    }

    pub(super) fn remote(&self, url: &str) -> Keys {
        let mut known = self.known.lock();
        if let Some(set) = known.get(url).and_then(Weak::upgrade) {
            return Keys::Remote(set);
        }
        known.retain(|_, set| set.strong_count() > 0);
        let set = Arc::new(Remote {
            url: url.to_owned(),
            fetch: Arc::clone(&self.fetch),
            current: ArcSwapOption::empty(),
            tried: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        });
        known.insert(url.to_owned(), Arc::downgrade(&set));
        Keys::Remote(set)
    }
}

impl Keys {
    /// The set, which has a key of that name if it can be had at `now`.
    pub(super) async fn with(
        &self,
        id: Option<&str>,
        now: Instant,
    ) -> Result<Arc<JwkSet>, Unavailable> {
        match self {
            Self::Inline(keys) => Ok(Arc::clone(keys)),
            Self::Remote(set) => set.with(id, now).await,
        }
    }
}

impl Remote {
    async fn with(
        self: &Arc<Self>,
        id: Option<&str>,
        now: Instant,
    ) -> Result<Arc<JwkSet>, Unavailable> {
        let known = self.usable(now);
        let serves = known.as_ref().is_some_and(|known| id.is_none_or(|id| has(&known.keys, id)));
        if !serves {
            // In a task of its own: a caller who goes away must not take the answer with them,
            // which all others wait for.
            let this = Arc::clone(self);
            let fetched = tokio::spawn(async move { this.refresh(now).await }).await;
            if let Err(error) = fetched {
                tracing::error!(%error, url = self.url, "fetching an issuer's keys failed");
            }
            return self.usable(now).map(|known| Arc::clone(&known.keys)).ok_or(Unavailable);
        }
        let known = known.ok_or(Unavailable)?;
        if now.saturating_duration_since(known.at) > FRESH && self.may_try(now) {
            let this = Arc::clone(self);
            tokio::spawn(async move { this.refresh(now).await });
        }
        Ok(Arc::clone(&known.keys))
    }

    fn usable(&self, now: Instant) -> Option<Arc<Fetched>> {
        let current = self.current.load_full()?;
        (now.saturating_duration_since(current.at) <= STALE).then_some(current)
    }

    fn may_try(&self, now: Instant) -> bool {
        self.tried.lock().is_none_or(|tried| now.saturating_duration_since(tried) >= PAUSE)
    }

    /// Fetches the set, unless that was tried a moment ago.
    async fn refresh(&self, now: Instant) {
        let _turn = self.turn.lock().await;
        if !self.may_try(now) {
            return;
        }
        *self.tried.lock() = Some(now);
        let fetched = (self.fetch)(self.url.clone()).await;
        let read = fetched.and_then(|bytes| read(&bytes).map_err(|error| error.to_string()));
        match read {
            Ok(keys) => {
                self.current.store(Some(Arc::new(Fetched { keys: Arc::new(keys), at: now })));
            }
            Err(error) => tracing::warn!(url = self.url, error, "an issuer's keys can't be had"),
        }
    }
}

/// Reads a set. A key of a kind that is not known here is passed over: issuers may have others, for
/// others.
pub(super) fn read(bytes: &[u8]) -> Result<JwkSet, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct Lenient {
        keys: Vec<serde_json::Value>,
    }
    let Lenient { keys } = serde_json::from_slice(bytes)?;
    let keys = keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok()).collect();
    Ok(JwkSet { keys })
}

fn has(keys: &JwkSet, id: &str) -> bool {
    keys.find(id).is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    /// An issuer whose keys, or whose absence, the test says.
    #[derive(Clone, Default)]
    struct Issuer(Arc<(Mutex<Option<String>>, AtomicUsize)>);

    impl Issuer {
        fn say(&self, names: &[&str]) {
            let key =
                |name: &&str| format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"AA","kid":"{name}"}}"#);
            let keys: Vec<_> = names.iter().map(key).collect();
            *self.0.0.lock() = Some(format!(r#"{{"keys":[{}]}}"#, keys.join(",")));
        }

        fn asked(&self) -> usize {
            self.0.1.load(Relaxed)
        }

        fn keys(&self) -> Keys {
            let issuer = self.clone();
            let fetch: Fetch = Arc::new(move |_| {
                issuer.0.1.fetch_add(1, Relaxed);
                let said = issuer.0.0.lock().clone();
                Box::pin(async move { said.map(Bytes::from).ok_or_else(|| "away".to_owned()) })
            });
            KeySets::new(fetch).remote("https://issuer.example/jwks")
        }
    }

    #[tokio::test]
    async fn keys_are_fetched_once_and_again_when_they_change() {
        let issuer = Issuer::default();
        issuer.say(&["a"]);
        let (keys, start) = (issuer.keys(), Instant::now());
        assert_eq!(issuer.asked(), 0);
        for _ in 0..3 {
            assert!(has(&keys.with(Some("a"), start).await.unwrap(), "a"));
        }
        assert_eq!(issuer.asked(), 1);
        issuer.say(&["b"]);
        // Strangers name keys as they like; that costs one look each ten seconds.
        for _ in 0..3 {
            assert!(!has(&keys.with(Some("b"), start + PAUSE / 2).await.unwrap(), "b"));
        }
        assert_eq!(issuer.asked(), 1);
        assert!(has(&keys.with(Some("b"), start + PAUSE).await.unwrap(), "b"));
        assert!(!has(&keys.with(Some("a"), start + PAUSE).await.unwrap(), "a"));
        assert_eq!(issuer.asked(), 2);
    }

    #[tokio::test]
    async fn old_keys_serve_while_the_issuer_is_away_and_not_for_ever() {
        let issuer = Issuer::default();
        issuer.say(&["a"]);
        let (keys, start) = (issuer.keys(), Instant::now());
        keys.with(Some("a"), start).await.unwrap();
        *issuer.0.0.lock() = None;
        let later = start + FRESH + PAUSE;
        assert!(has(&keys.with(Some("a"), later).await.unwrap(), "a"));
        while issuer.asked() < 2 {
            tokio::task::yield_now().await;
        }
        assert!(has(&keys.with(Some("a"), start + STALE).await.unwrap(), "a"));
        let gone = start + STALE + PAUSE;
        assert_eq!(keys.with(Some("a"), gone).await.err(), Some(Unavailable));
        issuer.say(&["a"]);
        assert!(keys.with(Some("a"), gone + PAUSE).await.is_ok());
    }

    #[test]
    fn keys_of_other_kinds_are_passed_over() {
        let set = br#"{"keys":[{"kty":"new"},{"kty":"OKP","crv":"Ed25519","x":"AA","kid":"a"}]}"#;
        assert_eq!(read(set).unwrap().keys.len(), 1);
        for wrong in ["", "[]", "{}", r#"{"keys":1}"#] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
