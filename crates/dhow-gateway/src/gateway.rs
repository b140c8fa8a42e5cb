//! The data port: finds the function that a request is for, and has it called.
//!
//! `/function/NAME[.NAMESPACE][/…]` is called with the rest of the path; a declared route with the
//! whole path. Paths are passed on as they were sent. What is to be answered later, by
//! `/async-function/NAME` or by a preference of the request, goes to [`crate::asynchronous`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dhow_core::call::CallId;
use dhow_core::outcome::{Failure, Reason};
use dhow_core::ports::{Call, Invoke, Traces};
use dhow_core::queue::Accepted;
use dhow_http::answer::{self, PlatformBody};
use dhow_http::{Connection, RequestBody, Service, id};
use http::header::{CONNECTION, HOST, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;

use crate::asynchronous::{self, Asynchronous, Later};
use crate::guard::{Guard, cors};
use crate::metrics::Metrics;
use crate::openfaas::door::{Door, SYSTEM};
use crate::openfaas::visit::{METHODS, Visit};
use crate::table::{Entry, Lookup, Table};

/// The path below which every function has its own.
pub(crate) const FUNCTION: &str = "/function/";
/// The same, for calls that are answered later.
const ASYNC_FUNCTION: &str = "/async-function/";

/// Whether the process is alive.
const HEALTH: &str = "/healthz";
/// Whether new work is welcome.
const READY: &str = "/readyz";

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Headers that belong to one connection and are not passed on (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authorization"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Serves the data port.
pub struct Gateway<I: Invoke> {
    invoke: I,
    table: Arc<Table<I>>,
    metrics: Metrics,
    /// The longest pause inside a request's body.
    body_stall: Duration,
    ready: Arc<AtomicBool>,
    later: Asynchronous,
    traces: Option<Arc<dyn Traces>>,
    system: Arc<Door>,
}

/// A request whose function is found, and what is known of it besides.
struct Admitted<I: Invoke> {
    id: CallId,
    entry: Entry<I>,
    script_name: String,
    full_uri: Uri,
    ends: Connection,
    received: Instant,
    is_async: bool,
}

impl<I: Invoke> Gateway<I> {
    /// A gateway to the functions in `table`. `ready` is what `/readyz` says, `later` takes the
    /// calls that are answered later, `system` what is OpenFaaS' API.
    pub fn new(
        invoke: I,
        table: Arc<Table<I>>,
        metrics: Metrics,
        body_stall: Duration,
        ready: Arc<AtomicBool>,
        later: Asynchronous,
        system: Arc<Door>,
    ) -> Self {
        Self { invoke, table, metrics, body_stall, ready, later, traces: None, system }
    }

    /// The same, whose calls are followed through distributed traces.
    #[must_use]
    pub fn with_traces(self, traces: Option<Arc<dyn Traces>>) -> Self {
        Self { traces, ..self }
    }

    async fn route(
        &self,
        mut request: Request<Incoming>,
        ends: Connection,
        id: CallId,
    ) -> Response<PlatformBody<I::Body>> {
        let received = Instant::now();
        // A guest is not told by which of its two paths it was called.
        let is_async = match request.uri().path().strip_prefix(ASYNC_FUNCTION) {
            Some(rest) => {
                *request.uri_mut() = with_path(request.uri(), &format!("{FUNCTION}{rest}"));
                true
            }
            None => asynchronous::is_preferred(request.headers()),
        };
        let full_uri = request.uri().clone();
        if let Err(failure) = check_host(&request) {
            self.metrics.refused(failure.reason);
            return answer::failure(&failure, Some(id));
        }
        if let Some(method) = cors::preflight(request.method(), request.headers())
            && let Some(response) = self.preflight(&request, &method)
        {
            return response;
        }
        let (entry, script_name) = match self.find(&request, request.method()) {
            Lookup::Found(entry, script_name) => (entry, script_name),
            Lookup::MethodNotAllowed(allowed) => {
                self.metrics.refused(Reason::MethodNotAllowed);
                return answer::method_not_allowed(&allowed, id);
            }
            Lookup::None if full_uri.path().starts_with(SYSTEM) => {
                // In a box, so that calls of functions have no room for it in their future.
                return Box::pin(self.system.answer(request, ends.peer, self.body_stall)).await;
            }
            Lookup::None => return self.without_function(full_uri.path(), id),
        };
        if let Some(rest) = below(full_uri.path(), &script_name) {
            *request.uri_mut() = with_path(&full_uri, rest);
        }
        forward(request.headers_mut(), ends, &full_uri);
        let is_openfaas = entry.is_openfaas;
        if is_openfaas && !METHODS.contains(request.method()) {
            self.metrics.refused(Reason::MethodNotAllowed);
            return answer::method_not_allowed(&METHODS, id);
        }
        let visit = is_openfaas.then(|| Visit::begin(request.headers_mut(), id));
        let admitted = Admitted { id, entry, script_name, full_uri, ends, received, is_async };
        let mut response = match admitted.entry.guard.clone() {
            None => self.call(request, admitted).await,
            // In a box, so that whoever asks for no guard has no room for one in their future.
            Some(guard) => Box::pin(self.call_guarded(&guard, request, admitted)).await,
        };
        if let Some(visit) = visit {
            visit.end(&mut response);
        }
        response
    }

    /// Calls a function for those whom its guard lets in.
    async fn call_guarded(
        &self,
        guard: &Guard,
        mut request: Request<Incoming>,
        admitted: Admitted<I>,
    ) -> Response<PlatformBody<I::Body>> {
        let allowed = guard.cors().map(|cors| (cors, cors.allowed(request.headers())));
        let entered = guard.enter(request.headers_mut(), admitted.ends.peer.ip()).await;
        let mut response = match entered {
            Ok(()) => self.call(request, admitted).await,
            Err(refusal) => {
                self.metrics.refused(refusal.failure.reason);
                let mut response = answer::failure(&refusal.failure, Some(admitted.id));
                for (name, value) in refusal.headers {
                    response.headers_mut().insert(name, value);
                }
                response
            }
        };
        // A page may read why it was refused, too.
        if let Some((cors, allowed)) = allowed {
            cors.dress(allowed, response.headers_mut());
        }
        response
    }

    /// Calls a function, now or later.
    async fn call(
        &self,
        request: Request<Incoming>,
        admitted: Admitted<I>,
    ) -> Response<PlatformBody<I::Body>> {
        let Admitted { id, entry, script_name, full_uri, ends, received, is_async } = admitted;
        let backend = entry.backend;
        if is_async {
            // Whose turn it is will be seen when the call is made.
            let revision = &backend.main().revision;
            let full_uri = origin_form(full_uri);
            let later = Later { id, revision, script_name, full_uri, ends, stall: self.body_stall };
            return self.later.take(request, later, &self.metrics).await;
        }
        let endpoint = backend.next();
        let cap = endpoint.revision.template.limits.request_body;
        let (mut head, body) = request.into_parts();
        let answered = match RequestBody::new(body, cap, self.body_stall) {
            Ok(body) => {
                let trace = self
                    .traces
                    .as_ref()
                    .and_then(|traces| traces.begin(id, &mut head, full_uri.path(), &script_name));
                let request = Request::from_parts(head, body);
                let (peer, local) = (ends.peer, ends.local);
                let full_uri = origin_form(full_uri);
                let call =
                    Call { id, request, full_uri, script_name, peer, local, received, trace };
                self.invoke.invoke(&endpoint.target, call).await
            }
            Err(failure) => {
                self.metrics.refused(failure.reason);
                Err(failure)
            }
        };
        match answered {
            Ok(mut response) => {
                of_guest(response.headers_mut());
                response.map(PlatformBody::Guest)
            }
            Err(failure) => answer::failure(&failure, Some(id)),
        }
    }

    /// The function for a request: by its own path, else by a declared route.
    fn find(&self, request: &Request<Incoming>, method: &Method) -> Lookup<I> {
        let path = request.uri().path();
        // No route, not even `/*`, takes what those who watch over this server ask.
        if path == HEALTH || path == READY {
            return Lookup::None;
        }
        if let Some(rest) = path.strip_prefix(FUNCTION) {
            let name = rest.split_once('/').map_or(rest, |(name, _)| name);
            let base = &path[..FUNCTION.len() + name.len()];
            return match self.table.by_name(name) {
                Some(entry) => Lookup::Found(entry, base.to_owned()),
                None => Lookup::None,
            };
        }
        if path.starts_with(SYSTEM) {
            return Lookup::None;
        }
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.as_str()),
            None => request.headers().get(HOST).and_then(|host| host.to_str().ok()),
        };
        self.table.by_route(host, method, path)
    }

    /// Answers a browser that asks whether a page may send a request with `method`, where the
    /// function that it is for says which pages may; the others answer themselves.
    fn preflight(
        &self,
        request: &Request<Incoming>,
        method: &Method,
    ) -> Option<Response<PlatformBody<I::Body>>> {
        let Lookup::Found(entry, _) = self.find(request, method) else { return None };
        let cors = entry.guard.as_ref()?.cors()?;
        let mut response = Response::new(PlatformBody::Own(None));
        *response.status_mut() = StatusCode::NO_CONTENT;
        cors.answer_preflight(cors.allowed(request.headers()), response.headers_mut());
        Some(response)
    }

    /// Answers what no function answers.
    fn without_function(&self, path: &str, id: CallId) -> Response<PlatformBody<I::Body>> {
        match path {
            HEALTH => answer::text(StatusCode::OK, "ok\n"),
            READY if self.ready.load(Relaxed) => answer::text(StatusCode::OK, "ready\n"),
            READY => answer::text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            path => {
                self.metrics.refused(Reason::NotFound);
                let message = match path.strip_prefix(FUNCTION) {
                    Some(rest) => {
                        let name = rest.split('/').next().unwrap_or_default();
                        format!("there is no function `{name}`")
                    }
                    None => format!("no function has a route for {path}"),
                };
                answer::failure(&Failure::new(Reason::NotFound, message), Some(id))
            }
        }
    }
}

