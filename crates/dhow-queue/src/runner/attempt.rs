//! One lease: the work, the extensions while it lasts, and how it is settled.

use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use dhow_core::call::CallId;
use dhow_core::name::FunctionName;
use dhow_core::outcome::Failure;
use dhow_core::plan::retry::{self, Attempt, Next};
use dhow_core::queue::{
    Answer, CallBody, CallHead, Lease, LeaseId, Note, QueueError, RetryPolicy, Settle, Work,
};
use dhow_http::answer::{self, PlatformBody};
use http::header::RETRY_AFTER;
use http::{HeaderMap, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use tokio::time::sleep;

use super::Shared;
use crate::callback::Delivery;

/// Does what the lease is for and settles it. One that is lost meanwhile is let go.
pub(super) async fn attempt(shared: &Shared, lease: Lease) {
    let Lease { id, call, function, lane, attempts, work, lost } = lease;
    let done = async {
        match work {
            Work::Run { head, body, wants_answer } => {
                run(shared, call, &function, attempts, *head, body, wants_answer).await
            }
            Work::CallBack { url, answer } => {
                call_back(shared, call, &function, attempts, &url, *answer).await
            }
        }
    };
    let settle = tokio::select! {
        settle = done => settle,
        () = lost => return,
        () = extend(shared, id) => return,
    };
    let counted = settle.clone();
    match shared.queue.settle(id, settle).await {
        Ok(()) => shared.counts.add(&lane, &counted),
        // Whoever has it now settles it.
        Err(QueueError::LeaseLost) => {}
        Err(error) => tracing::error!(%call, %error, "the end of an asynchronous call is not kept"),
    }
}

/// Returns when the lease is held no more.
async fn extend(shared: &Shared, lease: LeaseId) {
    loop {
        sleep(shared.queue.extend_every()).await;
        if !shared.queue.extend(lease).await {
            return;
        }
    }
}

async fn run(
    shared: &Shared,
    call: CallId,
    function: &FunctionName,
    attempts: u32,
    head: CallHead,
    body: CallBody,
    wants_answer: bool,
) -> Settle {
    let policy = shared.dispatch.retry(function);
    let begun = Instant::now();
    let answered = shared.dispatch.dispatch(call, function, head, body).await;
    let most = if wants_answer { shared.answer } else { 0 };
    let answered = match answered {
        Ok(response) => collect(response, most, begun).await,
        Err(failure) => Err(failure),
    };
    let (answer, failure) = match answered {
        Ok(answer) => (answer, None),
        Err(failure) => (platforms_own(&failure, call, begun), Some(failure)),
    };
    let attempt = Attempt {
        status: answer.status,
        failure: failure.as_ref().map(|failure| failure.reason),
        has_no_instance: failure.as_ref().is_some_and(|failure| failure.has_no_instance),
        retry_after: retry_after(&answer.headers),
    };
    let note = || match &failure {
        Some(failure) => {
            Note::new(failure.reason.as_str(), answer.status.as_u16(), failure.message.as_str())
        }
        None => {
            Note::new("status", answer.status.as_u16(), format!("it answered {}", answer.status))
        }
    };
    match retry::after(&policy, attempts, attempt, fastrand::u32(..)) {
        Next::Again(after) => Settle::Again { after, note: note(), counted: true },
        Next::Deferred(after) => Settle::Again { after, note: note(), counted: false },
        Next::Dead => Settle::Dead(note(), Some(answer).filter(|_| wants_answer)),
        Next::Finished => Settle::Finished(Some(answer).filter(|_| wants_answer)),
    }
}

/// Reads the whole answer, of which at most `most` bytes are kept. A call has run only when its
/// answer has ended, whoever wants it.
async fn collect(
    response: Response<CallBody>,
    most: u64,
    begun: Instant,
) -> Result<Answer, Failure> {
    let (head, mut body) = response.into_parts();
    let (mut kept, mut is_cut) = (BytesMut::new(), false);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        is_cut |= (kept.len() + data.len()) as u64 > most;
        if is_cut {
            kept = BytesMut::new();
        } else {
            kept.extend_from_slice(&data);
        }
    }
    let (status, headers, body) = (head.status, head.headers, kept.freeze());
    Ok(Answer { status, headers, body, is_cut, took: begun.elapsed() })
}

/// What a caller would have been answered.
fn platforms_own(failure: &Failure, call: CallId, begun: Instant) -> Answer {
    let (head, body) = answer::failure::<Full<Bytes>>(failure, Some(call)).into_parts();
    let body = match body {
        PlatformBody::Own(body) => body.unwrap_or_default(),
        PlatformBody::Guest(_) | PlatformBody::Streamed(_) => Bytes::new(),
    };
    let (status, headers) = (head.status, head.headers);
    Answer { status, headers, body, is_cut: false, took: begun.elapsed() }
}

async fn call_back(
    shared: &Shared,
    call: CallId,
    function: &FunctionName,
    attempts: u32,
    url: &Uri,
    answer: Answer,
) -> Settle {
    let (note, asked) = match shared.callbacks.deliver(url, call, function, attempts, answer).await
    {
        Delivery::Delivered => return Settle::Finished(None),
        Delivery::Refused(note) => return Settle::Dead(note, None),
        Delivery::Failed(note, asked) => (note, asked),
    };
    let policy = RetryPolicy::default();
    let made = attempts.saturating_add(1);
    if made >= policy.attempts {
        return Settle::Dead(note, None);
    }
    let after = retry::wait(&policy, made, asked, fastrand::u32(..));
    Settle::Again { after, note, counted: true }
}

/// How long whoever answered wants to be left alone: seconds or a date (RFC 9110 section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    // A date that has passed asks for nothing.
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_by_a_date() {
        let asked =
            |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]));
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let far = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
        assert!(asked(&far).is_some_and(|wait| wait > Duration::from_secs(3000)));
        for wrong in ["-1", "soon", "", "99999999999999999999"] {
            assert_eq!(asked(wrong), None, "{wrong}");
        }
    }
}
