//! Answers of one JSON value a line, each sent as it comes.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;

/// Streams `values`. When the client leaves, the stream is dropped.
pub(crate) fn respond<T>(values: impl Stream<Item = T> + Send + 'static) -> Response
where
    T: Serialize + 'static,
{
    let lines = values.map(|value| line(&value));
    let headers = [(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(lines)).into_response()
}

/// An error cuts the connection, so that the client doesn't take the answer for whole.
fn line(value: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line.into())
}
