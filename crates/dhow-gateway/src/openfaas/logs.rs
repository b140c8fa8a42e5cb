//! What a function's calls wrote, one JSON object a line.

use std::time::{Duration, UNIX_EPOCH};

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use dhow_core::token::Scope;
use dhow_dialects::openfaas::shown;
use futures_util::StreamExt as _;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::System;
use super::auth::allow;
use super::error::Refused;
use super::function::{find, named};
use crate::admin::credentials::Principal;
use crate::admin::logs::{self, Heard};
use crate::admin::{Draining, ndjson, time};
use crate::logs::Query as Wanted;

/// How far back lines are told of where nothing is said.
const WINDOW: Duration = Duration::from_secs(5 * 60);

#[derive(Deserialize)]
pub(super) struct LogQuery {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    instance: String,
    /// Lines; below 0 is all that there are.
    tail: Option<i64>,
    #[serde(default)]
    follow: String,
    /// RFC 3339.
    #[serde(default)]
    since: String,
}

#[derive(Serialize)]
struct Line {
    name: String,
    namespace: String,
    instance: String,
    timestamp: String,
    text: String,
}

/// The lines that are kept, oldest first; with `follow` then those that come, until the client
/// leaves or the server ends.
pub(super) async fn read(
    State(system): State<System>,
    Extension(principal): Extension<Principal>,
    Extension(draining): Extension<Draining>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Response, Refused> {
    let unfit = |message: String| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, message);
    let Query(query) = query.map_err(|rejection| unfit(rejection.body_text()))?;
    let name = named(&query.name, &query.namespace)?;
    allow(&principal, Scope::Read, &name.namespace)?;
    find(&system, &name)?;
    let since_ms = match query.since.as_str() {
        "" if query.tail.is_none() => {
            Some(time::now_ms().saturating_sub(u64::try_from(WINDOW.as_millis()).unwrap_or(0)))
        }
        "" => None,
        text => Some(
            moment(text)
                .ok_or_else(|| unfit(format!("since is no time: `{}`", text.escape_debug())))?,
        ),
    };
    let tail = query.tail.and_then(|tail| usize::try_from(tail).ok());
    let follow = match query.follow.as_str() {
        "" | "0" | "f" | "false" => false,
        "1" | "t" | "true" => true,
        _ => return Err(unfit("follow is neither true nor false".to_owned())),
    };
    let wanted = Wanted { tail, since_ms, call: None };
    let heard = logs::lines(&system.admin, draining, &name, wanted, follow).await?;
    let (function, namespace) = (name.name.to_string(), shown(&name.namespace).to_owned());
    let only = query.instance;
    let lines = heard.filter_map(move |heard| {
        let (instance, at_ms, text) = match heard {
            Heard::Line(line) => (format!("{function}-{}", line.revision), line.time_ms, line.line),
            Heard::Missed(count) => {
                let text = format!("({count} lines are missing: they were not read in time)");
                (function.clone(), time::now_ms(), text)
            }
        };
        let is_wanted = only.is_empty() || only == instance;
        let (name, namespace) = (function.clone(), namespace.clone());
        let timestamp = time::rfc3339(at_ms);
        let line = is_wanted.then_some(Line { name, namespace, instance, timestamp, text });
        std::future::ready(line)
    });
    Ok(ndjson::respond(lines))
}

/// Milliseconds since 1970 of a moment as RFC 3339 writes it, with any offset.
fn moment(text: &str) -> Option<u64> {
    let (local, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            let (sign, offset) = offset.split_at_checked(1)?;
            let (hours, minutes) = offset.split_once(':')?;
            let seconds = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
            match sign {
                "+" => (local, seconds),
                "-" => (local, -seconds),
                _ => return None,
            }
        }
    };
    let moment = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let local_ms = i64::try_from(moment.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?;
    u64::try_from(local_ms - offset * 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_may_have_an_offset() {
        for (text, milliseconds) in [
            ("1970-01-01T00:00:01Z", Some(1000)),
            ("1970-01-01T01:00:01.5+01:00", Some(1500)),
            ("1970-01-01T19:00:00-05:30", Some(88_200_000)),
            ("1970-01-01T00:00:01+01:00", None),
            ("1970-01-01", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(moment(text), milliseconds, "{text}");
        }
    }
}
