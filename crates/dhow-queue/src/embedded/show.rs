//! What is kept, for people: shown, tried again, forgotten.

use bytes::Bytes;
use dhow_core::call::CallId;
use dhow_core::queue::{CallCursor, CallFilter, CallPage, CallView, QueueError};
use tokio::sync::oneshot;

use super::disk::Heads;
use super::ledger::Entry;
use super::records::{self, Head};
use super::state::{Place, State};
use super::writer::Ask;
use super::{EmbeddedQueue, ended};

/// Calls that are looked at while the ledger is locked.
const LOOK: usize = 10_000;

impl EmbeddedQueue {
    pub(super) async fn view(&self, call: CallId) -> Result<CallView, QueueError> {
        let number = self.number(call)?;
        let found = self.read(move |disk| disk.heads(&[number])).await?;
        // It may have been forgotten since.
        let (_, heads) = found.into_iter().next().ok_or(QueueError::NotFound(call))?;
        view_of(&heads, self.is_leased(number))
    }

    fn is_leased(&self, number: u64) -> bool {
        self.0.shared.ledger.lock().get(number).is_some_and(Entry::is_leased)
    }

    pub(super) async fn page(
        &self,
        filter: CallFilter,
        after: Option<CallCursor>,
        limit: usize,
    ) -> Result<CallPage, QueueError> {
        let mut before = after.map_or(u64::MAX, |CallCursor(before)| before);
        let mut views = Vec::new();
        loop {
            let wanted = limit - views.len();
            let (numbers, next) = self.0.shared.ledger.lock().page(&filter, before, wanted, LOOK);
            // Those that were forgotten since are left out.
            for (number, heads) in self.read(move |disk| disk.heads(&numbers)).await? {
                views.push(view_of(&heads, self.is_leased(number))?);
            }
            match next {
                Some(next) if views.len() < limit => before = next,
                next => return Ok(CallPage { views, next: next.map(CallCursor) }),
            }
        }
    }

    pub(super) async fn again(&self, call: CallId) -> Result<CallView, QueueError> {
        let number = self.number(call)?;
        let found = self.read(move |disk| disk.heads(&[number])).await?;
        let (_, mut heads) = found.into_iter().next().ok_or(QueueError::NotFound(call))?;
        let state = State::decode(&heads.state).map_err(QueueError::Storage)?;
        let standing =
            self.0.shared.ledger.lock().get(number).map(|entry| (entry.shown(), entry.is_leased()));
        let (shown, is_leased) = standing.ok_or(QueueError::NotFound(call))?;
        let conflict = |wanted| QueueError::Conflict { call, state: shown, wanted };
        if is_leased {
            return Err(conflict("it is being worked at; wait for its end, or cancel it"));
        }
        let state = state
            .again(self.0.shared.clock.now_ms())
            .ok_or_else(|| conflict("there is nothing to be done again"))?;
        heads.state = state.encode().map_err(QueueError::Storage)?;
        heads.answer.take_if(|_| state.place == Place::Run);
        self.set(number, state, None).await?;
        // As it was made: it may have ended by now.
        view_of(&heads, false)
    }

    pub(super) async fn forget_all(&self, filter: CallFilter) -> Result<u64, QueueError> {
        let (mut before, mut forgotten) = (u64::MAX, 0);
        loop {
            let (numbers, next) = self.0.shared.ledger.lock().page(&filter, before, LOOK, LOOK);
            let mut written = Vec::new();
            for number in numbers {
                let is_leased =
                    self.0.shared.ledger.lock().get(number).is_none_or(Entry::is_leased);
                if !is_leased {
                    let (done, waits) = oneshot::channel();
                    self.ask(Ask::Forget { number, done: Some(done) });
                    written.push(waits);
                }
            }
            for written in written {
                written.await.map_err(|_| QueueError::Storage(ended()))?;
                forgotten += 1;
            }
            match next {
                Some(next) => before = next,
                None => return Ok(forgotten),
            }
        }
    }
}

/// A call as others see it.
fn view_of(heads: &Heads, is_leased: bool) -> Result<CallView, QueueError> {
    let head = Head::decode(&heads.head).map_err(QueueError::Storage)?;
    let state = State::decode(&heads.state).map_err(QueueError::Storage)?;
    let answer = heads
        .answer
        .as_deref()
        .map(|answer| records::decode_answer(answer, Bytes::new()).map(|answer| answer.status));
    Ok(CallView {
        call: head.call,
        function: head.function,
        queue: head.queue,
        state: state.shown(is_leased),
        attempts: state.attempts,
        method: head.head.method,
        path: head.head.full_uri.path().to_owned(),
        body: head.length,
        created_ms: head.created_ms,
        due_ms: state.due_ms,
        callback: head.callback.map(|url| {
            let host = url.authority().map_or("", |authority| authority.as_str());
            format!("{}://{host}{}", url.scheme_str().unwrap_or_default(), url.path())
        }),
        note: state.verdict.or(state.note),
        answer: answer.transpose().map_err(QueueError::Storage)?,
    })
}
