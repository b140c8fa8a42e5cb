//! What the queue knows in memory: of each call where it stands, who has it and when it is due.
//! It holds no bodies, no headers and no words: some 200 bytes a call.
//!
//! Pure but for the one signal that a lease is lost. What is on disk is changed first; the ledger
//! follows. Times are milliseconds since 1970.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dhow_core::call::CallId;
use dhow_core::name::{FunctionName, Label};
use dhow_core::queue::{CallFilter, CallState, Lane, LeaseId};
use tokio::sync::oneshot;

use super::lane::LaneQueue;
use super::state::{Place, State, Wants};

/// Bytes that a key counts for: its hash twice, and what it stands for.
pub(super) const KEY_COST: u64 = 256;

/// The SHA-256 of a function's name and a client's key.
pub(super) type KeyHash = [u8; 32];

/// A key that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyUse {
    pub(super) call: CallId,
    pub(super) expires_ms: u64,
    /// The SHA-256 of the request that it was used for.
    pub(super) request: [u8; 32],
}

/// One call.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) call: CallId,
    pub(super) function: FunctionName,
    pub(super) queue: Label,
    pub(super) wants: Wants,
    pub(super) place: Place,
    pub(super) due_ms: u64,
    /// Leases that ended with the process that held them.
    pub(super) interruptions: u32,
    /// Bytes that it counts for, without its answer.
    pub(super) cost: u64,
    /// Bytes that its answer counts for.
    pub(super) answer: u64,
    pub(super) in_file: bool,
    lease: Option<Held>,
}

#[derive(Debug)]
struct Held {
    id: LeaseId,
    ends_ms: u64,
    /// As it was when the lease was drawn, once that has been read.
    state: Option<State>,
    /// Its end is on its way to the disk: it can be neither lost nor settled again.
    settling: bool,
    /// Dropped when the lease is lost.
    _holder: oneshot::Sender<()>,
}

/// A lease that was just drawn.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) number: u64,
    pub(super) lease: LeaseId,
    pub(super) lane: Lane,
    pub(super) interruptions: u32,
    pub(super) lost: oneshot::Receiver<()>,
}

/// Everything that is kept.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<u64, Entry>,
    numbers: HashMap<CallId, u64>,
    lanes: BTreeMap<Lane, LaneQueue>,
    /// The lane that was drawn from last.
    turn: Option<Lane>,
    leases: BTreeMap<LeaseId, u64>,
    next_lease: u64,
    /// What is done or dead, by when it is forgotten.
    ends: BTreeSet<(u64, u64)>,
    keys: HashMap<KeyHash, KeyUse>,
    key_ends: BTreeSet<(u64, KeyHash)>,
    depths: BTreeMap<(Label, CallState), u64>,
    bytes: u64,
}

impl Entry {
    pub(super) fn new(
        call: CallId,
        function: FunctionName,
        queue: Label,
        wants: Wants,
        state: &State,
        cost: u64,
        in_file: bool,
    ) -> Self {
        let (place, due_ms) = (state.place, state.due_ms);
        let (interruptions, answer, lease) = (0, 0, None);
        Self {
            call,
            function,
            queue,
            wants,
            place,
            due_ms,
            interruptions,
            cost,
            answer,
            in_file,
            lease,
        }
    }

    /// What others see.
    pub(super) fn shown(&self) -> CallState {
        let state = State { place: self.place, ..State::new(self.due_ms) };
        state.shown(self.lease.is_some())
    }

    /// Whether somebody works at it.
    pub(super) fn is_leased(&self) -> bool {
        self.lease.is_some()
    }

    fn lane(&self) -> Option<Lane> {
        match self.place {
            Place::Run => Some(Lane::Queue(self.queue.clone())),
            Place::CallBack => Some(Lane::Callbacks),
            Place::Done | Place::Dead(_) => None,
        }
    }
}

impl Ledger {
    /// Adds a call.
    pub(super) fn insert(&mut self, number: u64, entry: Entry) {
        self.numbers.insert(entry.call, number);
        self.bytes += entry.cost + entry.answer;
        self.count(&entry, 1);
        self.index(number, &entry);
        self.entries.insert(number, entry);
    }

