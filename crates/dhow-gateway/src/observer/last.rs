//! The last outcomes of one function.

use std::collections::VecDeque;

use dhow_core::call::CallId;
use dhow_core::outcome::Outcome;

/// Outcomes that are kept of each function.
pub(super) const KEPT: usize = 256;
/// Of those that failed, and of those that were cold, so many are kept for longer: what happens
/// rarely is what somebody comes to look for. Each takes some 200 bytes, and the message of a
/// failure at most 1 KiB more.
pub(super) const KEPT_RARE: usize = 32;

/// The last outcomes, oldest first, each with the milliseconds since 1970 of its end.
#[derive(Default)]
pub(super) struct Last<const MOST: usize>(VecDeque<(Outcome, u64)>);

impl<const MOST: usize> Last<MOST> {
    pub(super) fn push(&mut self, outcome: Outcome, ended_ms: u64) {
        if self.0.len() == MOST {
            self.0.pop_front();
        } else if self.0.len() == self.0.capacity() {
            // From one place on: thousands of functions are called once and never again.
            self.0.reserve_exact(self.0.len().max(1));
        }
        self.0.push_back((outcome, ended_ms));
    }

    /// Newest first.
    pub(super) fn newest(&self, limit: usize, call: Option<CallId>) -> Vec<(Outcome, u64)> {
        let wanted = |(outcome, _): &&(Outcome, u64)| call.is_none_or(|call| outcome.call == call);
        self.0.iter().rev().filter(wanted).take(limit).cloned().collect()
    }

    /// The most memory that one of them held, bytes.
    pub(super) fn peak_memory(&self) -> u64 {
        self.0.iter().map(|(outcome, _)| outcome.peak_memory).max().unwrap_or_default()
    }
}

/// Which outcomes are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Which {
    /// The last ones.
    #[default]
    All,
    /// The last that the platform ended, or that the guest answered with a status of 5xx.
    Failed,
    /// The last for which code had to be loaded.
    Cold,
}
