//! `spec.async`: how asynchronous calls wait and are tried again. Its bounds and defaults are
//! [`dhow_core::queue`]'s.

use dhow_core::quantity::print_duration;
use dhow_core::queue::{ATTEMPTS, AsyncPolicy, KEEP_RESULT, MAX_WAIT, MIN_WAIT, RetryPolicy};
use http::StatusCode;
use serde_json::{Value, json};

use crate::fields::{Known, Object};
use crate::problem::FieldError;

const ASYNC: Known = Known { fields: &["queue", "retry", "keepResult"], unsupported: &[] };
const RETRY: Known =
    Known { fields: &["attempts", "minWait", "maxWait", "statuses"], unsupported: &[] };

/// The asynchronous calls of a function; a field that is absent or wrong has its default.
pub(super) fn decode(spec: &Object<'_>, problems: &mut Vec<FieldError>) -> AsyncPolicy {
    let default = AsyncPolicy::default();
    let Some(said) = spec.object("async", &ASYNC, problems) else { return default };
    AsyncPolicy {
        queue: said.parsed("queue", str::parse, problems).unwrap_or(default.queue),
        retry: retry(&said, problems),
        keep_result: said
            .duration("keepResult", KEEP_RESULT, problems)
            .unwrap_or(default.keep_result),
    }
}

pub(super) fn encode(policy: &AsyncPolicy) -> Value {
    let AsyncPolicy { queue, retry, keep_result } = policy;
    let RetryPolicy { attempts, min_wait, max_wait, statuses } = retry;
    json!({
        "queue": queue.as_str(),
        "retry": {
            "attempts": attempts,
            "minWait": print_duration(*min_wait),
            "maxWait": print_duration(*max_wait),
            "statuses": statuses.iter().map(StatusCode::as_u16).collect::<Vec<_>>(),
        },
        "keepResult": print_duration(*keep_result),
    })
}

fn retry(said: &Object<'_>, problems: &mut Vec<FieldError>) -> RetryPolicy {
    let default = RetryPolicy::default();
    let Some(said) = said.object("retry", &RETRY, problems) else { return default };
    let policy = RetryPolicy {
        attempts: said.count("attempts", ATTEMPTS, problems).unwrap_or(default.attempts),
        min_wait: said.duration("minWait", MIN_WAIT, problems).unwrap_or(default.min_wait),
        max_wait: said.duration("maxWait", MAX_WAIT, problems).unwrap_or(default.max_wait),
        statuses: statuses(&said, problems).unwrap_or(default.statuses),
    };
    if policy.min_wait > policy.max_wait {
        let (min, max) = (print_duration(policy.min_wait), print_duration(policy.max_wait));
        let message = format!("is {min}, which is longer than maxWait, {max}");
        problems.push(FieldError::new(said.at("minWait"), message));
    }
    policy
}

fn statuses(said: &Object<'_>, problems: &mut Vec<FieldError>) -> Option<Vec<StatusCode>> {
    said.get("statuses")?;
    let mut statuses = Vec::new();
    for (path, value) in said.list("statuses", problems) {
        // What is below was an answer as it should be.
        let status = value.as_u64().filter(|status| (400..=599).contains(status));
        let status = status.and_then(|status| u16::try_from(status).ok());
        match status.and_then(|status| StatusCode::from_u16(status).ok()) {
            Some(status) => statuses.push(status),
            None => problems.push(FieldError::new(path, "must be a status from 400 to 599")),
        }
    }
    statuses.sort_unstable();
    statuses.dedup();
    Some(statuses)
}
