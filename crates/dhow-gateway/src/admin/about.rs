//! What the server says of itself.

use std::sync::LazyLock;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use dhow_dialects::document;
use futures_util::FutureExt;
use http::StatusCode;
use serde_json::Value;

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

/// The document that describes this API, as people write it.
pub(super) const DESCRIPTION: &str = include_str!("../../../../docs/openapi.yaml");

/// [`DESCRIPTION`] as a value.
pub(super) fn described() -> &'static Value {
    static DESCRIBED: LazyLock<Value> =
        LazyLock::new(|| document::parse(DESCRIPTION).expect("a test reads it").swap_remove(0));
    &DESCRIBED
}

pub(super) async fn openapi() -> impl IntoResponse {
    Json(described())
}
