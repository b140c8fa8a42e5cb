//! What is kept, for people: shown, tried again, forgotten.

use dhow_core::call::CallId;
use dhow_core::queue::{CallFilter, CallView, QueueError};
use tokio::sync::oneshot;

use super::ledger::Entry;
use super::records::{self, Head};
use super::state::State;
use super::writer::Ask;
use super::{EmbeddedQueue, ended};

/// Calls that are looked at while the ledger is locked.
const LOOK: usize = 10_000;

impl EmbeddedQueue {
    pub(super) async fn view(&self, call: CallId) -> Result<CallView, QueueError> {
        let number = self.number(call)?;
        // It may have been forgotten since.
        let rows = self.read(number).await.map_err(|error| match self.number(call) {
            Ok(_) => error,
            Err(gone) => gone,
        })?;
        let head = Head::decode(&rows.head).map_err(QueueError::Storage)?;
        let state = State::decode(&rows.state).map_err(QueueError::Storage)?;
        let is_leased = self.0.shared.ledger.lock().get(number).is_some_and(Entry::is_leased);
        let answer = match rows.answer {
            Some((answer, body)) => {
                Some(records::decode_answer(&answer, body).map_err(QueueError::Storage)?.status)
            }
            None => None,
        };
        Ok(CallView {
            call,
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
            answer,
        })
    }

    pub(super) async fn views(
        &self,
        filter: CallFilter,
        after: Option<CallId>,
        limit: usize,
    ) -> Result<Vec<CallView>, QueueError> {
        let mut before = after.map_or(Ok(u64::MAX), |call| self.number(call))?;
        let mut views = Vec::new();
        loop {
            let wanted = limit - views.len();
            let (numbers, next) = self.0.shared.ledger.lock().page(&filter, before, wanted, LOOK);
            for number in numbers {
                let call = self.0.shared.ledger.lock().get(number).map(|entry| entry.call);
                let Some(call) = call else { continue };
                match self.view(call).await {
                    Ok(view) => views.push(view),
                    Err(QueueError::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            match next {
                Some(next) if views.len() < limit => before = next,
                _ => return Ok(views),
            }
        }
    }

    pub(super) async fn again(&self, call: CallId) -> Result<CallView, QueueError> {
        let number = self.number(call)?;
        let rows = self.read(number).await?;
        let state = State::decode(&rows.state).map_err(QueueError::Storage)?;
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
        self.set(number, state, None).await?;
        self.view(call).await
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
