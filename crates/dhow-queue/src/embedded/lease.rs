//! Leases: drawn of the ledger, filled from the disk, ended by a change for the writer.

use std::time::Duration;

use dhow_core::name::FunctionName;
use dhow_core::queue::{Lane, Lease, LeaseId, Note, QueueError, Settle, Work};
use tokio::time::sleep;

use super::disk::Rows;
use super::ledger::Drawn;
use super::records::{self, Head};
use super::state::{Place, Resume, State, millis};
use super::writer::Ask;
use super::{EmbeddedQueue, LEASE, Shared, body};

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
                let ends_ms = now_ms.saturating_add(millis(LEASE));
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
            let wait =
                next_due.map_or(LEASE, |due| Duration::from_millis(due.saturating_sub(now_ms)));
            tokio::select! {
                // The sender lives as long as `self`.
                _ = changes.changed() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Reads what a lease is for. A call that can't be read becomes a dead letter.
    async fn load(&self, drawn: Drawn) -> Option<Lease> {
        let Drawn { number, lease, lane, interruptions, lost } = drawn;
        let read = match self.read(number).await {
            Ok(rows) => self.work(lane.clone(), rows).await,
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok((head, state, work)) => {
                let attempts = state.attempts;
                self.0.shared.ledger.lock().tell(lease, state);
                self.ask(Ask::Lent { number, interruptions: interruptions + 1 });
                let lost = Box::pin(async move {
                    // Nothing is ever sent; the other end is dropped.
                    let _closed = lost.await;
                });
                let (call, function) = (head.call, head.function);
                Some(Lease { id: lease, call, function, lane, attempts, work, lost })
            }
            Err(why) => {
                tracing::error!(number, %why, "a call can't be read");
                let resume = match lane {
                    Lane::Queue(_) => Resume::Run,
                    Lane::Callbacks => Resume::CallBack,
                };
                let now_ms = self.0.shared.clock.now_ms();
                let due_ms = now_ms.saturating_add(millis(self.0.shared.config.dead_letters));
                let note = Some(Note::new("damaged", 0, format!("it can't be read: {why}")));
                let place = Place::Dead(resume);
                // Waits for the disk with the lease held: it is not drawn again meanwhile.
                let buried =
                    self.set(number, State { place, note, due_ms, ..State::new(now_ms) }, None);
                if let Err(error) = buried.await {
                    tracing::error!(number, %error, "a damaged call can't be set aside");
                }
                None
            }
        }
    }

    async fn work(&self, lane: Lane, rows: Rows) -> Result<(Head, State, Work), String> {
        let head = Head::decode(&rows.head)?;
        let state = State::decode(&rows.state)?;
        let work = match lane {
            Lane::Queue(_) => {
                let body = if head.in_file {
                    let path = body::path_of(&self.0.shared.bodies, head.call);
                    let opened = body::of_file(&path, head.length).await;
                    opened.map_err(|error| error.to_string())?
                } else {
                    let row = rows.body.unwrap_or_default();
                    if row.len() as u64 != head.length {
                        return Err("its body has another length".to_owned());
                    }
                    body::of_row(row)
                };
                let wants_answer = head.callback.is_some() || !head.keep_result.is_zero();
                Work::Run { head: Box::new(head.head.clone()), body, wants_answer }
            }
            Lane::Callbacks => {
                let url = head.callback.clone().ok_or("it wants no callback")?;
                let (answer, body) = rows.answer.ok_or("its answer is gone")?;
                Work::CallBack { url, answer: Box::new(records::decode_answer(&answer, body)?) }
            }
        };
        Ok((head, state, work))
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
                let is_wanted = wants.callback || !wants.keep_result.is_zero();
                self.set(number, next, answer.filter(|_| is_run && is_wanted)).await
            }
            None => self.forget(number).await,
        }
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
