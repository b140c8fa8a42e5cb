//! A session: one repository, one credential, one deadline. It carries tokens from request to
//! request and tries again what may pass; the steps themselves are in the modules beside it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Method, StatusCode};
use reqwest::Response;
use tokio::sync::{Mutex, OnceCell, Semaphore};
use url::Url;

use super::challenge;
use super::config::names;
use super::failure::{Again, Failure, refusal};
use super::redirect::same_origin;
use super::token::{Access, Shown, meet};
use super::transport::{Outgoing, Transport, authority};
use super::wait::backoff;
use super::{Registry, RegistryError};
use crate::credentials::Credential;
use crate::reference::Reference;

/// One conversation with one repository. Tokens live as long as it does; nothing of it is seen by
/// another.
#[derive(Debug)]
pub struct Session {
    pub(super) image: Reference,
    pub(super) transport: Transport,
    credential: Option<Credential>,
    may_be_plain: bool,
    /// Scheme and host that answer.
    base: OnceCell<Url>,
    /// What is shown, by access. Held while a token is fetched, so that many blobs fetch one.
    shown: Mutex<HashMap<Access, Arc<Shown>>>,
    /// One for each blob that may be in transfer at once.
    pub(super) places: Semaphore,
    deadline: tokio::time::Instant,
}

impl Registry {
    /// Begins to speak about `image`, as `credential` or as nobody. The time for the whole runs
    /// from here.
    ///
    /// # Errors
    /// The certificates for this registry can't be read.
    pub fn session(
        &self,
        image: &Reference,
        credential: Option<Credential>,
    ) -> Result<Session, RegistryError> {
        let limits = self.0.config.limits.clone();
        let secure = base("https", image.endpoint());
        // What can't be read for this registry is told before anything is asked.
        self.0.client_for(&names(&secure))?;
        Ok(Session {
            deadline: tokio::time::Instant::now() + limits.total,
            places: Semaphore::new(limits.parallel.max(1)),
            transport: Transport::new(self.0.clone(), image.endpoint()),
            image: image.clone(),
            credential,
            may_be_plain: self.0.config.may_be_plain(&secure),
            base: OnceCell::new(),
            shown: Mutex::default(),
        })
    }
}

impl Session {
    /// The image that this session speaks about.
    pub fn image(&self) -> &Reference {
        &self.image
    }

