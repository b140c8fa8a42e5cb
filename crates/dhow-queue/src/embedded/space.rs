//! The space for asynchronous calls: what is on disk counts, and what is on its way there.

use std::sync::Arc;
use std::sync::atomic::Ordering::AcqRel;

use super::Shared;

/// What a call counts for beside its bytes: rows of several tables, the ledger's entry, and the
/// words of its last failure.
pub(super) const CALL_COST: u64 = 2048;
/// What the answer of a call counts for whose answer somebody wants, from the beginning: so much of
/// it, a status and little more, can be kept however full it is.
pub(super) const ANSWER_COST: u64 = 512;

/// A part of the space that is held for something on its way to the disk. It is given back when the
/// value is dropped: what has arrived is in the ledger by then.
pub(super) struct Reserved {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Reserved {
    /// None of it yet.
    pub(super) fn none(shared: &Arc<Shared>) -> Self {
        Self { shared: shared.clone(), bytes: 0 }
    }

    /// Makes it `bytes` in all, unless it has them; whether there is space for that.
    pub(super) fn grow_to(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let Shared { reserved, ledger, config, .. } = &*self.shared;
        let all = reserved.fetch_add(more, AcqRel).saturating_add(more);
        let fits = ledger.lock().bytes().saturating_add(all) <= config.space;
        if fits {
            self.bytes += more;
        } else {
            reserved.fetch_sub(more, AcqRel);
        }
        fits
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.shared.reserved.fetch_sub(self.bytes, AcqRel);
    }
}

/// What a call counts for whose record and body have so many bytes.
pub(super) fn cost_of(record: &[u8], body: u64, wants_answer: bool) -> u64 {
    CALL_COST + if wants_answer { ANSWER_COST } else { 0 } + record.len() as u64 + body
}

/// What an answer of so many bytes counts for on top.
pub(super) fn cost_of_answer(bytes: u64) -> u64 {
    bytes.saturating_sub(ANSWER_COST)
}