    /// A call now stands elsewhere, and whoever had it has it no more. `answer` is what a new answer
    /// counts for, in place of an earlier one.
    pub(super) fn change(&mut self, number: u64, state: &State, answer: Option<u64>) {
        let Some(mut entry) = self.take(number) else { return };
        entry.lease = None;
        (entry.place, entry.due_ms, entry.interruptions) = (state.place, state.due_ms, 0);
        entry.answer = answer.unwrap_or(entry.answer);
        self.insert(number, entry);
    }

    /// Forgets a call.
    pub(super) fn forget(&mut self, number: u64) -> Option<Entry> {
        self.take(number)
    }

    /// One call.
    pub(super) fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(&number)
    }

    /// The number of a call.
    pub(super) fn number(&self, call: CallId) -> Option<u64> {
        self.numbers.get(&call).copied()
    }

    /// Calls that `filter` takes, newest first, of those before `before`: at most `limit`, and of
    /// at most `look` that are looked at. Also what to say as `before` to go on, unless there is
    /// nothing more.
    pub(super) fn page(
        &self,
        filter: &CallFilter,
        before: u64,
        limit: usize,
        look: usize,
    ) -> (Vec<u64>, Option<u64>) {
        let mut found = Vec::new();
        for (looked, (number, entry)) in self.entries.range(..before).rev().enumerate() {
            if looked == look || found.len() == limit {
                return (found, Some(*number + 1));
            }
            if filter.takes(&entry.function, entry.shown()) {
                found.push(*number);
            }
        }
        (found, None)
    }

    /// Draws what is due of the lanes in turn, until `ends_ms`, which is of the time that leases are
    /// counted by.
    pub(super) fn draw(
        &mut self,
        now_ms: u64,
        ends_ms: u64,
        room: impl Fn(&Lane, &FunctionName) -> bool,
    ) -> Option<Drawn> {
        let after = |lane: &&Lane| self.turn.as_ref().is_some_and(|last| *lane > last);
        let mut turns: Vec<Lane> = self.lanes.keys().filter(after).cloned().collect();
        turns.extend(self.lanes.keys().filter(|lane| !after(lane)).cloned());
        for lane in turns {
            let Some(queue) = self.lanes.get_mut(&lane) else { continue };
            let Some(number) = queue.draw(now_ms, |function| room(&lane, function)) else {
                continue;
            };
            if queue.is_empty() {
                self.lanes.remove(&lane);
            }
            self.turn = Some(lane.clone());
            return self.lend(number, lane, ends_ms);
        }
        None
    }

    /// What the call was when the lease was drawn; to be told before it is settled.
    pub(super) fn tell(&mut self, lease: LeaseId, state: State) {
        if let Some(held) = self.held(lease) {
            held.state = Some(state);
        }
    }

    /// Takes a lease's end for good: it can't be lost any more.
    pub(super) fn settling(&mut self, lease: LeaseId) -> Option<(u64, State, Wants)> {
        let number = *self.leases.get(&lease)?;
        let entry = self.entries.get_mut(&number)?;
        let held = entry.lease.as_mut().filter(|held| !held.settling)?;
        let state = held.state.take()?;
        held.settling = true;
        Some((number, state, entry.wants))
    }

    /// Gives back a lease as if it had not been drawn.
    pub(super) fn give_back(&mut self, lease: LeaseId) {
        let Some(number) = self.leases.get(&lease).copied() else { return };
        if let Some(mut entry) = self.take(number) {
            entry.lease = None;
            self.insert(number, entry);
        }
    }

    /// Gives back a lease as if it had not been drawn, for a while.
    pub(super) fn put_off(&mut self, lease: LeaseId, due_ms: u64) {
        let Some(number) = self.leases.get(&lease).copied() else { return };
        if let Some(mut entry) = self.take(number) {
            (entry.lease, entry.due_ms) = (None, due_ms);
            self.insert(number, entry);
        }
    }

    /// Puts off the end of a lease. False: it is not held.
    pub(super) fn extend(&mut self, lease: LeaseId, ends_ms: u64) -> bool {
        self.held(lease).map(|held| held.ends_ms = ends_ms).is_some()
    }

    /// Leases that ran out by now.
    pub(super) fn overdue(&self, now_ms: u64) -> Vec<LeaseId> {
        let held =
            self.leases.values().filter_map(|number| self.entries.get(number)?.lease.as_ref());
        held.filter(|held| held.ends_ms <= now_ms && !held.settling).map(|held| held.id).collect()
    }

    /// Calls that are to be forgotten, at most `most`.
    pub(super) fn ended(&self, now_ms: u64, most: usize) -> Vec<u64> {
        let ended = self.ends.iter().take_while(|(due_ms, _)| *due_ms <= now_ms);
        ended.take(most).map(|(_, number)| *number).collect()
    }

    /// Keys that are to be forgotten, at most `most`.
    pub(super) fn ended_keys(&self, now_ms: u64, most: usize) -> Vec<KeyHash> {
        let ended = self.key_ends.iter().take_while(|(expires_ms, _)| *expires_ms <= now_ms);
        ended.take(most).map(|(_, hash)| *hash).collect()
    }

    /// When work becomes due that is not due yet.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.lanes.values().filter_map(LaneQueue::next_due).min()
    }

    /// Adds a key, in place of one with the same hash.
    pub(super) fn insert_key(&mut self, hash: KeyHash, used: KeyUse) {
        self.forget_key(&hash);
        self.keys.insert(hash, used);
        self.key_ends.insert((used.expires_ms, hash));
        self.bytes += KEY_COST;
    }

    /// Forgets a key.
    pub(super) fn forget_key(&mut self, hash: &KeyHash) {
        if let Some(used) = self.keys.remove(hash) {
            self.key_ends.remove(&(used.expires_ms, *hash));
            self.bytes -= KEY_COST;
        }
    }

    /// What a key was used for, if that still counts.
    pub(super) fn key(&self, hash: &KeyHash, now_ms: u64) -> Option<KeyUse> {
        self.keys.get(hash).copied().filter(|used| used.expires_ms > now_ms)
    }

    /// Bytes that everything counts for.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Calls by queue and state.
    pub(super) fn depths(&self) -> Vec<(Label, CallState, u64)> {
        let depth =
            |((queue, state), count): (&(Label, CallState), &u64)| (queue.clone(), *state, *count);
        self.depths.iter().map(depth).collect()
    }

    fn lend(&mut self, number: u64, lane: Lane, ends_ms: u64) -> Option<Drawn> {
        // It was in a lane, so it is in neither `ends` nor, any more, in that lane.
        let mut entry = self.entries.remove(&number)?;
        self.count(&entry, -1);
        self.next_lease += 1;
        let lease = LeaseId(self.next_lease);
        let (holder, lost) = oneshot::channel();
        let (state, settling) = (None, false);
        entry.lease = Some(Held { id: lease, ends_ms, state, settling, _holder: holder });
        let interruptions = entry.interruptions;
        self.leases.insert(lease, number);
        self.count(&entry, 1);
        self.entries.insert(number, entry);
        Some(Drawn { number, lease, lane, interruptions, lost })
    }

    fn held(&mut self, lease: LeaseId) -> Option<&mut Held> {
        let number = self.leases.get(&lease)?;
        self.entries.get_mut(number)?.lease.as_mut()
    }

    /// Takes a call out of everything.
    fn take(&mut self, number: u64) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        self.numbers.remove(&entry.call);
        self.bytes -= entry.cost + entry.answer;
        self.count(&entry, -1);
        match (&entry.lease, entry.lane()) {
            (Some(held), _) => drop(self.leases.remove(&held.id)),
            (None, None) => drop(self.ends.remove(&(entry.due_ms, number))),
            (None, Some(lane)) => {
                if let Some(queue) = self.lanes.get_mut(&lane) {
                    queue.remove(&entry.function, number, entry.due_ms);
                    if queue.is_empty() {
                        self.lanes.remove(&lane);
                    }
                }
            }
        }
        Some(entry)
    }

    fn index(&mut self, number: u64, entry: &Entry) {
        match (&entry.lease, entry.lane()) {
            (Some(held), _) => drop(self.leases.insert(held.id, number)),
            (None, None) => drop(self.ends.insert((entry.due_ms, number))),
            (None, Some(lane)) => {
                self.lanes.entry(lane).or_default().add(&entry.function, number, entry.due_ms);
            }
        }
    }

    fn count(&mut self, entry: &Entry, by: i64) {
        let key = (entry.queue.clone(), entry.shown());
        let depth = self.depths.entry(key.clone()).or_default();
        *depth = depth.saturating_add_signed(by);
        if *depth == 0 {
            self.depths.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dhow_core::queue::{Note, Settle};
    use proptest::prelude::*;

    use super::*;
    use crate::embedded::state::Ages;

    const AGES: Ages = Ages { waiting: Duration::from_secs(1000), dead: Duration::from_millis(30) };

    fn entry(number: u64, function: u8, now_ms: u64, callback: bool, keep: u64) -> Entry {
        let wants =
            Wants { callback, keep_result: Duration::from_millis(keep), created_ms: now_ms };
        let function = FunctionName::parse(&format!("f{function}")).unwrap();
        let (call, queue) = (CallId(u128::from(number)), "default".parse().unwrap());
        Entry::new(call, function, queue, wants, &State::new(now_ms), 10, false)
    }

    fn draw(ledger: &mut Ledger, now_ms: u64) -> Option<Drawn> {
        let drawn = ledger.draw(now_ms, now_ms + 50, |_, _| true)?;
        ledger.tell(drawn.lease, State::new(now_ms));
        Some(drawn)
    }

    #[test]
    fn a_lease_is_held_by_one_and_is_lost_in_the_end() {
        let mut ledger = Ledger::default();
        ledger.insert(1, entry(1, 0, 0, false, 0));
        let mut first = draw(&mut ledger, 0).unwrap();
        assert!(draw(&mut ledger, 0).is_none());
        assert!(ledger.extend(first.lease, 100));
        assert!(ledger.overdue(99).is_empty());
        assert_eq!(ledger.overdue(100), [first.lease]);
        assert!(first.lost.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Empty));
        ledger.give_back(first.lease);
        assert!(first.lost.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Closed));
        assert!(!ledger.extend(first.lease, 200));
        assert!(ledger.settling(first.lease).is_none());
        let second = draw(&mut ledger, 100).unwrap();
        assert_ne!(first.lease, second.lease);
        assert!(ledger.settling(second.lease).is_some());
        assert!(ledger.settling(second.lease).is_none(), "it is settled once");
        assert!(ledger.overdue(1000).is_empty(), "what is being settled is not lost");
    }

    #[test]
    fn a_page_is_newest_first_and_says_where_to_go_on() {
        let mut ledger = Ledger::default();
        (0..10).for_each(|number| {
            ledger.insert(number, entry(number, u8::from(number % 2 == 0), 0, false, 0));
        });
        let filter = CallFilter { name: Some("f1".parse().unwrap()), ..CallFilter::default() };
        assert_eq!(ledger.page(&filter, u64::MAX, 2, 100), (vec![8, 6], Some(6)));
        assert_eq!(ledger.page(&filter, 6, 2, 100), (vec![4, 2], Some(2)));
        assert_eq!(ledger.page(&filter, 2, 2, 100), (vec![0], None));
        assert_eq!(ledger.page(&filter, u64::MAX, 9, 3), (vec![8], Some(7)));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u8, bool, u64),
        Draw,
        Settle(usize, u8),
        Lose(usize),
        Cancel(usize),
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        proptest::collection::vec(
            prop_oneof![
                3 => (0_u8..3, any::<bool>(), 0_u64..2)
                    .prop_map(|(function, callback, keep)| Step::Insert(function, callback, keep)),
                4 => Just(Step::Draw),
                4 => (0_usize..9, 0_u8..4).prop_map(|(at, how)| Step::Settle(at, how)),
                1 => (0_usize..9).prop_map(Step::Lose),
                1 => (0_usize..9).prop_map(Step::Cancel),
                2 => (0_u64..20).prop_map(Step::Pass),
            ],
            0..150,
        )
    }

    proptest! {
        /// Whatever happens, each call that is not forgotten stands at exactly one place, figures
        /// agree with that, and in the end everything that is open can be drawn.
        #[test]
        fn every_call_is_somewhere_and_counted(steps in steps()) {
            let mut ledger = Ledger::default();
            let (mut now, mut next) = (0, 0);
            let mut drawn: Vec<Drawn> = vec![];
            for step in steps {
                match step {
                    Step::Insert(function, callback, keep) => {
                        ledger.insert(next, entry(next, function, now, callback, keep));
                        next += 1;
                    }
                    Step::Draw => drawn.extend(draw(&mut ledger, now)),
                    Step::Settle(at, how) if at < drawn.len() => {
                        let lease = drawn.remove(at).lease;
                        let Some((number, state, wants)) = ledger.settling(lease) else { continue };
                        let place = ledger.get(number).unwrap().place;
                        let note = Note::new("x", 0, "x");
                        let settle = match how {
                            0 => Settle::Finished(None),
                            1 => Settle::Again {
                                after: Duration::from_millis(5), note, counted: true
                            },
                            2 => Settle::Dead(note, None),
                            _ => Settle::Release,
                        };
                        match (State { place, ..state }).after(&settle, wants, AGES, now) {
                            Some(state) => ledger.change(number, &state, None),
                            None => drop(ledger.forget(number)),
                        }
                    }
                    Step::Lose(at) if at < drawn.len() => {
                        ledger.give_back(drawn.remove(at).lease);
                    }
                    Step::Cancel(at) => {
                        if let Some(number) = ledger.entries.keys().nth(at).copied() {
                            ledger.forget(number);
                        }
                    }
                    Step::Settle(..) | Step::Lose(_) => {}
                    Step::Pass(ms) => now += ms,
                }
                let count = ledger.entries.len();
                prop_assert_eq!(ledger.numbers.len(), count);
                prop_assert_eq!(ledger.bytes(), 10 * count as u64);
                let depths: u64 = ledger.depths().iter().map(|(_, _, depth)| depth).sum();
                prop_assert_eq!(depths, count as u64);
                let leased = ledger.entries.values().filter(|entry| entry.is_leased()).count();
                prop_assert_eq!(ledger.leases.len(), leased);
                let ended = |entry: &&Entry| entry.lane().is_none();
                prop_assert_eq!(ledger.ends.len(), ledger.entries.values().filter(ended).count());
            }
            let open = ledger.entries.values()
                .filter(|entry| entry.lane().is_some() && !entry.is_leased()).count();
            let all = std::iter::from_fn(|| draw(&mut ledger, u64::MAX / 2)).count();
            prop_assert_eq!(all, open);
            prop_assert!(ledger.lanes.is_empty());
        }
    }

    #[test]
    fn a_key_counts_until_it_expires() {
        let mut ledger = Ledger::default();
        let used = KeyUse { call: CallId(1), expires_ms: 10, request: [0; 32] };
        ledger.insert_key([1; 32], used);
        assert_eq!(ledger.key(&[1; 32], 9), Some(used));
        assert_eq!(ledger.key(&[1; 32], 10), None);
        assert_eq!(ledger.ended_keys(10, 5), [[1; 32]]);
        ledger.insert_key([1; 32], KeyUse { expires_ms: 20, ..used });
        assert!(ledger.ended_keys(10, 5).is_empty());
        assert_eq!(ledger.bytes(), KEY_COST);
        ledger.forget_key(&[1; 32]);
        assert_eq!(ledger.bytes(), 0);
    }
}
