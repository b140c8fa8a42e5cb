//! The metrics port.

use std::net::SocketAddr;

use axum::routing::get;
use axum::{Router, middleware};
use http::header::CONTENT_TYPE;

use crate::admin::origin;
use crate::metrics::Metrics;

/// The text format's own type (Prometheus exposition formats, version 0.0.4).
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers `/metrics`. On loopback, `listen`, a stranger's page learns nothing from it; elsewhere
/// whoever scrapes may call the host as they like.
pub fn router(metrics: Metrics, listen: SocketAddr) -> Router {
    let router = Router::new().route(
        "/metrics",
        get(move || {
            let text = metrics.render();
            async move { ([(CONTENT_TYPE, TEXT)], text) }
        }),
    );
    match listen.ip().is_loopback() {
        true => router.layer(middleware::from_fn_with_state(listen, origin::guard)),
        false => router,
    }
}
