//! Pages of other origins: the Fetch standard's CORS protocol, spoken in the function's place.
//!
//! It tells browsers what their pages may do, and keeps nobody else out: that is `auth`'s.

use dhow_core::access::{Cors as Rules, Origins};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};

/// What a browser is told, written out once.
pub struct Cors {
    origins: Option<Vec<HeaderValue>>,
    credentials: bool,
    methods: HeaderValue,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    max_age: HeaderValue,
}

/// What a page may read of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed(Option<HeaderValue>);

/// The method that a browser asks for in a preflight: `OPTIONS` with the origin and the method of
/// the request to come.
pub fn preflight(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes().try_into().ok()
}

impl Cors {
    pub(super) fn new(rules: &Rules) -> Self {
        let Rules { origins, methods, headers, expose, credentials, max_age } = rules;
        let names = |names: &[HeaderName]| {
            let names: Vec<_> = names.iter().map(HeaderName::as_str).collect();
            HeaderValue::try_from(names.join(", ")).ok().filter(|_| !names.is_empty())
        };
        let methods: Vec<_> = methods.iter().map(Method::as_str).collect();
        Self {
            origins: match origins {
                Origins::Any => None,
                Origins::These(origins) => {
                    Some(origins.iter().filter_map(|one| one.try_into().ok()).collect())
                }
            },
            credentials: *credentials,
            // Methods are tokens: they are always fit for a header.
            methods: HeaderValue::try_from(methods.join(", "))
                .unwrap_or(HeaderValue::from_static("")),
            headers: names(headers),
            expose: names(expose),
            max_age: max_age.as_secs().into(),
        }
    }

    /// What the page of a request's origin may read.
    pub fn allowed(&self, headers: &HeaderMap) -> Allowed {
        let Some(origin) = headers.get(ORIGIN) else { return Allowed(None) };
        Allowed(match &self.origins {
            None => Some(HeaderValue::from_static("*")),
            Some(origins) => origins.contains(origin).then(|| origin.clone()),
        })
    }

    /// Makes an answer that `allowed` may be read by. What the function itself says of it goes: two
    /// voices would contradict each other.
    pub fn dress(&self, allowed: Allowed, headers: &mut HeaderMap) {
        for name in [
            ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            ACCESS_CONTROL_EXPOSE_HEADERS,
        ] {
            headers.remove(name);
        }
        if self.origins.is_some() {
            // Also without an origin: a cache must not give one page the answer to another.
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = allowed.0 else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(expose) = &self.expose {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    /// The headers that answer a preflight of `allowed`.
    pub fn answer_preflight(&self, allowed: Allowed, headers: &mut HeaderMap) {
        let is_allowed = allowed.0.is_some();
        self.dress(allowed, headers);
        if !is_allowed {
            return;
        }
        headers.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        if let Some(names) = &self.headers {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rules(origins: Origins, credentials: bool) -> Rules {
        Rules {
            origins,
            methods: vec![Method::GET, Method::PUT],
            headers: vec![HeaderName::from_static("x-mine")],
            expose: vec![HeaderName::from_static("x-seen")],
            credentials,
            max_age: Duration::from_secs(60),
        }
    }

    fn from(origin: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static(origin))])
    }

    fn dressed(cors: &Cors, request: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("https://guest"));
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        cors.dress(cors.allowed(request), &mut headers);
        headers
    }

    #[test]
    fn a_listed_origin_is_named_and_another_is_told_nothing() {
        let origins = Origins::These(vec!["https://app.example".to_owned()]);
        let cors = Cors::new(&rules(origins, true));
        let headers = dressed(&cors, &from("https://app.example"));
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(headers[ACCESS_CONTROL_EXPOSE_HEADERS], "x-seen");
        assert_eq!(headers[VARY], "Origin");
        for other in
            ["https://evil.example", "https://app.example:8443", "null", "http://app.example"]
        {
            let headers = dressed(&cors, &from(other));
            assert_eq!(headers.len(), 1, "{other}: {headers:?}");
            assert_eq!(headers[VARY], "Origin");
        }
        assert_eq!(dressed(&cors, &HeaderMap::new()).len(), 1);
    }

    #[test]
    fn any_origin_is_a_star_without_credentials() {
        let cors = Cors::new(&rules(Origins::Any, false));
        let headers = dressed(&cors, &from("https://whoever.example"));
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
        assert!(!headers.contains_key(VARY));
    }

    #[test]
    fn a_preflight_is_told_what_is_allowed() {
        let origins = Origins::These(vec!["https://app.example".to_owned()]);
        let cors = Cors::new(&rules(origins, false));
        let mut headers = HeaderMap::new();
        cors.answer_preflight(cors.allowed(&from("https://app.example")), &mut headers);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], "GET, PUT");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_HEADERS], "x-mine");
        assert_eq!(headers[ACCESS_CONTROL_MAX_AGE], "60");
        let mut headers = HeaderMap::new();
        cors.answer_preflight(cors.allowed(&from("https://evil.example")), &mut headers);
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn a_preflight_is_an_options_with_an_origin_and_a_method() {
        let mut headers = from("https://app.example");
        assert_eq!(preflight(&Method::OPTIONS, &headers), None);
        headers.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("PUT"));
        assert_eq!(preflight(&Method::OPTIONS, &headers), Some(Method::PUT));
        assert_eq!(preflight(&Method::GET, &headers), None);
        headers.remove(ORIGIN);
        assert_eq!(preflight(&Method::OPTIONS, &headers), None);
    }
}