impl<I: Invoke> Service for Gateway<I>
where
    I::Body: Unpin,
{
    type Body = PlatformBody<I::Body>;

    async fn answer(
        &self,
        request: Request<Incoming>,
        connection: Connection,
    ) -> Response<Self::Body> {
        let id = id::new_call_id();
        let mut response = self.route(request, connection, id).await;
        // The repeat of a call is named as the call.
        let named = response.extensions_mut().remove::<Accepted>().map_or(id, |one| one.call);
        answer::name_call(&mut response, named);
        response
    }
}

/// A request of HTTP/1.1 names one host (RFC 9112 section 3.2). What others may read another way
/// than we do is not passed on.
fn check_host<B>(request: &Request<B>) -> Result<(), Failure> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let message = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => "the request has more than one header Host",
        (None, _) if request.version() == Version::HTTP_11 => "the request has no header Host",
        _ => return Ok(()),
    };
    Err(Failure::new(Reason::BadRequest, message))
}

/// The path and query of a URI that may name scheme and host, too.
fn origin_form(uri: Uri) -> Uri {
    match uri.authority() {
        None => uri,
        Some(_) => uri.path_and_query().cloned().map_or(uri, Uri::from),
    }
}

/// For a function called by its own path: what follows that path. A declared route keeps its
/// path whole.
fn below<'p>(path: &'p str, base: &str) -> Option<&'p str> {
    base.starts_with(FUNCTION).then(|| path.strip_prefix(base)).flatten()
}

