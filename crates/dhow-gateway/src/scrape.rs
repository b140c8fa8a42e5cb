//! The metrics port.

use axum::Router;
use axum::routing::get;
use http::header::CONTENT_TYPE;

use crate::metrics::Metrics;

/// The text format's own type (Prometheus exposition formats, version 0.0.4).
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers `/metrics`.
pub fn router(metrics: Metrics) -> Router {
    Router::new().route(
        "/metrics",
        get(move || {
            let text = metrics.render();
            async move { ([(CONTENT_TYPE, TEXT)], text) }
        }),
    )
}
