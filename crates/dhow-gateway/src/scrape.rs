//! The metrics port.

use axum::routing::get;
use axum::{Router, middleware};
use http::header::CONTENT_TYPE;

use crate::admin::credentials::{self, Credentials};
use crate::admin::origin::{self, Own};
use crate::metrics::Metrics;

/// The text format's own type (Prometheus exposition formats, version 0.0.4).
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers `/healthz`, and `/metrics`, which names every function: to programs on this machine, and elsewhere to
/// whoever may read everything. A stranger's page learns nothing from it.
pub fn router(metrics: Metrics, own: Own, credentials: Credentials) -> Router {
    let text = move || {
        let text = metrics.render();
        async move { ([(CONTENT_TYPE, TEXT)], text) }
    };
    Router::new()
        .route("/metrics", get(text))
        .layer(middleware::from_fn_with_state(credentials, credentials::guard_metrics))
        .layer(middleware::from_fn_with_state(own, origin::guard))
        // Behind no guard: those who watch over the server ask for it.
        .route("/healthz", get(|| async { "OK" }))
}