/// `uri` with another path and the same query.
fn with_path(uri: &Uri, path: &str) -> Uri {
    let path = if path.is_empty() { "/" } else { path };
    let path_and_query = match uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    let mut parts = uri.clone().into_parts();
    // What follows a prefix of a valid path is one, too.
    if let Ok(path_and_query) = path_and_query {
        parts.path_and_query = Some(path_and_query);
    }
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// Makes a request's headers those of a forwarded one.
fn forward(headers: &mut HeaderMap, ends: Connection, uri: &Uri) {
    let peer = ends.peer;
    strip(headers);
    // Ours to say, once somebody has shown who they are.
    headers.remove(&crate::guard::CLIENT);
    let chain = match headers.get(&FORWARDED_FOR).and_then(|chain| chain.to_str().ok()) {
        Some(chain) => HeaderValue::try_from(format!("{chain}, {}", peer.ip())),
        None => HeaderValue::try_from(peer.ip().to_string()),
    };
    if let Ok(chain) = chain {
        headers.insert(FORWARDED_FOR, chain);
    }
    let proto = if ends.tls { "https" } else { "http" };
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static(proto));
    let host = match uri.authority() {
        Some(authority) => HeaderValue::try_from(authority.as_str()).ok(),
        None => headers.get(HOST).cloned(),
    };
    match host {
        Some(host) => {
            headers.entry(FORWARDED_HOST).or_insert(host);
        }
        // HTTP/1.0 has requests without a host; guests are promised one.
        None => drop(headers.insert(HOST, HeaderValue::from_static("localhost"))),
    }
}

