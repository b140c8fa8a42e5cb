//! The start: the ledger of what is on disk, and what of it is no call's.

use std::path::Path;

use dhow_core::call::CallId;
use dhow_core::queue::{MAX_WAIT, Note, Settle};

use super::disk::{Read, Row, StoredCall};
use super::ledger::{Entry, KeyHash, KeyUse, Ledger};
use super::records::Head;
use super::space::{cost_of, cost_of_answer};
use super::state::{Ages, State, millis};
use super::{Config, body};

/// How many times a process may end while it runs a call, until the call is given up.
pub(super) const INTERRUPTIONS: u32 = 20;

/// Makes the ledger of what is on disk.
pub(super) struct Recovery {
    pub(super) ledger: Ledger,
    /// What is to be written of calls that are given up now.
    pub(super) given_up: Vec<Row>,
    /// The number of the next call.
    pub(super) next_number: u64,
    ages: Ages,
    now_ms: u64,
}

impl Recovery {
    pub(super) fn new(config: &Config, now_ms: u64) -> Self {
        let ages = Ages { waiting: config.waiting, dead: config.dead_letters };
        let (ledger, given_up) = (Ledger::default(), vec![]);
        Self { ledger, given_up, next_number: 0, ages, now_ms }
    }
}

impl Read for Recovery {
    fn call(&mut self, stored: StoredCall<'_>) -> Result<(), String> {
        let StoredCall { number, answer, mut interruptions, .. } = stored;
        let head = Head::decode(stored.head)?;
        let mut state = State::decode(stored.state)?;
        let wants = head.wants();
        let cost = cost_of(stored.head, head.length, wants.answer());
        if state.is_open() && interruptions >= INTERRUPTIONS {
            let message = format!("the server ended {interruptions} times while it ran");
            let settle = Settle::Dead(Note::new("interrupted", 0, message), None);
            if let Some(next) = state.after(&settle, wants, self.ages, self.now_ms) {
                (state, interruptions) = (next, 0);
            }
            let (state, answer, forgets_answer) = (state.encode()?, None, false);
            self.given_up.push(Row::Set { number, state, answer, forgets_answer });
        }
        if state.is_open() {
            // No wait is longer. One that looks so was begun by a clock that was wrong, or this one
            // is.
            state.due_ms = state.due_ms.min(self.now_ms.saturating_add(millis(MAX_WAIT.most)));
        }
        let (call, function, queue) = (head.call, head.function, head.queue);
        let mut entry = Entry::new(call, function, queue, wants, &state, cost, head.in_file);
        entry.interruptions = interruptions;
        entry.answer = answer.map_or(0, cost_of_answer);
        self.ledger.insert(number, entry);
        self.next_number = number + 1;
        Ok(())
    }

    fn key(&mut self, hash: KeyHash, used: KeyUse) {
        self.ledger.insert_key(hash, used);
    }
}

/// Says of each call whether it reads as one, and keeps nothing.
pub(super) struct Check;

impl Read for Check {
    fn call(&mut self, stored: StoredCall<'_>) -> Result<(), String> {
        Head::decode(stored.head)?;
        State::decode(stored.state)?;
        Ok(())
    }

    fn key(&mut self, _: KeyHash, _: KeyUse) {}
}

/// Removes bodies that belong to no call: of calls that were never acknowledged, or that ended.
pub(super) fn remove_strays(
    folder: &Path,
    belongs: impl Fn(CallId) -> bool,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let call = entry.file_name().to_str().and_then(CallId::parse);
        if !call.is_some_and(&belongs) {
            body::remove(&entry.path());
        }
    }
    Ok(())
}
