//! One exchange of HTTP: a request out, through a bounded number of redirects, the head of an
//! answer in. Timeouts and caps are kept here; statuses are judged elsewhere.
//!
//! Built on reqwest, without its redirects and without its decoding: credentials must not follow to
//! another origin, and bytes are hashed as they come. `oci-client` was weighed: it reads manifests
//! and tokens without a cap and can't go on with a broken download.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dhow_core::plan::egress::EgressRule;
use futures_util::stream;
use http::header::{AUTHORIZATION, LOCATION};
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::StreamBody;
use reqwest::{Client, Response};
use tokio::net::lookup_host;
use tokio::sync::Mutex;
use url::Url;

use super::config::names;
use super::failure::Failure;
use super::redirect::{same_origin, target, trimmed};
use super::{Clients, RegistryError, RegistryLimits};
use crate::reference::without_port;

/// Pieces in which a body goes out, bytes: how finely progress and stalls are seen.
const PIECE: usize = 64 << 10;

/// The way to one registry and to whatever it refers to.
#[derive(Debug)]
pub(super) struct Transport {
    clients: Arc<Clients>,
    /// Those that were used, by host and port: each host has the trust that it is given.
    used: Mutex<HashMap<String, Client>>,
    /// Host and port of the registry.
    pub(super) endpoint: String,
    pub(super) limits: RegistryLimits,
}

/// A request, as often as it is needed.
#[derive(Clone)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) address: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// For errors: what is asked for.
    pub(super) what: String,
}

impl fmt::Debug for Outgoing {
    /// Without the body, which may be a form with a token in it, and without what an address may
    /// hold that is nobody else's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("method", &self.method)
            .field("address", &trimmed(&self.address))
            .field("headers", &self.headers)
            .field("body", &self.body.len())
            .field("what", &self.what)
            .finish()
    }
}

impl Outgoing {
    pub(super) fn new(method: Method, address: Url, what: &str) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method, address, headers, body, what: what.to_owned() }
    }

    pub(super) fn header(mut self, name: http::HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }
}

