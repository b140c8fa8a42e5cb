//! The start: the ledger of what is on disk, and what of it is no call's.

use std::path::Path;

use dhow_core::call::CallId;
use dhow_core::queue::Note;

use super::disk::{Contents, Row};
use super::ledger::{Entry, Ledger};
use super::records::Head;
use super::state::{Place, Resume, State, millis};
use super::{Config, body, cost_of};

/// How many times a process may end while it runs a call, until the call is given up.
pub(super) const INTERRUPTIONS: u32 = 20;

/// The ledger of what is on disk, and what is to be written of calls that are given up now.
pub(super) fn recover(
    contents: Contents,
    config: &Config,
    now_ms: u64,
) -> Result<(Ledger, Vec<Row>), String> {
    let (mut ledger, mut given_up) = (Ledger::default(), Vec::new());
    for stored in contents.calls {
        let named = |error: String| format!("call {}: {error}", stored.number);
        let head = Head::decode(&stored.head).map_err(named)?;
        let mut state = State::decode(&stored.state).map_err(named)?;
        let cost = cost_of(&stored.head, head.length);
        if state.is_open() && stored.interruptions >= INTERRUPTIONS {
            let resume = if state.place == Place::Run { Resume::Run } else { Resume::CallBack };
            let message = format!("the server ended {} times while it ran", stored.interruptions);
            state.place = Place::Dead(resume);
            state.due_ms = now_ms.saturating_add(millis(config.dead_letters));
            state.note = Some(Note::new("interrupted", 0, message));
            let bytes = state.encode().map_err(named)?;
            given_up.push(Row::Set { number: stored.number, state: bytes, answer: None });
        }
        let wants = head.wants();
        let (call, function, queue) = (head.call, head.function, head.queue);
        let mut entry = Entry::new(call, function, queue, wants, &state, cost, head.in_file);
        entry.interruptions = stored.interruptions;
        entry.answer = stored.answer;
        ledger.insert(stored.number, entry);
    }
    for (hash, used) in contents.keys {
        ledger.insert_key(hash, used);
    }
    Ok((ledger, given_up))
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