    /// Whether the registry answers, and accepts the credential where it asks for one.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self) -> Result<(), RegistryError> {
        self.persist("its greeting", || async {
            let request = Outgoing::new(Method::GET, self.base().await?.clone(), "its greeting");
            let response = self.ask(Access::Check, &request).await?;
            match response.status() {
                StatusCode::OK => Ok(()),
                _ => Err(self.refused(response, &request.what).await),
            }
        })
        .await
    }

    /// `/v2/PATH/REST` at the registry.
    pub(super) async fn address(&self, rest: &str) -> Result<Url, Failure> {
        let path = format!("{}/{rest}", self.image.path());
        let base = self.base().await?;
        Ok(base.join(&path).unwrap_or_else(|error| {
            unreachable!("a checked path and a digest or tag are part of an address: {error}")
        }))
    }

    /// Sends `request` with what has to be shown for `access`; any answer but 401 is an answer.
    pub(super) async fn ask(
        &self,
        access: Access,
        request: &Outgoing,
    ) -> Result<Response, Failure> {
        let before = self.known(access).await;
        let response = self.show(request, before.as_deref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        // Who we are is the registry's to ask, and not for whom it sends us to, nor for where an
        // upload goes on: a challenge names where the password is sent.
        if !same_origin(self.base().await?, response.url()) {
            return Err(self.stranger(&response, &request.what));
        }
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let Some(challenge) = challenge::read(headers.iter().filter_map(|h| h.to_str().ok()))
        else {
            return Err(self.refused(response, &request.what).await);
        };
        let Some(fresh) = self.authorize(access, &challenge, before.as_deref()).await? else {
            return Err(self.refused(response, &request.what).await);
        };
        let response = self.show(request, Some(&fresh)).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(self.refused(response, &request.what).await);
        }
        Ok(response)
    }

    /// Another host than the registry's that wants to know who we are.
    fn stranger(&self, response: &Response, what: &str) -> Failure {
        let stranger = authority(response.url());
        RegistryError::Redirect {
            host: self.transport.endpoint.clone(),
            what: what.to_owned(),
            why: format!("to {stranger}, which wants credentials; none but the registry is told"),
        }
        .into()
    }

    /// What an unwanted answer means.
    pub(super) async fn refused(&self, response: Response, what: &str) -> Failure {
        refusal(&self.transport, response, what, self.credential.is_some()).await
    }

    /// Tries `step` until it succeeds, fails for good, or was tried often enough.
    pub(super) async fn persist<T, F>(
        &self,
        what: &str,
        mut step: impl FnMut() -> F,
    ) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut failed = 0;
        loop {
            let failure = match self.before_deadline(what, step()).await? {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            self.wait_after(failure, failed, what).await?;
            failed += 1;
        }
    }

    /// Waits before the next try; the error, when there is to be none.
    pub(super) async fn wait_after(
        &self,
        failure: Failure,
        failed: u32,
        what: &str,
    ) -> Result<(), RegistryError> {
        let limits = &self.transport.limits;
        let Again::After(asked) = failure.again else { return Err(failure.error) };
        let own = backoff(limits.first_wait, limits.longest_wait, failed, fastrand::f64());
        let wait = asked.map_or(own, |asked| asked.max(own));
        if failed >= limits.retries || wait > limits.longest_wait.max(own) {
            return Err(failure.error);
        }
        if tokio::time::Instant::now() + wait >= self.deadline {
            return Err(failure.error);
        }
        self.before_deadline(what, tokio::time::sleep(wait)).await
    }

    /// Runs `step` within the session's time.
    pub(super) async fn before_deadline<T>(
        &self,
        what: &str,
        step: impl Future<Output = T>,
    ) -> Result<T, RegistryError> {
        tokio::time::timeout_at(self.deadline, step).await.map_err(|_| RegistryError::Timeout {
            host: self.transport.endpoint.clone(),
            what: what.to_owned(),
            limit: self.transport.limits.total,
        })
    }

    /// What is shown for `access` without being asked: what served before and is not over.
    async fn known(&self, access: Access) -> Option<Arc<Shown>> {
        let shown = self.shown.lock().await;
        shown.get(&access).filter(|shown| shown.is_fresh(Instant::now())).cloned()
    }

    async fn authorize(
        &self,
        access: Access,
        challenge: &challenge::Challenge,
        refused: Option<&Shown>,
    ) -> Result<Option<Arc<Shown>>, Failure> {
        let mut shown = self.shown.lock().await;
        // Another request may have fetched one meanwhile.
        if let Some(other) = shown.get(&access)
            && other.is_fresh(Instant::now())
            && refused.is_none_or(|refused| refused.header != other.header)
        {
            return Ok(Some(other.clone()));
        }
        let base = self.base().await?;
        let path = self.image.path();
        let credential = self.credential.as_ref();
        let met = meet(&self.transport, base, challenge, credential, access, path).await?;
        let fresh = met.map(Arc::new);
        match &fresh {
            Some(fresh) => shown.insert(access, fresh.clone()),
            None => shown.remove(&access),
        };
        Ok(fresh)
    }

    async fn show(&self, request: &Outgoing, shown: Option<&Shown>) -> Result<Response, Failure> {
        // An upload may go on at another host than the registry's, which is told nothing.
        let base = self.base().await?;
        let header: Option<&HeaderValue> =
            shown.map(|shown| &shown.header).filter(|_| same_origin(base, &request.address));
        self.transport.exchange(request, header).await
    }

    /// `SCHEME://HOST/v2/`. A registry that may be plain is asked over TLS first.
    pub(super) async fn base(&self) -> Result<&Url, Failure> {
        self.base.get_or_try_init(|| self.find_base()).await
    }

    async fn find_base(&self) -> Result<Url, Failure> {
        let endpoint = &self.transport.endpoint;
        let secure = base("https", endpoint);
        if !self.may_be_plain {
            return Ok(secure);
        }
        let probe = |address: Url| Outgoing::new(Method::GET, address, "its greeting");
        match self.transport.exchange(&probe(secure.clone()), None).await {
            Ok(_) => return Ok(secure),
            Err(failure) if matches!(failure.error, RegistryError::Untrusted { .. }) => {
                return Err(failure);
            }
            // It speaks no TLS, or does not speak at all, which the next request will tell.
            Err(_) => {}
        }
        let plain = base("http", endpoint);
        let response = self.transport.exchange(&probe(plain.clone()), None).await?;
        // What a TLS server answers to plain text.
        if response.status() == StatusCode::BAD_REQUEST {
            return Ok(secure);
        }
        Ok(plain)
    }

    /// The time that is left.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(tokio::time::Instant::now())
    }
}

/// `SCHEME://HOST/v2/`.
fn base(scheme: &str, endpoint: &str) -> Url {
    let text = format!("{scheme}://{endpoint}/v2/");
    text.parse()
        .unwrap_or_else(|error| unreachable!("a checked host is part of an address: {error}"))
}
