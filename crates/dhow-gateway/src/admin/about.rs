//! What the server says of itself.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use futures_util::FutureExt;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::error::ApiError;
use super::{Admin, wire};

/// The process answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Whether what is deployed is what answers.
pub(super) async fn ready(State(admin): State<Admin>) -> Result<&'static str, ApiError> {
    match (admin.applied)(admin.catalog.snapshot().version).now_or_never() {
        Some(()) => Ok("ok\n"),
        None => Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-ready",
            "the gateway has not taken up all that is deployed",
            "ask again in a moment",
        )),
    }
}

pub(super) async fn version(State(admin): State<Admin>) -> impl IntoResponse {
    let version = wire::Version { version: admin.version, gateway: &admin.gateway_url };
    Json(version).into_response()
}

/// The document that describes this API.
pub(super) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], include_str!("openapi.json"))
}
