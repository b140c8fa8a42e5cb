//! Asynchronous calls: list, show, result, retry, cancel, purge.
//!
//! Paths name no namespace, so each call's own is asked about here: what the sender may not see
//! is not there.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use dhow_core::call::CallId;
use dhow_core::queue::{CallCursor, CallFilter, CallView, QueueError};
use dhow_core::token::{Place, Scope};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;

use super::Admin;
use super::credentials::Principal;
use super::error::ApiError;
use super::path::label;
use super::wire::{AsyncCall, AsyncCalls, Purged};

/// Calls that are listed when nobody says how many, and at most.
const DEFAULT_LIMIT: usize = 100;
const MOST_LIMIT: usize = 1000;

/// The status that the function gave, beside the status of this answer.
const STATUS: HeaderName = HeaderName::from_static("x-function-status");
/// The answer was larger than what is kept.
const REASON: HeaderName = HeaderName::from_static("x-dhow-reason");

/// `{call}` of a path.
pub(super) struct Called(CallId);

impl<S: Send + Sync> FromRequestParts<S> for Called {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| ApiError::invalid(rejection.body_text(), vec![]))?;
        super::calls::call_id(&text).map(Self)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    namespace: Option<String>,
    function: Option<String>,
    state: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PurgeQuery {
    namespace: Option<String>,
    function: Option<String>,
    state: Option<String>,
}

fn filter(
    namespace: Option<String>,
    function: Option<String>,
    state: Option<String>,
) -> Result<CallFilter, ApiError> {
    Ok(CallFilter {
        visible: None,
        namespace: namespace.map(|text| label("namespace", &text)).transpose()?,
        name: function.map(|text| label("function", &text)).transpose()?,
        state: state
            .map(|text| text.parse().map_err(|error| ApiError::parameter("state", error)))
            .transpose()?,
    })
}

/// Newest first; `next` is where to go on.
pub(super) async fn list(
    State(admin): State<Admin>,
    Extension(principal): Extension<Principal>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<AsyncCalls>, ApiError> {
    let Query(ListQuery { namespace, function, state, limit, after }) = query?;
    let filter = CallFilter { visible: principal.visible(), ..filter(namespace, function, state)? };
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MOST_LIMIT).contains(&limit) {
        let message = format!("must be from 1 to {MOST_LIMIT}");
        return Err(ApiError::parameter("limit", message));
    }
    let after = after.map(|text| cursor(&text)).transpose()?;
    let page = admin.calls.list(filter, after, limit).await?;
    let items = page.views.into_iter().map(AsyncCall::from).collect();
    Ok(Json(AsyncCalls { items, next: page.next.map(|CallCursor(place)| place.to_string()) }))
}

fn cursor(text: &str) -> Result<CallCursor, ApiError> {
    let place = text
        .parse()
        .map_err(|_| ApiError::parameter("after", "must be what `next` of the page before says"));
    place.map(CallCursor)
}

pub(super) async fn show(
    State(admin): State<Admin>,
    Extension(principal): Extension<Principal>,
    Called(call): Called,
) -> Result<Json<AsyncCall>, ApiError> {
    Ok(Json(find(&admin, &principal, Scope::Read, call).await?.into()))
}

/// The function's answer, as it gave it; its status is in a header.
pub(super) async fn result(
    State(admin): State<Admin>,
    Extension(principal): Extension<Principal>,
    Called(call): Called,
) -> Result<Response, ApiError> {
    let view = find(&admin, &principal, Scope::Read, call).await?;
    let Some(answer) = admin.calls.answer(call).await? else {
        let message = format!("no answer of call {call} is kept; it is {}", view.state);
        let hint = "ask for it with the header X-Dhow-Keep-Result, or async.keepResult";
        return Err(ApiError::new(StatusCode::NOT_FOUND, "not-found", message, hint));
    };
    let mut response = answer.body.into_response();
    // A guest's headers, such as cookies or a policy, must not act on the admin API's origin.
    let headers = response.headers_mut();
    headers.clear();
    let kind = HeaderValue::from_static("application/octet-stream");
    headers.insert(http::header::CONTENT_TYPE, kind);
    headers.insert(STATUS, HeaderValue::from(answer.status.as_u16()));
    if answer.is_cut {
        headers.insert(REASON, HeaderValue::from_static("payload-too-large"));
    }
    Ok(response)
}

pub(super) async fn retry(
    State(admin): State<Admin>,
    Extension(principal): Extension<Principal>,
    Called(call): Called,
) -> Result<Json<AsyncCall>, ApiError> {
    find(&admin, &principal, Scope::Deploy, call).await?;
    Ok(Json(admin.calls.retry(call).await?.into()))
}

pub(super) async fn cancel(
    State(admin): State<Admin>,
    Extension(principal): Extension<Principal>,
    Called(call): Called,
) -> Result<StatusCode, ApiError> {
    find(&admin, &principal, Scope::Deploy, call).await?;
    admin.calls.cancel(call).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn purge(
    State(admin): State<Admin>,
    Extension(principal): Extension<Principal>,
    query: Result<Query<PurgeQuery>, QueryRejection>,
) -> Result<Json<Purged>, ApiError> {
    let Query(PurgeQuery { namespace, function, state }) = query?;
    let filter = filter(namespace, function, state)?;
    let place = filter.namespace.as_ref().map_or(Place::Everywhere, Place::Namespace);
    if !principal.may(Scope::Deploy, place) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("purging there needs the scope `deploy`, which {principal} does not have"),
            "name a namespace in which you may deploy",
        ));
    }
    Ok(Json(Purged { purged: admin.calls.purge(filter).await? }))
}

/// The call, if the sender may do things of `scope` with it.
async fn find(
    admin: &Admin,
    principal: &Principal,
    scope: Scope,
    call: CallId,
) -> Result<CallView, ApiError> {
    let view = admin.calls.show(call).await?;
    if principal.may(scope, Place::Namespace(&view.function.namespace)) {
        Ok(view)
    } else {
        Err(QueueError::NotFound(call).into())
    }
}