/// A client that trusts as `tls` says and follows nothing by itself. `only` is a host and where it
/// is, which is not asked for again.
pub(super) fn client(
    tls: rustls::ClientConfig,
    limits: &RegistryLimits,
    only: Option<(&str, &[SocketAddr])>,
) -> Result<Client, RegistryError> {
    let building = match only {
        Some((host, addresses)) => Client::builder().resolve_to_addrs(host, addresses),
        None => Client::builder(),
    };
    building
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(limits.connect)
        .referer(false)
        .user_agent(concat!("dhow/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| RegistryError::Setup { what: "HTTP".to_owned(), why: cause(&error) })
}

impl Transport {
    /// To the registry at `endpoint`.
    pub(super) fn new(clients: Arc<Clients>, endpoint: &str) -> Self {
        let limits = clients.config.limits.clone();
        Self { clients, used: Mutex::default(), endpoint: endpoint.to_owned(), limits }
    }

    /// Whether an operator named the host of `address` as one whose certificate goes unchecked.
    pub(super) fn is_unchecked(&self, address: &Url) -> bool {
        self.clients.config.is_unchecked(&names(address))
    }

    /// The client for the host of `address`, if the registry may send us there.
    async fn client(&self, address: &Url, what: &str) -> Result<Client, Failure> {
        let host = authority(address);
        let mut used = self.used.lock().await;
        if let Some(client) = used.get(&host) {
            return Ok(client.clone());
        }
        let names = names(address);
        let is_free = without_port(&host) == without_port(&self.endpoint)
            || self.clients.config.is_unchecked(&names);
        let client = match self.clients.config.egress.as_ref().filter(|_| !is_free) {
            None => self.clients.client_for(&names)?,
            Some(rule) => {
                let open = self.open(rule, address, what).await?;
                self.clients.client_at(&names, address.host_str().unwrap_or_default(), &open)?
            }
        };
        used.insert(host, client.clone());
        Ok(client)
    }

    /// Where the host of `address` is, as far as that may be connected to.
    async fn open(
        &self,
        rule: &EgressRule,
        address: &Url,
        what: &str,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let host = authority(address);
        let port = address.port_or_known_default().unwrap_or_default();
        let name = address.host_str().unwrap_or_default();
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let unreachable =
            |why: String| Failure::passing(RegistryError::Unreachable { host: host.clone(), why });
        let limit = self.limits.connect;
        let found = tokio::time::timeout(limit, lookup_host((name, port)))
            .await
            .map_err(|_| self.timeout(address, what, limit))?
            .map_err(|error| unreachable(error.to_string()))?;
        let mut closed = None;
        let open: Vec<SocketAddr> = found
            .filter(|found| match rule.check(*found, false) {
                Ok(()) => true,
                Err(why) => {
                    closed = Some(why);
                    false
                }
            })
            .collect();
        match (open.is_empty(), closed) {
            (false, _) => Ok(open),
            (true, None) => Err(unreachable("the name has no address".to_owned())),
            (true, Some(why)) => Err(RegistryError::Redirect {
                host: self.endpoint.clone(),
                what: what.to_owned(),
                why: format!("to {host}, which may not be connected to: {why}"),
            }
            .into()),
        }
    }

    /// Sends `request`, with `authorization` to its own origin alone, and follows redirects of what
    /// only reads.
    pub(super) async fn exchange(
        &self,
        request: &Outgoing,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let mut address = request.address.clone();
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        for _ in 0..=self.limits.redirects {
            let shown = authorization.filter(|_| same_origin(&request.address, &address));
            let response = self.send(request, &address, shown).await?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            if !reads {
                return Err(self.redirect(request, "what is written there").into());
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            address = target(&address, location)
                .map_err(|bad| self.redirect(request, &bad.to_string()))?;
        }
        let why = format!("more than {} times", self.limits.redirects);
        Err(self.redirect(request, &why).into())
    }

    async fn send(
        &self,
        request: &Outgoing,
        address: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let client = self.client(address, &request.what).await?;
        let sent = Arc::new(AtomicU64::new(0));
        let mut building = client
            .request(request.method.clone(), address.clone())
            .headers(request.headers.clone());
        if let Some(authorization) = authorization {
            building = building.header(AUTHORIZATION, authorization.clone());
        }
        if !request.body.is_empty() || matches!(request.method, Method::PUT | Method::POST) {
            building = building
                .header(http::header::CONTENT_LENGTH, request.body.len())
                .body(pieces(request.body.clone(), sent.clone()));
        }
        let mut exchange = std::pin::pin!(building.send());
        let mut patience = self.limits.connect + self.limits.stall;
        let mut seen = 0;
        let response = loop {
            match tokio::time::timeout(patience, &mut exchange).await {
                Ok(response) => break response,
                Err(_) if sent.load(Ordering::Relaxed) > seen => {
                    seen = sent.load(Ordering::Relaxed);
                    patience = self.limits.stall;
                }
                Err(_) => return Err(self.timeout(address, &request.what, patience)),
            }
        };
        let response = response.map_err(|error| broken(&authority(address), &error))?;
        let size: usize =
            response.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if size > self.limits.headers {
            let what = format!("the head of the answer of {}", trimmed(address));
            return Err(RegistryError::TooLarge { what, most: self.limits.headers as u64 }.into());
        }
        Ok(response)
    }

    /// The next piece of a body.
    pub(super) async fn piece(
        &self,
        response: &mut Response,
        what: &str,
    ) -> Result<Option<Bytes>, Failure> {
        match tokio::time::timeout(self.limits.stall, response.chunk()).await {
            Ok(piece) => piece.map_err(|error| broken(&authority(response.url()), &error)),
            Err(_) => Err(self.timeout(response.url(), what, self.limits.stall)),
        }
    }

    /// A whole body of at most `most` bytes.
    pub(super) async fn body(
        &self,
        mut response: Response,
        most: u64,
        what: &str,
    ) -> Result<Vec<u8>, Failure> {
        let too_large = || RegistryError::TooLarge { what: what.to_owned(), most };
        if response.content_length().is_some_and(|length| length > most) {
            return Err(too_large().into());
        }
        let mut body = Vec::new();
        while let Some(piece) = self.piece(&mut response, what).await? {
            if (body.len() + piece.len()) as u64 > most {
                return Err(too_large().into());
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn timeout(&self, address: &Url, what: &str, limit: Duration) -> Failure {
        let (host, what) = (authority(address), what.to_owned());
        Failure::passing(RegistryError::Timeout { host, what, limit })
    }

    fn redirect(&self, request: &Outgoing, why: &str) -> RegistryError {
        RegistryError::Redirect {
            host: authority(&request.address),
            what: request.what.clone(),
            why: why.to_owned(),
        }
    }
}

/// Host and port, the port where it is not the scheme's own.
pub(super) fn authority(address: &Url) -> String {
    let host = address.host_str().unwrap_or_default();
    address.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn pieces(body: Bytes, sent: Arc<AtomicU64>) -> reqwest::Body {
    let frames = stream::unfold(body, move |mut left| {
        let piece = left.split_to(left.len().min(PIECE));
        sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        let frame = http_body::Frame::data(piece.clone());
        std::future::ready((!piece.is_empty()).then_some((Ok::<_, io::Error>(frame), left)))
    });
    reqwest::Body::wrap(StreamBody::new(frames))
}

/// A connection that did not come about, or that broke.
fn broken(host: &str, error: &reqwest::Error) -> Failure {
    let (host, why) = (host.to_owned(), cause(error));
    if let Some(rustls::Error::InvalidCertificate(_)) = tls_error(error) {
        return RegistryError::Untrusted { host, why }.into();
    }
    let unreachable = RegistryError::Unreachable { host, why };
    if error.is_builder() { unreachable.into() } else { Failure::passing(unreachable) }
}

/// The innermost cause. reqwest's own words hold the whole address, which may hold secrets.
fn cause(error: &reqwest::Error) -> String {
    let mut inner = error.source();
    let mut words = if error.is_timeout() { "no answer in time" } else { "broken" }.to_owned();
    while let Some(error) = inner {
        words = error.to_string();
        inner = next(error);
    }
    words
}

fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut inner = error.source();
    while let Some(error) = inner {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        inner = next(error);
    }
    None
}

/// `io::Error` tells the source of what it holds, not what it holds.
fn next<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(held) => Some(held),
        None => error.source(),
    }
}
