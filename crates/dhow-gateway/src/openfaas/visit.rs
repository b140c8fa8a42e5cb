//! What a function that was deployed as one of OpenFaaS' hears and says more than others: the
//! headers of OpenFaaS' gateway and watchdogs, and a watchdog's 408 for a call that took too long.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use dhow_core::call::CallId;
use dhow_core::outcome::Reason;
use dhow_http::answer::{CALL_ID, PlatformBody, REASON};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

/// Nanoseconds since 1970 at which the request came.
const START_TIME: HeaderName = HeaderName::from_static("x-start-time");
/// How long the function took, in seconds.
const DURATION: HeaderName = HeaderName::from_static("x-duration-seconds");
const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");
/// On answers that are the platform's and not a function's; clients try again by it.
const INTERNAL: HeaderName = HeaderName::from_static("x-openfaas-internal");
/// What a watchdog says of a call that it ended.
const KILLED: &str = "Killed process.\n";

/// The methods that OpenFaaS passes on.
pub(crate) const METHODS: [Method; 7] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::HEAD,
];

/// A call under way.
pub(crate) struct Visit {
    begun: Instant,
    start_time: HeaderValue,
}

impl Visit {
    /// Begins one, and tells the function of it.
    pub(crate) fn begin(headers: &mut HeaderMap, id: CallId) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let start_time = HeaderValue::from(nanoseconds);
        if let Ok(id) = HeaderValue::try_from(id.to_string()) {
            headers.entry(CALL_ID).or_insert(id);
        }
        headers.insert(START_TIME, start_time.clone());
        Self { begun: Instant::now(), start_time }
    }

    /// Ends it, whoever answered.
    pub(crate) fn end<B>(self, response: &mut Response<PlatformBody<B>>) {
        let reason = response.headers().get(REASON).and_then(|reason| reason.to_str().ok());
        let is_late =
            [Reason::WallTime, Reason::CpuTime].iter().any(|one| reason == Some(one.as_str()));
        let is_guests = reason.is_none() || reason == Some(Reason::GuestExit.as_str());
        if is_late {
            *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
            *response.body_mut() = PlatformBody::Own(Some(Bytes::from_static(KILLED.as_bytes())));
        }
        let headers = response.headers_mut();
        if is_late {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        } else if !is_guests {
            headers.insert(INTERNAL, HeaderValue::from_static("dhow"));
        }
        let seconds = format!("{:.6}", self.begun.elapsed().as_secs_f64());
        if let Ok(seconds) = HeaderValue::try_from(seconds) {
            headers.insert(DURATION, seconds);
        }
        headers.insert(SERVED_BY, HeaderValue::from_static("dhow"));
        headers.insert(START_TIME, self.start_time);
    }
}

#[cfg(test)]
mod tests {
    use dhow_core::outcome::Failure;
    use dhow_http::answer;

    use super::*;

    fn ended(mut response: Response<PlatformBody<()>>) -> Response<PlatformBody<()>> {
        let visit = Visit::begin(&mut HeaderMap::new(), CallId(1));
        visit.end(&mut response);
        response
    }

    #[test]
    fn a_function_is_told_when_and_as_what_it_is_called() {
        let mut headers = HeaderMap::new();
        drop(Visit::begin(&mut headers, CallId(1)));
        assert_eq!(headers[CALL_ID].to_str().unwrap().len(), 32);
        assert!(headers[START_TIME].to_str().unwrap().parse::<u64>().unwrap() > 1 << 60);
        headers.insert(CALL_ID, HeaderValue::from_static("mine"));
        drop(Visit::begin(&mut headers, CallId(1)));
        assert_eq!(headers[CALL_ID], "mine");
    }

    #[test]
    fn a_late_call_is_408_and_a_failure_of_the_platforms_is_named() {
        let late = ended(answer::failure(&Failure::new(Reason::WallTime, "late"), None));
        assert_eq!(late.status(), StatusCode::REQUEST_TIMEOUT);
        assert!(matches!(late.body(), PlatformBody::Own(Some(text)) if text == KILLED));
        assert!(!late.headers().contains_key(INTERNAL));
        let busy = ended(answer::failure(&Failure::new(Reason::Overloaded, "busy"), None));
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(busy.headers().contains_key(INTERNAL));
        let right = ended(Response::new(PlatformBody::Guest(())));
        assert!(!right.headers().contains_key(INTERNAL));
        let seconds = right.headers()[DURATION].to_str().unwrap().parse::<f64>();
        assert!(seconds.is_ok_and(|seconds| seconds >= 0.0));
    }
}
