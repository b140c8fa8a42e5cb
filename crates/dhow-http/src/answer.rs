//! The platform's own answers: the one place where a [`Failure`] becomes a response.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use dhow_core::call::CallId;
use dhow_core::outcome::{Failure, Reason};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Response};
use http_body::{Body, Frame, SizeHint};

/// Why the platform answered in the guest's place.
pub const REASON: HeaderName = HeaderName::from_static("x-dhow-reason");
/// The platform's name for the call.
pub const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");

/// A guest's body, or an answer of the platform's own.
pub enum PlatformBody<B> {
    /// The guest's.
    Guest(B),
    /// The platform's; taken when it has been sent.
    Own(Option<Bytes>),
    /// The platform's, as it comes.
    Streamed(Pin<Box<dyn Body<Data = Bytes, Error = Failure> + Send>>),
}

/// Answers a call that failed before its head went out.
pub fn failure<B>(failure: &Failure, call: Option<CallId>) -> Response<PlatformBody<B>> {
    let reason = failure.reason;
    let mut response = Response::new(PlatformBody::Own(None));
    *response.status_mut() = reason.status();
    let headers = response.headers_mut();
    headers.insert(REASON, HeaderValue::from_static(reason.as_str()));
    let passes = matches!(
        reason,
        Reason::Overloaded
            | Reason::NotReady
            | Reason::Concurrency
            | Reason::QuotaCalls
            | Reason::QuotaCpu
            | Reason::QuotaMemory
    );
    if passes {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    let body = match &failure.body {
        Some(guests) => guests.clone(),
        None => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let call_id = call.map(|call| call.to_string());
            let json = serde_json::json!({
                "error": failure.message,
                "reason": reason.as_str(),
                "hint": reason.hint(),
                "call_id": call_id,
            });
            format!("{json}\n").into()
        }
    };
    *response.body_mut() = PlatformBody::Own(Some(body));
    response
}

/// Answers a request for a route that exists for other methods.
pub fn method_not_allowed<B>(allowed: &[Method], call: CallId) -> Response<PlatformBody<B>> {
    let methods: Vec<_> = allowed.iter().map(Method::as_str).collect();
    let methods = methods.join(", ");
    let message = format!("this route takes {methods}");
    let mut response = failure(&Failure::new(Reason::MethodNotAllowed, message), Some(call));
    if let Ok(methods) = HeaderValue::try_from(methods) {
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}

/// A short text, for health checks.
pub fn text<B>(status: http::StatusCode, text: &'static str) -> Response<PlatformBody<B>> {
    let mut response = Response::new(PlatformBody::Own(Some(Bytes::from_static(text.as_bytes()))));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// Names the call in an answer, whoever made it.
pub fn name_call<B>(response: &mut Response<B>, call: CallId) {
    if let Ok(id) = HeaderValue::try_from(call.to_string()) {
        response.headers_mut().insert(CALL_ID, id);
    }
}

impl<B> Body for PlatformBody<B>
where
    B: Body<Data = Bytes, Error = Failure> + Unpin,
{
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match &mut *self {
            Self::Guest(body) => Pin::new(body).poll_frame(cx),
            Self::Own(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Streamed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Guest(body) => body.is_end_stream(),
            Self::Own(body) => body.is_none(),
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Guest(body) => body.size_hint(),
            Self::Own(body) => SizeHint::with_exact(body.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Streamed(body) => body.size_hint(),
        }
    }
}
