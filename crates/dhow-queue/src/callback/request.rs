//! What is sent to a callback. Pure.

use bytes::Bytes;
use dhow_core::call::CallId;
use dhow_core::name::{DEFAULT_NAMESPACE, FunctionName};
use dhow_core::queue::Answer;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use url::Url;

const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
const DURATION: HeaderName = HeaderName::from_static("x-duration-seconds");
const STATUS: HeaderName = HeaderName::from_static("x-function-status");
const NAME: HeaderName = HeaderName::from_static("x-function-name");
/// Deliveries that failed before this one.
const RETRY: HeaderName = HeaderName::from_static("x-retry");
/// The answer was larger than what is kept, and has no body here.
const REASON: HeaderName = HeaderName::from_static("x-dhow-reason");

/// Headers that speak of one connection or of one message's form.
const DROPPED: [HeaderName; 11] = [
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authorization"),
];

/// The function's headers, and the call's.
pub(super) fn headers(
    call: CallId,
    function: &FunctionName,
    attempts: u32,
    answer: &Answer,
) -> HeaderMap {
    let mut headers = answer.headers.clone();
    let listed: Vec<_> = headers.get_all(CONNECTION).iter().cloned().collect();
    for name in listed.iter().filter_map(|list| list.to_str().ok()).flat_map(|l| l.split(',')) {
        headers.remove(name.trim());
    }
    DROPPED.iter().for_each(|name| drop(headers.remove(name)));
    let name = match function.namespace.as_str() {
        DEFAULT_NAMESPACE => function.name.to_string(),
        _ => function.to_string(),
    };
    let seconds = format!("{:.6}", answer.took.as_secs_f64());
    let mut ours = vec![
        (CALL_ID, call.to_string()),
        (NAME, name),
        (STATUS, answer.status.as_str().to_owned()),
        (DURATION, seconds),
        (USER_AGENT, concat!("dhow/", env!("CARGO_PKG_VERSION")).to_owned()),
    ];
    if attempts > 0 {
        ours.push((RETRY, attempts.to_string()));
    }
    if answer.is_cut {
        ours.push((REASON, "payload-too-large".to_owned()));
        // They speak of a body that is not sent.
        headers.remove(http::header::CONTENT_TYPE);
        headers.remove(http::header::CONTENT_ENCODING);
    }
    for (name, value) in ours {
        // Names, numbers and digits are values of headers.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    headers
}

pub(super) fn post(url: &Uri, headers: &HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.clone();
    headers.clone_into(request.headers_mut());
    request
}

/// Where a redirect leads.
pub(super) fn redirected(from: &Uri, location: Option<&HeaderValue>) -> Result<Uri, String> {
    let said = location.and_then(|value| value.to_str().ok());
    let said = said.ok_or("it redirects to nowhere")?;
    let base = Url::parse(&from.to_string()).map_err(|error| error.to_string())?;
    let next = base.join(said).map_err(|error| format!("it redirects to no URL: {error}"))?;
    match (base.scheme(), next.scheme()) {
        ("https", "http") => return Err("it redirects from https to http".to_owned()),
        (_, "http" | "https") => {}
        (_, other) => return Err(format!("it redirects to the scheme {other}")),
    }
    if !next.username().is_empty() || next.password().is_some() {
        return Err("it redirects to a URL with credentials".to_owned());
    }
    next.as_str().parse().map_err(|_| "it redirects to no URL".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::*;

    #[test]
    fn a_callback_has_the_functions_headers_and_the_calls() {
        let mut said = HeaderMap::new();
        for (name, value) in [
            ("content-type", "text/csv"),
            ("x-mine", "1"),
            ("x-call-id", "forged"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("host", "elsewhere"),
        ] {
            said.append(name, HeaderValue::from_static(value));
        }
        let mut answer = Answer {
            status: StatusCode::IM_A_TEAPOT,
            headers: said,
            body: Bytes::new(),
            is_cut: false,
            took: Duration::from_millis(1500),
        };
        let f = FunctionName::parse("f").unwrap();
        let found = headers(CallId(255), &f, 0, &answer);
        let mut names: Vec<_> = found.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let wanted = [
            "content-type",
            "user-agent",
            "x-call-id",
            "x-duration-seconds",
            "x-function-name",
            "x-function-status",
            "x-mine",
        ];
        assert_eq!(names, wanted);
        assert_eq!(found["x-call-id"], "000000000000000000000000000000ff");
        assert_eq!(found["x-function-name"], "f");
        assert_eq!(found["x-function-status"], "418");
        assert_eq!(found["x-duration-seconds"], "1.500000");
        answer.is_cut = true;
        let shop = FunctionName::parse("f.shop").unwrap();
        let found = headers(CallId(255), &shop, 2, &answer);
        assert_eq!(found["x-function-name"], "f.shop");
        assert_eq!(
            (&found["x-retry"], found.contains_key("content-type")),
            (&HeaderValue::from_static("2"), false)
        );
        assert_eq!(found["x-dhow-reason"], "payload-too-large");
    }

    #[test]
    fn a_redirect_stays_with_http_and_never_leaves_tls() {
        let to = |from: &str, to: &'static str| {
            redirected(&from.parse().unwrap(), Some(&HeaderValue::from_static(to)))
                .map(|url| url.to_string())
        };
        assert_eq!(to("http://a/b?c", "/d").as_deref(), Ok("http://a/d"));
        assert_eq!(to("http://a/b", "https://c:1/d?e").as_deref(), Ok("https://c:1/d?e"));
        for (from, wrong) in [
            ("https://a/", "http://a/"),
            ("http://a/", "ftp://a/"),
            ("http://a/", "http://u:p@a/"),
            ("http://a/", "http://"),
        ] {
            assert!(to(from, wrong).is_err(), "{wrong}");
        }
        assert!(redirected(&"http://a/".parse().unwrap(), None).is_err());
    }
}
