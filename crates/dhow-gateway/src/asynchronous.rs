//! Calls that are answered later: taken here, kept by the queue, and given back to the function
//! that is in force when their turn comes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dhow_core::call::CallId;
use dhow_core::function::Revision;
use dhow_core::name::FunctionName;
use dhow_core::outcome::{Failure, Reason};
use dhow_core::plan::egress::EgressRule;
use dhow_core::ports::{BoxFuture, Call, CallQueue, Dispatch, Invoke, Traces};
use dhow_core::quantity::parse_duration;
use dhow_core::queue::{
    Accepted, AsyncPolicy, CallBody, CallHead, EnqueueError, KEEP, KEEP_RESULT, MOST_KEY, NewCall,
    RetryPolicy,
};
use dhow_http::answer::{self, PlatformBody};
use dhow_http::{Connection, RequestBody};
use http::header::LOCATION;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;

use crate::gateway::of_guest;
use crate::metrics::Metrics;
use crate::table::{Entry, Table};

/// How a client says that it does not wait (RFC 7240).
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const RESPOND_ASYNC: &str = "respond-async";
/// Where the answer goes, as OpenFaaS has it.
const CALLBACK_URL: HeaderName = HeaderName::from_static("x-callback-url");
/// The client's name for what it wants done once.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Nothing new was kept: the key was used before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A call's place in a trace (W3C Trace Context).
const CONTEXT: [HeaderName; 2] =
    [HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];

/// Takes calls that are answered later.
pub struct Asynchronous {
    /// Keeps them.
    pub queue: Arc<dyn CallQueue>,
    /// Where callbacks may go.
    pub rule: Arc<EgressRule>,
    /// Bytes of a body at most, however many its function takes.
    pub most_body: u64,
    /// Where calls are shown, `http://127.0.0.1:8081`, without a slash at its end.
    pub admin_url: String,
}

/// What of a request is known already.
pub(crate) struct Later<'a> {
    pub(crate) id: CallId,
    pub(crate) revision: &'a Revision,
    pub(crate) script_name: String,
    pub(crate) full_uri: Uri,
    pub(crate) ends: Connection,
    /// The longest pause inside the body.
    pub(crate) stall: Duration,
}

/// What a request asks for besides its call.
#[derive(Debug, PartialEq, Eq)]
struct Wishes {
    callback: Option<Uri>,
    keep_result: Duration,
    idempotency_key: Option<String>,
}

/// Whether a request prefers not to wait.
pub(crate) fn is_preferred(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(PREFER).iter().filter_map(|line| line.to_str().ok());
    let mut said = lines.flat_map(|line| line.split(','));
    said.any(|one| {
        let name = one.split([';', '=']).next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case(RESPOND_ASYNC)
    })
}

impl Asynchronous {
    /// Answers 202 once the call is kept, or says why it is not.
    pub(crate) async fn take<B>(
        &self,
        request: Request<Incoming>,
        later: Later<'_>,
        metrics: &Metrics,
    ) -> Response<PlatformBody<B>> {
        let (id, begun) = (later.id, Instant::now());
        let prefers = is_preferred(request.headers());
        match self.keep(request, later).await {
            Ok(accepted) => {
                metrics.enqueued(begun.elapsed());
                self.accepted(accepted, prefers)
            }
            Err(error) => {
                let is_reuse = error == EnqueueError::KeyReused;
                let failure = error.failure();
                metrics.refused(failure.reason);
                let mut response = answer::failure(&failure, Some(id));
                if is_reuse {
                    // What the draft of the header asks for (draft-ietf-httpapi-idempotency-key).
                    *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
                }
                response
            }
        }
    }

    async fn keep(
        &self,
        request: Request<Incoming>,
        later: Later<'_>,
    ) -> Result<Accepted, EnqueueError> {
        let Later { id, revision, script_name, full_uri, ends, stall } = later;
        let policy = &revision.template.asynchronous;
        let wishes = self.wishes(request.headers(), policy).map_err(EnqueueError::Body)?;
        let most_body = revision.template.limits.request_body.min(self.most_body);
        let (head, body) = request.into_parts();
        let body = RequestBody::new(body, most_body, stall).map_err(EnqueueError::Body)?;
        let call = NewCall {
            id,
            function: revision.function.clone(),
            queue: policy.queue.clone(),
            head: CallHead {
                method: head.method,
                uri: head.uri,
                full_uri,
                script_name,
                headers: head.headers,
                peer: ends.peer,
                local: ends.local,
            },
            callback: wishes.callback,
            keep_result: wishes.keep_result,
            idempotency_key: wishes.idempotency_key,
            most_body,
        };
        self.queue.enqueue(call, Box::pin(body)).await
    }

    fn wishes(&self, headers: &HeaderMap, policy: &AsyncPolicy) -> Result<Wishes, Failure> {
        let callback = read(headers, &CALLBACK_URL, |text| {
            let url: Uri = text.parse().map_err(|_| "it is no URL".to_owned())?;
            self.rule.check_url(&url).map_err(|error| error.to_string())?;
            Ok(url)
        })?;
        let keep_result = read(headers, &KEEP, |text| {
            let keep = parse_duration(text).map_err(|error| error.to_string())?;
            let most = KEEP_RESULT.most.as_secs();
            if keep <= KEEP_RESULT.most {
                Ok(keep)
            } else {
                Err(format!("it may be {most} s at most"))
            }
        })?;
        let idempotency_key = read(headers, &IDEMPOTENCY_KEY, |text| {
            let fits = (1..=MOST_KEY).contains(&text.len());
            fits.then(|| text.to_owned()).ok_or_else(|| format!("a key has 1 to {MOST_KEY} bytes"))
        })?;
        let keep_result = keep_result.unwrap_or(policy.keep_result);
        Ok(Wishes { callback, keep_result, idempotency_key })
    }

