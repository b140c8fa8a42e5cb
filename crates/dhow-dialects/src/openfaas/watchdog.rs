//! Variables by which OpenFaaS' watchdogs are set (openfaas/classic-watchdog, openfaas/of-watchdog),
//! where they bound a call. All of them reach the guest, too.

use std::collections::BTreeMap;
use std::time::Duration;

use dhow_core::limits::{CONCURRENCY, TIMEOUT};
use dhow_core::quantity::{parse_duration, print_duration};

use crate::fields::member;
use crate::problem::FieldError;

/// How long a call takes at most: a Go duration, or whole seconds.
const EXEC_TIMEOUT: &str = "exec_timeout";
/// Calls at once in one replica; one more is answered 429.
const MAX_INFLIGHT: &str = "max_inflight";
/// Has the request come as JSON.
const MARSHAL_REQUEST: &str = "marshal_request";

/// How long a call takes at most where nothing is said: what OpenFaaS' gateway waits.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// What a watchdog is told about calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watchdog {
    pub(super) timeout: Duration,
    /// `None` is as many as there are.
    pub(super) max_inflight: Option<u32>,
}

/// Reads the variables in `env`, whose path is `path`.
pub(super) fn read(
    env: &BTreeMap<String, String>,
    path: &str,
    problems: &mut Vec<FieldError>,
) -> Watchdog {
    let mut noted = |name: &str, message: String| {
        problems.push(FieldError::new(member(path, name), message));
    };
    let mut watchdog = Watchdog { timeout: DEFAULT_TIMEOUT, max_inflight: None };
    if let Some(text) = env.get(EXEC_TIMEOUT) {
        match timeout(text) {
            Ok(timeout) => watchdog.timeout = timeout,
            Err(message) => noted(EXEC_TIMEOUT, message),
        }
    }
    if let Some(text) = env.get(MAX_INFLIGHT) {
        match max_inflight(text) {
            Ok(calls) => watchdog.max_inflight = calls,
            Err(message) => noted(MAX_INFLIGHT, message),
        }
    }
    if let Some("true" | "1") = env.get(MARSHAL_REQUEST).map(String::as_str) {
        let message = "requests are not given as JSON: a guest reads the body from standard input \
                       and the head from `Http_*`";
        noted(MARSHAL_REQUEST, message.to_owned());
    }
    watchdog
}

/// `max_inflight` of a function's environment, as far as it says something.
pub(super) fn max_inflight_of<'e>(
    mut env: impl Iterator<Item = (&'e str, &'e str)>,
) -> Option<u32> {
    env.find(|(name, _)| *name == MAX_INFLIGHT).and_then(|(_, text)| max_inflight(text).ok()?)
}

fn timeout(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<u64>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => parse_duration(text),
    };
    let parsed = parsed.map_err(|error| error.to_string())?;
    if (TIMEOUT.least..=TIMEOUT.most).contains(&parsed) {
        return Ok(parsed);
    }
    let (least, most) = (print_duration(TIMEOUT.least), print_duration(TIMEOUT.most));
    Err(format!("is {text}; it must be from {least} to {most}: no call goes on for ever"))
}

fn max_inflight(text: &str) -> Result<Option<u32>, String> {
    match text.parse::<u32>() {
        Ok(0) => Ok(None),
        Ok(calls) if calls <= CONCURRENCY.most => Ok(Some(calls)),
        _ => Err(format!("must be a whole number from 0 to {}", CONCURRENCY.most)),
    }
}
