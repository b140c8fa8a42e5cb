//! One function's client: its rules, its connections, its bounds.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dhow_core::network::Scheme;
use dhow_core::outbound::{
    CONNECT, HEAD, IDLE, IDLE_CONNECTIONS, OutboundBody, OutboundError, PAUSE, Patience, REQUESTS,
};
use dhow_core::plan::outbound::{Asked, Denied, Outbound, Place};
use dhow_core::ports::{BoxFuture, Egress};
use http::{Method, Request, Response, Uri, Version};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::Shared;
use crate::body::{Received, Sent};
use crate::connect::Connector;
use crate::failure;

type HttpClient = legacy::Client<HttpsConnector<Connector>, Sent>;

/// One function's way out. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    rule: Outbound,
    tls: OnceCell<Result<ClientConfig, String>>,
    /// Connections by the method that they may be used for, since rules may speak of methods and
    /// of addresses together: one set for each method that a rule names, and one for the others.
    pools: Vec<Pool>,
    places: Arc<Semaphore>,
}

struct Pool {
    /// `None` is those that no rule names.
    method: Option<Method>,
    /// Made with the first request: reading the system's authorities takes a while.
    client: OnceLock<HttpClient>,
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>, rule: Outbound) -> Self {
        let mut methods = vec![None];
        for method in rule.allow.iter().flat_map(|rule| &rule.methods) {
            if !methods.contains(&Some(method.clone())) {
                methods.push(Some(method.clone()));
            }
        }
        let pool = |method| Pool { method, client: OnceLock::new() };
        Self(Arc::new(Inner {
            shared,
            rule,
            tls: OnceCell::new(),
            pools: methods.into_iter().map(pool).collect(),
            places: Arc::new(Semaphore::new(REQUESTS)),
        }))
    }

    async fn ask(
        self,
        request: Request<OutboundBody>,
        patience: Patience,
    ) -> Result<Response<OutboundBody>, OutboundError> {
        let inner = &self.0;
        let connect = patience.connect.map_or(CONNECT, |wait| wait.min(CONNECT));
        let head = patience.first_byte.map_or(PAUSE, |wait| wait.min(PAUSE));
        let what = shown(&request);
        let by = Instant::now() + connect;
        let place = timeout_at(by, inner.places.clone().acquire_owned()).await;
        let place = place.ok().and_then(Result::ok).ok_or(OutboundError::Limit)?;
        let client = inner.client(request.method()).await?;
        let asked = client.request(request.map(Sent::new));
        let answer = timeout(connect + head, asked).await;
        let answer = answer.map_err(|_| OutboundError::ReadTimeout)?;
        let answer = answer.map_err(|error| failure::of_client(&error, &what))?;
        let pause = patience.between_bytes.map_or(PAUSE, |wait| wait.min(PAUSE));
        // An interval of nothing would end every answer.
        let pause = pause.max(Duration::from_millis(1));
        Ok(answer.map(|body| Box::pin(Received::new(body, pause, place)) as OutboundBody))
    }
}

impl Inner {
    /// The client whose connections are for `method`.
    async fn client(self: &Arc<Self>, method: &Method) -> Result<&HttpClient, OutboundError> {
        let pool = self
            .pools
            .iter()
            .find(|pool| pool.method.as_ref() == Some(method))
            .unwrap_or(&self.pools[0]);
        if let Some(client) = pool.client.get() {
            return Ok(client);
        }
        let tls = self.tls.get_or_init(|| self.shared.trust.config()).await.clone();
        let tls = tls.map_err(OutboundError::Internal)?;
        Ok(pool.client.get_or_init(|| self.connect_with(tls, pool.method.clone())))
    }

    fn connect_with(&self, tls: ClientConfig, method: Option<Method>) -> HttpClient {
        let (shared, rule) = (self.shared.clone(), self.rule.clone());
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector { shared, rule, method });
        legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http1_max_buf_size(HEAD)
            .build(connector)
    }

    /// Whether the request may be made, as far as its URL tells.
    fn check(&self, request: &Request<OutboundBody>) -> Result<Place, OutboundError> {
        let url = request.uri();
        let (scheme, usual) = match url.scheme_str() {
            Some("http") => (Scheme::Http, 80),
            Some("https") => (Scheme::Https, 443),
            _ => return Err(OutboundError::Url),
        };
        let authority = url.authority().ok_or(OutboundError::Url)?;
        if authority.as_str().contains('@') || request.method() == Method::CONNECT {
            return Err(OutboundError::Url);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str() == authority.host() => usual,
            // What stands there is no port.
            None => return Err(OutboundError::Url),
        };
        let asked = Asked { scheme, host, port, method: Some(request.method()) };
        self.rule.may_ask(&asked).map_err(|why| OutboundError::Denied {
            what: shown(request),
            why: why.to_string(),
            is_address: matches!(why, Denied::Closed(_)),
        })
    }
}

impl Egress for Client {
    fn send(
        &self,
        mut request: Request<OutboundBody>,
        patience: Patience,
    ) -> BoxFuture<'static, Result<Response<OutboundBody>, OutboundError>> {
        match self.0.check(&request) {
            Err(error) => return Box::pin(async { Err(error) }),
            Ok(Place::Function(_)) => {
                return Box::pin(async { Err(OutboundError::Name("no such function".to_owned())) });
            }
            Ok(Place::Address(_) | Place::Localhost | Place::Name(_)) => {}
        }
        *request.version_mut() = Version::HTTP_11;
        let asked = self.0.shared.runtime.spawn(self.clone().ask(request, patience));
        Box::pin(async move {
            let mut asked = AbortOnDrop(asked);
            (&mut asked.0).await.unwrap_or_else(|error| {
                tracing::error!(%error, "a guest's request broke off");
                Err(OutboundError::Internal("it broke off".to_owned()))
            })
        })
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What was asked, for messages: never a path, which may hold secrets.
fn shown(request: &Request<OutboundBody>) -> String {
    let url: &Uri = request.uri();
    let (scheme, host) = (url.scheme_str().unwrap_or_default(), url.host().unwrap_or_default());
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{} {scheme}://{host}{port}", request.method())
}

#[cfg(test)]
mod tests;
