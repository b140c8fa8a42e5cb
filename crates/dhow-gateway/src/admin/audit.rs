//! What the API tells the audit log, and how that is read.
//!
//! Kept are all requests that may change something, and the backup; of the others, those that were
//! refused for who asked. Of these a stranger may send as many as they like, so they are kept within a rate:
//! they must not push the rest out of the log.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::extract::rejection::QueryRejection;
use axum::extract::{MatchedPath, Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::credentials::{self, Principal};
use super::error::{ApiError, Reason};
use super::wire::AuditRecord;
use super::{Admin, about, ndjson, time};
use crate::audit::{Audit, Record, Who};
use crate::openfaas::door::SYSTEM;

/// Records that are told where nobody says how many.
const DEFAULT_TAIL: usize = 100;
/// The most that are told.
const MOST_TAIL: usize = 10_000;
/// What is done by way of OpenFaaS' API; the object is its path, the detail what was named.
const OPENFAAS: &str = "openfaas";
/// What reads everything.
const BACKUP: &str = "backup";
/// Refused requests that are kept of each [`WINDOW`].
const REFUSED: u64 = 60;
const WINDOW: Duration = Duration::from_secs(60);

/// Who is at the other end of the connection. Every request has it as an extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What came of a request, for its record: handlers set it as an extension of their answer.
#[derive(Debug, Clone)]
pub(crate) struct Detail(pub(crate) String);

/// Keeps records.
#[derive(Clone)]
pub(crate) struct Auditor {
    audit: Audit,
    refused: Arc<Mutex<Refused>>,
}

/// How many refused requests were kept lately.
struct Refused {
    since: Instant,
    kept: u64,
    passed: u64,
}

impl Auditor {
    pub(crate) fn new(audit: Audit) -> Self {
        let refused = Refused { since: Instant::now(), kept: 0, passed: 0 };
        Self { audit, refused: Arc::new(Mutex::new(refused)) }
    }
}

/// Has a request answered, and keeps the record of it before the answer goes out.
pub(crate) async fn watch(
    State(auditor): State<Auditor>,
    request: Request,
    next: Next,
) -> Response {
    let asked = Asked::of(&request);
    if !asked.changes {
        let response = next.run(request).await;
        if is_refusal(response.status()) {
            auditor.keep(auditor.record(asked, &response)).await;
        }
        return response;
    }
    // In a task of its own: a client that goes away takes neither the change nor its record along.
    let done = tokio::spawn(async move {
        let response = next.run(request).await;
        auditor.keep(auditor.record(asked, &response)).await;
        response
    });
    done.await.unwrap_or_else(|error| ApiError::internal(error).into_response())
}

impl Auditor {
    async fn keep(&self, record: Option<Record>) {
        if let Some(record) = record {
            self.audit.keep(record).await;
        }
    }

    /// `None`: one of too many.
    fn record(&self, asked: Asked, response: &Response) -> Option<Record> {
        let status = response.status();
        let unrecorded = match is_refusal(status) {
            true => self.refused.lock().admit(Instant::now())?,
            false => 0,
        };
        let reason = response.extensions().get::<Reason>().map(|Reason(reason)| *reason);
        let detail = response.extensions().get::<Detail>().map(|Detail(detail)| detail.clone());
        let principal = response.extensions().get::<Principal>();
        let is_here = asked.peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        let who = match principal.map(|principal| &principal.who) {
            None => Who::Unknown,
            Some(credentials::Who::Admin) => Who::Admin,
            Some(credentials::Who::Token(name)) => Who::Token(name.to_string()),
            Some(credentials::Who::Unasked) if is_here => Who::Loopback,
            Some(credentials::Who::Unasked) => Who::Anybody,
        };
        Some(Record {
            time_ms: time::now_ms(),
            who,
            peer: asked.peer.map(|peer| peer.ip()),
            action: asked.action,
            object: asked.object,
            detail,
            status: status.as_u16(),
            reason: reason.map(str::to_owned),
            unrecorded,
        })
    }
}

impl Refused {
    /// Whether one more is kept; if so, how many were not since the last one.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.since) >= WINDOW {
            (self.since, self.kept) = (now, 0);
        }
        if self.kept == REFUSED {
            self.passed += 1;
            return None;
        }
        self.kept += 1;
        Some(std::mem::take(&mut self.passed))
    }
}

/// Refused for who asked, or for how often.
fn is_refusal(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
    )
}

/// What of a request goes into its record.
struct Asked {
    changes: bool,
    action: String,
    object: String,
    peer: Option<SocketAddr>,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let known = matched.and_then(|path| match path.starts_with(SYSTEM) {
            true => Some(OPENFAAS),
            false => operation(request.method(), path),
        });
        // What the API does not have is a stranger's text: it is not kept.
        let (action, object) = match known {
            Some(action) => (action, request.uri().path().trim_start_matches("/api/v1/")),
            None => ("-", ""),
        };
        Self {
            // Whoever has a copy of everything has everything.
            changes: !matches!(*request.method(), Method::GET | Method::HEAD) || action == BACKUP,
            action: action.to_owned(),
            object: object.to_owned(),
            peer: request.extensions().get::<Peer>().map(|Peer(peer)| *peer),
        }
    }
}

/// The `operationId` of a method of a path, of the API's own description.
fn operation(method: &Method, path: &str) -> Option<&'static str> {
    static OPERATIONS: LazyLock<HashMap<(String, String), String>> = LazyLock::new(|| {
        let paths = about::described()["paths"].as_object().into_iter().flatten();
        let operations = paths.flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            methods.filter_map(move |(method, operation)| {
                let id = operation.get("operationId")?.as_str()?;
                Some(((method.to_ascii_uppercase(), path.clone()), id.to_owned()))
            })
        });
        operations.collect()
    });
    let key = (method.as_str().to_owned(), path.to_owned());
    OPERATIONS.get(&key).map(String::as_str)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    tail: Option<usize>,
    /// Seconds.
    since: Option<u64>,
}

/// The newest records, oldest first.
pub(super) async fn read(
    State(admin): State<Admin>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(AuditQuery { tail, since }) = query?;
    let most = tail.unwrap_or(DEFAULT_TAIL);
    if most > MOST_TAIL {
        return Err(ApiError::parameter("tail", format!("is over {MOST_TAIL}")));
    }
    let since_ms = since.map(|s| time::now_ms().saturating_sub(s.saturating_mul(1000)));
    let read = spawn_blocking(move || admin.audit.read(most, since_ms)).await;
    let records = read
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|error| ApiError::internal(format!("the audit log can't be read: {error}")))?;
    Ok(ndjson::respond(stream::iter(records.into_iter().map(AuditRecord::from))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refused_requests_is_counted_and_not_kept() {
        let began = Instant::now();
        let mut refused = Refused { since: began, kept: 0, passed: 0 };
        let kept = (0..1000).filter_map(|_| refused.admit(began)).count();
        assert_eq!(kept as u64, REFUSED);
        assert_eq!(refused.admit(began + WINDOW), Some(1000 - REFUSED));
        assert_eq!(refused.admit(began + WINDOW), Some(0));
    }

    #[test]
    fn actions_are_named_as_the_description_has_them() {
        let path = "/api/v1/namespaces/{namespace}/functions/{name}";
        assert_eq!(operation(&Method::PUT, path), Some("deployFunction"));
        assert_eq!(operation(&Method::PATCH, path), None);
        assert_eq!(operation(&Method::PUT, "/elsewhere"), None);
    }
}