/// Makes an answer's headers those that a guest may send.
pub(crate) fn of_guest(headers: &mut HeaderMap) {
    strip(headers);
    // It says that the platform answers, which is not for guests to say.
    headers.remove(answer::REASON);
}

/// Removes what belongs to one connection only.
fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let lists: Vec<_> = headers.get_all(CONNECTION).iter().cloned().collect();
        let names = lists.iter().filter_map(|list| list.to_str().ok()).flat_map(|l| l.split(','));
        // `Connection: host` would take away what the request is routed by.
        for name in names.map(str::trim).filter(|name| !name.eq_ignore_ascii_case("host")) {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_own_path_is_not_the_guests() {
        let uri: Uri = "/function/a/b/c?d".parse().unwrap();
        let rest = below(uri.path(), "/function/a").unwrap();
        assert_eq!(with_path(&uri, rest).to_string(), "/b/c?d");
        let uri: Uri = "http://h/function/a".parse().unwrap();
        assert_eq!(with_path(&uri, "").to_string(), "http://h/");
        assert_eq!(below("/declared/x", "/declared"), None);
    }

    #[test]
    fn a_request_names_one_host() {
        let request = |version, hosts: &[&'static str]| {
            let mut request = Request::builder().version(version);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            request.body(()).unwrap()
        };
        assert_eq!(check_host(&request(Version::HTTP_11, &["a"])), Ok(()));
        assert_eq!(check_host(&request(Version::HTTP_10, &[])), Ok(()));
        assert_eq!(check_host(&request(Version::HTTP_2, &[])), Ok(()));
        assert!(check_host(&request(Version::HTTP_11, &[])).is_err());
        assert!(check_host(&request(Version::HTTP_11, &["a", "b"])).is_err());
    }

    #[test]
    fn guests_are_told_path_and_query_alone() {
        for sent in ["http://h:1/a%20b?c=d", "/a%20b?c=d"] {
            assert_eq!(origin_form(sent.parse().unwrap()).to_string(), "/a%20b?c=d");
        }
    }

    #[test]
    fn connection_headers_stay_and_the_chain_grows() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-mine"),
            ("connection", "Host, x-other"),
            ("x-mine", "1"),
            ("x-other", "1"),
            ("te", "trailers"),
            ("x-forwarded-for", "10.0.0.1"),
            ("host", "example.com"),
            ("accept", "*/*"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let peer = "192.0.2.1:5".parse().unwrap();
        let ends = Connection { peer, local: peer, tls: true };
        forward(&mut headers, ends, &Uri::from_static("/"));
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let left = ["accept", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
        assert_eq!(names, left);
        assert_eq!(headers["x-forwarded-for"], "10.0.0.1, 192.0.2.1");
        assert_eq!(headers["x-forwarded-host"], "example.com");
        assert_eq!(headers["x-forwarded-proto"], "https");
    }
}
