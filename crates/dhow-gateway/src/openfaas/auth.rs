//! Who may use the API: whoever shows the admin secret or a token, as the password of `admin` or
//! as a bearer; on loopback also whoever shows nothing. What each needs is asked where it is known
//! of which namespace it is.
//!
//! Functions' own pages have the data port as their origin, so no page at all may use this API: a
//! function must not get, by way of its reader's browser, what it can't get itself.

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dhow_core::name::Label;
use dhow_core::token::{Place, Scope};
use dhow_dialects::openfaas::shown;
use http::header::{AUTHORIZATION, HOST, ORIGIN, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::System;
use super::error::Refused;
use crate::admin::credentials::Principal;
use crate::admin::origin;

/// Where a fetch comes from, as browsers tell it.
const FETCH_SITE: &str = "sec-fetch-site";

/// Lets a request in whose sender is known, if that is asked for.
pub(super) async fn guard(
    State(system): State<System>,
    mut request: Request,
    next: Next,
) -> Response {
    // HTTP/2 says it in another place.
    if let Some(host) = request.uri().authority().map(|authority| authority.as_str().to_owned())
        && let Ok(host) = HeaderValue::try_from(host)
    {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    if let Err(error) = origin::check(system.own, request.uri().authority(), request.headers()) {
        return Refused::from(error).into_response();
    }
    if is_of_page(request.headers()) {
        let message = "pages may not use this API: functions' pages are of the same origin";
        return Refused::new(StatusCode::FORBIDDEN, message).into_response();
    }
    // Clients that have not logged in send an empty one.
    if request.headers().get(AUTHORIZATION).is_some_and(is_empty_bearer) {
        request.headers_mut().remove(AUTHORIZATION);
    }
    match system.credentials.principal(request.headers()) {
        Ok(principal) => {
            request.extensions_mut().insert(principal.clone());
            // The audit log, around this, asks the answer who it was.
            (Extension(principal), next.run(request).await).into_response()
        }
        Err(refused) => {
            tracing::debug!(why = %refused, "a request to OpenFaaS' API is refused");
            unauthorized(request.headers())
        }
    }
}

fn is_of_page(headers: &HeaderMap) -> bool {
    let site = headers.get(FETCH_SITE);
    headers.contains_key(ORIGIN) || site.is_some_and(|site| site != "none")
}

fn is_empty_bearer(value: &HeaderValue) -> bool {
    value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"bearer")
}

fn unauthorized(headers: &HeaderMap) -> Response {
    let mut response = (StatusCode::UNAUTHORIZED, "invalid credentials").into_response();
    // A browser that asks its user for a password sends it with all that pages of this origin ask
    // for afterwards, so it is not told that it could.
    let is_browser =
        headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"));
    let challenge = if is_browser { "Bearer" } else { "Basic realm=\"Restricted\"" };
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

/// Refuses whoever may not do things of `scope` in `namespace`.
pub(super) fn allow(principal: &Principal, scope: Scope, namespace: &Label) -> Result<(), Refused> {
    if principal.may(scope, Place::Namespace(namespace)) {
        return Ok(());
    }
    let message = format!(
        "this needs the scope {scope} in {}, which {principal} does not have",
        shown(namespace)
    );
    Err(Refused::new(StatusCode::FORBIDDEN, message))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(said: &[(HeaderName, &'static str)]) -> HeaderMap {
        said.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn pages_are_known_by_what_browsers_say() {
        let site = HeaderName::from_static(FETCH_SITE);
        assert!(!is_of_page(&headers(&[])));
        assert!(!is_of_page(&headers(&[(site.clone(), "none")])));
        assert!(is_of_page(&headers(&[(site, "same-origin")])));
        assert!(is_of_page(&headers(&[(ORIGIN, "http://127.0.0.1:8080")])));
    }

    #[test]
    fn an_empty_bearer_is_nothing_shown() {
        for (text, is_empty) in [("Bearer", true), ("bearer ", true), ("Bearer x", false)] {
            assert_eq!(is_empty_bearer(&HeaderValue::from_static(text)), is_empty, "{text}");
        }
    }

    #[test]
    fn browsers_are_not_told_to_ask_for_a_password() {
        let challenge =
            |said: &[_]| unauthorized(&headers(said)).headers()[WWW_AUTHENTICATE].clone();
        assert_eq!(challenge(&[]), "Basic realm=\"Restricted\"");
        assert_eq!(challenge(&[(USER_AGENT, "Mozilla/5.0 (X11)")]), "Bearer");
    }
}
