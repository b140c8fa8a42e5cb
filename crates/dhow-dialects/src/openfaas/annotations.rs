//! Annotations that OpenFaaS gives a meaning, and what of it holds on one machine.

use std::collections::BTreeMap;
use std::time::Duration;

use dhow_core::limits::Bounds;
use dhow_core::quantity::{parse_duration, print_duration};
use dhow_core::queue::{ATTEMPTS, AsyncPolicy, MAX_WAIT, MIN_WAIT};
use http::StatusCode;

use crate::fields::member;
use crate::problem::FieldError;

const QUEUE: &str = "com.openfaas.queue";
const ATTEMPTS_NAME: &str = "com.openfaas.retry.attempts";
const CODES: &str = "com.openfaas.retry.codes";
const MIN_WAIT_NAME: &str = "com.openfaas.retry.min_wait";
const MAX_WAIT_NAME: &str = "com.openfaas.retry.max_wait";
const WITH_EFFECT: [&str; 5] = [QUEUE, ATTEMPTS_NAME, CODES, MIN_WAIT_NAME, MAX_WAIT_NAME];

const NOT_PROBED: &str = "nothing is probed: a function is ready once its code is compiled";
/// Annotations without an effect here, by the beginning of their names, and why; the first that
/// fits says it.
const WITHOUT_EFFECT: [(&str, &str); 5] = [
    ("com.openfaas.profile", "profiles place pods on a cluster, and here is one machine"),
    ("com.openfaas.health.", NOT_PROBED),
    ("com.openfaas.ready.", NOT_PROBED),
    ("com.openfaas.serviceaccount", "there are no service accounts on one machine"),
    ("com.openfaas.", "dhow does not know it"),
];
/// The same, by their whole names.
const OF_CONNECTORS: [&str; 2] = ["topic", "schedule"];

/// Reads how asynchronous calls are run; the annotations' path is `path`.
pub(super) fn asynchronous(
    annotations: &BTreeMap<String, String>,
    path: &str,
    problems: &mut Vec<FieldError>,
) -> AsyncPolicy {
    let mut policy = AsyncPolicy::default();
    let mut keep = |name: &str, result: Option<Result<(), String>>| {
        if let Some(Err(message)) = result {
            problems.push(FieldError::new(member(path, name), message));
        }
    };
    let said = |name: &str| annotations.get(name).map(String::as_str);
    let queue = said(QUEUE).map(|text| {
        policy.queue = text.parse().map_err(|error| format!("{error}"))?;
        Ok(())
    });
    keep(QUEUE, queue);
    let retry = &mut policy.retry;
    let attempts = said(ATTEMPTS_NAME).map(|text| {
        retry.attempts = attempts(text)?;
        Ok(())
    });
    keep(ATTEMPTS_NAME, attempts);
    let statuses = said(CODES).map(|text| {
        retry.statuses = codes(text)?;
        Ok(())
    });
    keep(CODES, statuses);
    let least = said(MIN_WAIT_NAME).map(|text| {
        retry.min_wait = wait(text, MIN_WAIT)?;
        Ok(())
    });
    keep(MIN_WAIT_NAME, least);
    let most = said(MAX_WAIT_NAME).map(|text| {
        retry.max_wait = wait(text, MAX_WAIT)?;
        Ok(())
    });
    keep(MAX_WAIT_NAME, most);
    if retry.min_wait > retry.max_wait {
        let message = format!("is longer than {MAX_WAIT_NAME}");
        keep(MIN_WAIT_NAME, Some(Err(message)));
    }
    policy
}

fn attempts(text: &str) -> Result<u32, String> {
    let attempts = text.parse().ok().filter(|n| (ATTEMPTS.least..=ATTEMPTS.most).contains(n));
    attempts.ok_or_else(|| {
        format!("must be a whole number from {} to {}", ATTEMPTS.least, ATTEMPTS.most)
    })
}

fn wait(text: &str, bounds: Bounds<Duration>) -> Result<Duration, String> {
    let wait = parse_duration(text).map_err(|error| error.to_string())?;
    if (bounds.least..=bounds.most).contains(&wait) {
        return Ok(wait);
    }
    let (least, most) = (print_duration(bounds.least), print_duration(bounds.most));
    Err(format!("is {text}; it must be from {least} to {most}"))
}

fn codes(text: &str) -> Result<Vec<StatusCode>, String> {
    let code = |text: &str| {
        let code = text.trim().parse::<u16>().ok().filter(|code| (400..=599).contains(code));
        code.and_then(|code| StatusCode::from_u16(code).ok())
            .ok_or_else(|| "must be statuses from 400 to 599, with commas between them".to_owned())
    };
    let mut codes = text.split(',').map(code).collect::<Result<Vec<_>, _>>()?;
    codes.sort_unstable();
    codes.dedup();
    Ok(codes)
}

/// What of `annotations` has no effect here, in words.
pub(super) fn notes(annotations: &BTreeMap<String, String>) -> Vec<String> {
    let why = |name: &String| match name.as_str() {
        name if WITH_EFFECT.contains(&name) => None,
        name if OF_CONNECTORS.contains(&name) => Some("no connector runs here that would call it"),
        name => {
            let found = WITHOUT_EFFECT.iter().find(|(begin, _)| name.starts_with(begin));
            found.map(|(_, why)| *why)
        }
    };
    let named = annotations.keys().filter_map(|name| Some((name, why(name)?)));
    named.map(|(name, why)| format!("the annotation {name} has no effect: {why}")).collect()
}
