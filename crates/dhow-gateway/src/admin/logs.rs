//! What a function's calls wrote.

use std::future::ready;
use std::io;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::response::Response;
use dhow_core::name::FunctionName;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::spawn_blocking;

use super::calls::call_id;
use super::error::ApiError;
use super::functions::find;
use super::path::Named;
use super::serve::Draining;
use super::wire::LogLine;
use super::{Admin, ndjson, time};
use crate::logs;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    #[serde(default)]
    follow: bool,
    tail: Option<usize>,
    /// Seconds.
    since: Option<u64>,
    call: Option<String>,
}

/// The lines that are kept, oldest first; with `follow` then those that come, until the client
/// leaves or the server ends.
pub(super) async fn read(
    State(admin): State<Admin>,
    Extension(draining): Extension<Draining>,
    Named(name): Named,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(LogQuery { follow, tail, since, call }) = query?;
    let call = call.map(|text| call_id(&text)).transpose()?;
    let since_ms = since.map(|s| time::now_ms().saturating_sub(s.saturating_mul(1000)));
    find(&admin, &name)?;
    // Heard from now on, so that no line is lost between those that are kept and those to come.
    let live = follow.then(|| admin.logs.follow(&name));
    let kept = kept(admin, name, logs::Query { tail, since_ms, call }).await?;
    let kept = stream::iter(kept);
    Ok(match live {
        None => ndjson::respond(kept.map(LogLine::from)),
        Some(live) => {
            let live =
                lines(live).filter(move |line| ready(call.is_none_or(|call| line.call == call)));
            let lines = kept.chain(live).take_until(Box::pin(draining.begins()));
            ndjson::respond(lines.map(LogLine::from))
        }
    })
}

async fn kept(
    admin: Admin,
    name: FunctionName,
    query: logs::Query,
) -> Result<Vec<logs::LogLine>, ApiError> {
    let read = spawn_blocking(move || admin.logs.read(&name, &query)).await;
    read.unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|error| ApiError::internal(format!("the log can't be read: {error}")))
}

fn lines(
    live: broadcast::Receiver<logs::LogLine>,
) -> impl futures_util::Stream<Item = logs::LogLine> {
    stream::unfold(live, |mut live| async {
        loop {
            match live.recv().await {
                Ok(line) => return Some((line, live)),
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return None,
            }
        }
    })
}
