//! Leases: drawn of the ledger, filled from the disk, ended by a change for the writer.

use std::io;
use std::time::Duration;

use dhow_core::call::CallId;
use dhow_core::name::FunctionName;
use dhow_core::queue::{Answer, Lane, Lease, LeaseId, Note, QueueError, Settle, Work};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::sleep;

use super::disk::Rows;
use super::ledger::Drawn;
use super::records::{self, Head};
use super::state::{Place, State, millis};
use super::writer::Ask;
use super::{EmbeddedQueue, LEASE, Shared, body};

/// The pause before a call is drawn again that could not be read.
const AGAIN: Duration = Duration::from_secs(2);

/// Why there is no work in a lease.
enum Unread {
    /// It may be read later: it is the system that has refused.
    Now(String),
    /// It never will be.
    Ever {
        why: String,
        /// Where the call stands, if that can be read.
        state: Option<Box<State>>,
    },
}

impl EmbeddedQueue {
    pub(super) async fn next(
        &self,
        room: &(dyn Fn(&Lane, &FunctionName) -> bool + Send + Sync),
    ) -> Lease {
        let shared = &self.0.shared;
        let mut changes = shared.changes.subscribe();
        loop {
            let now_ms = shared.clock.now_ms();
            let (drawn, next_due) = {
                let mut ledger = shared.ledger.lock();
                let ends_ms = shared.clock.passed_ms().saturating_add(millis(LEASE));
                (ledger.draw(now_ms, ends_ms, room), ledger.next_due())
            };
            if let Some(drawn) = drawn {
                let held = GiveBack { shared, lease: Some(drawn.lease) };
                if let Some(lease) = self.load(drawn).await {
                    held.keep();
                    return lease;
                }
                continue;
            }
            // The clock may be set forward meanwhile.
            let wait = next_due
                .map_or(LEASE, |due| Duration::from_millis(due.saturating_sub(now_ms)).min(LEASE));
            tokio::select! {
                // The sender lives as long as `self`.
                _ = changes.changed() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Reads what a lease is for. A call that will never be read is given up; one that can't be
    /// read now is drawn again later.
    async fn load(&self, drawn: Drawn) -> Option<Lease> {
        let shared = &self.0.shared;
        let Drawn { number, lease, lane, interruptions, lost } = drawn;
        match self.open_lease(number, &lane).await {
            Ok((head, state, work)) => {
                let attempts = state.attempts;
                shared.ledger.lock().tell(lease, state);
                self.ask(Ask::Lent { number, interruptions: interruptions + 1 });
                let lost = Box::pin(async move {
                    // Nothing is ever sent; the other end is dropped.
                    let _closed = lost.await;
                });
                let (call, function) = (head.call, head.function);
                Some(Lease { id: lease, call, function, lane, attempts, work, lost })
            }
            Err(Unread::Now(why)) => {
                tracing::error!(number, %why, "a call can't be read now; it is tried again");
                let due_ms = shared.clock.now_ms().saturating_add(millis(AGAIN));
                shared.ledger.lock().put_off(lease, due_ms);
                None
            }
            Err(Unread::Ever { why, state }) => {
                tracing::error!(number, %why, "a call is damaged");
                let place = match lane {
                    Lane::Queue(_) => Place::Run,
                    Lane::Callbacks => Place::CallBack,
                };
                let state = state.map_or_else(|| State { place, ..State::new(0) }, |state| *state);
                shared.ledger.lock().tell(lease, state);
                let note = Note::new("damaged", 0, format!("it can't be read: {why}"));
                // Waits for the disk with the lease held: it is not drawn again meanwhile.
                if let Err(error) = self.end(lease, Settle::Dead(note, None)).await {
                    tracing::error!(number, %error, "a damaged call can't be set aside");
                }
                None
            }
        }
    }

    async fn open_lease(&self, number: u64, lane: &Lane) -> Result<(Head, State, Work), Unread> {
        let rows = self.rows(number).await.map_err(|error| Unread::Now(error.to_string()))?;
        let rows = rows.ok_or_else(|| Unread::ever("it is not in the file", None))?;
        let state = State::decode(&rows.state).map_err(|why| Unread::ever(why, None))?;
        match self.work(lane, rows, &state).await {
            Ok((head, work)) => Ok((head, state, work)),
            Err(Unread::Ever { why, .. }) => Err(Unread::ever(why, Some(state))),
            Err(now) => Err(now),
        }
    }

    async fn work(&self, lane: &Lane, rows: Rows, state: &State) -> Result<(Head, Work), Unread> {
        let ever = |why: String| Unread::ever(why, None);
        let head = Head::decode(&rows.head).map_err(ever)?;
        let work = match lane {
            Lane::Queue(_) => {
                let body = if head.in_file {
                    let path = body::path_of(&self.0.shared.bodies, head.call);
                    body::of_file(&path, head.length).await.map_err(Unread::of_file)?
                } else {
                    let row = rows.body.unwrap_or_default();
                    if row.len() as u64 != head.length {
                        return Err(Unread::ever("its body has another length", None));
                    }
                    body::of_row(row)
                };
                let wants_answer = head.wants().answer();
                Work::Run { head: Box::new(head.head.clone()), body, wants_answer }
            }
            Lane::Callbacks => {
                let url = head.callback.clone();
                let url = url.ok_or_else(|| Unread::ever("it wants no callback", None))?;
                let answer = match (rows.answer, &state.verdict) {
                    (Some((answer, body)), _) => {
                        records::decode_answer(&answer, body).map_err(ever)?
                    }
                    (None, Some(verdict)) => verdict_as_answer(head.call, verdict),
                    (None, None) => return Err(Unread::ever("its answer is gone", None)),
                };
                Work::CallBack { url, answer: Box::new(answer) }
            }
        };
        Ok((head, work))
    }

    pub(super) async fn end(&self, lease: LeaseId, settle: Settle) -> Result<(), QueueError> {
        let shared = &self.0.shared;
        let settling = shared.ledger.lock().settling(lease);
        let (number, state, wants) = settling.ok_or(QueueError::LeaseLost)?;
        let is_run = state.place == Place::Run;
        match state.after(&settle, wants, shared.ages(), shared.clock.now_ms()) {
            Some(next) => {
                let answer = match settle {
                    Settle::Finished(answer) | Settle::Dead(_, answer) => answer,
                    Settle::Again { .. } | Settle::Release => None,
                };
                self.set(number, next, answer.filter(|_| is_run && wants.answer())).await
            }
            None => self.forget(number).await,
        }
    }
}

impl Unread {
    fn ever(why: impl Into<String>, state: Option<State>) -> Self {
        Self::Ever { why: why.into(), state: state.map(Box::new) }
    }

    /// Of a body's file: one that is not there or has another length stays so.
    fn of_file(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData => {
                Self::ever(error.to_string(), None)
            }
            _ => Self::Now(format!("its body: {error}")),
        }
    }
}

/// What a callback is told of a call that was given up without an answer.
fn verdict_as_answer(call: CallId, verdict: &Note) -> Answer {
    let status = StatusCode::from_u16(verdict.status).ok();
    let status = status.filter(|status| status.is_client_error() || status.is_server_error());
    let body = serde_json::json!({
        "error": verdict.message,
        "reason": verdict.reason,
        "hint": "`dhow calls show` tells more of it, and `dhow calls retry` runs it again",
        "call_id": call.to_string(),
    });
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(reason) = HeaderValue::try_from(&verdict.reason) {
        headers.insert(HeaderName::from_static("x-dhow-reason"), reason);
    }
    Answer {
        status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        headers,
        body: body.to_string().into(),
        is_cut: false,
        took: Duration::ZERO,
    }
}

/// Gives back a lease that nobody got to see.
struct GiveBack<'a> {
    shared: &'a Shared,
    lease: Option<LeaseId>,
}

impl GiveBack<'_> {
    fn keep(mut self) {
        self.lease = None;
    }
}

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease {
            self.shared.ledger.lock().give_back(lease);
            self.shared.changed();
        }
    }
}