    fn accepted<B>(&self, accepted: Accepted, prefers: bool) -> Response<PlatformBody<B>> {
        let mut response = Response::new(PlatformBody::Own(None));
        *response.status_mut() = StatusCode::ACCEPTED;
        let headers = response.headers_mut();
        let location = format!("{}/api/v1/calls/{}", self.admin_url, accepted.call);
        if let Ok(location) = HeaderValue::try_from(location) {
            headers.insert(LOCATION, location);
        }
        if prefers {
            headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static(RESPOND_ASYNC));
        }
        if accepted.is_repeat {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response.extensions_mut().insert(accepted);
        response
    }
}

/// Reads a header that may be there once.
fn read<T>(
    headers: &HeaderMap,
    name: &HeaderName,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, Failure> {
    let mut values = headers.get_all(name).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().map_err(|_| "it is no text".to_owned()),
        (Some(_), Some(_)) => Err("it stands there twice".to_owned()),
    };
    value.and_then(|text| parse(text.trim())).map(Some).map_err(|why| {
        Failure::new(Reason::BadRequest, format!("the header {name} can't be used: {why}"))
    })
}

/// Has kept calls answered by the functions in force.
pub struct Redispatch<I: Invoke> {
    invoke: I,
    table: Arc<Table<I>>,
    traces: Option<Arc<dyn Traces>>,
}

impl<I: Invoke> Redispatch<I> {
    /// Calls go to the functions in `table`, and are followed by `traces`: each attempt is a span
    /// of the trace that the caller's headers named when the call was taken.
    pub fn new(invoke: I, table: Arc<Table<I>>, traces: Option<Arc<dyn Traces>>) -> Self {
        Self { invoke, table, traces }
    }
}

impl<I: Invoke> Dispatch for Redispatch<I> {
    fn dispatch(
        &self,
        id: CallId,
        function: &FunctionName,
        head: CallHead,
        body: CallBody,
    ) -> BoxFuture<'_, Result<Response<CallBody>, Failure>> {
        let found = self.table.by_name(&function.to_string());
        let missing = || {
            let message = format!("there is no function `{function}` any more");
            Failure::new(Reason::NotFound, message)
        };
        let endpoint = found.map(|entry| entry.backend.next()).ok_or_else(missing);
        Box::pin(async move {
            let endpoint = endpoint?;
            let CallHead { method, uri, full_uri, script_name, headers, peer, local } = head;
            let mut request = Request::new(body);
            *request.method_mut() = method;
            *request.uri_mut() = uri;
            *request.headers_mut() = headers;
            let received = Instant::now();
            let (mut head, body) = request.into_parts();
            let trace = self
                .traces
                .as_ref()
                .and_then(|traces| traces.begin(id, &mut head, full_uri.path(), &script_name));
            let context = CONTEXT.map(|name| head.headers.get(&name).cloned().map(|it| (name, it)));
            let request = Request::from_parts(head, body);
            let call = Call { id, request, full_uri, script_name, peer, local, received, trace };
            let mut response = self.invoke.invoke(&endpoint.target, call).await?;
            of_guest(response.headers_mut());
            // Whoever is called back with the answer is asked within the call's trace.
            if !CONTEXT.iter().any(|name| response.headers().contains_key(name)) {
                response.headers_mut().extend(context.into_iter().flatten());
            }
            Ok(response.map(|body| Box::pin(body) as CallBody))
        })
    }

    fn retry(&self, function: &FunctionName) -> RetryPolicy {
        let found = self.table.by_name(&function.to_string());
        let retry =
            |entry: Entry<I>| entry.backend.main().revision.template.asynchronous.retry.clone();
        found.map(retry).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(said: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in said {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_preference_is_one_of_a_list() {
        for said in ["respond-async", "Respond-Async", "wait=10, respond-async", "respond-async; x"]
        {
            assert!(is_preferred(&headers(&[("prefer", said)])), "{said}");
        }
        for said in ["", "return=minimal", "x; respond-async", "respond-asynchronously"] {
            assert!(!is_preferred(&headers(&[("prefer", said)])), "{said}");
        }
        assert!(is_preferred(&headers(&[("prefer", "wait=1"), ("prefer", "respond-async")])));
    }

    #[test]
    fn a_header_that_makes_no_sense_is_refused_by_name() {
        let once = headers(&[("x-dhow-keep-result", " 5m ")]);
        let parse = |text: &str| parse_duration(text).map_err(|error| error.to_string());
        assert_eq!(read(&once, &KEEP, parse), Ok(Some(Duration::from_secs(300))));
        assert_eq!(read(&once, &CALLBACK_URL, parse), Ok(None));
        for wrong in [
            headers(&[("x-dhow-keep-result", "soon")]),
            headers(&[("x-dhow-keep-result", "1s"), ("x-dhow-keep-result", "1s")]),
        ] {
            let failure = read(&wrong, &KEEP, parse).unwrap_err();
            assert_eq!(failure.reason, Reason::BadRequest);
            assert!(failure.message.contains("x-dhow-keep-result"), "{}", failure.message);
        }
    }
}
