//! One lane: what is due and what will be, drawn so that functions take turns. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use dhow_core::name::FunctionName;

/// The work of one lane that nobody has, by number.
#[derive(Debug, Default)]
pub(super) struct LaneQueue {
    /// Functions with work that is due, in turn.
    turns: VecDeque<FunctionName>,
    /// That work, oldest first; never empty.
    due: HashMap<FunctionName, BTreeSet<u64>>,
    /// What is due later.
    later: BTreeMap<(u64, u64), FunctionName>,
}

impl LaneQueue {
    /// Adds work that is due at `due_ms`.
    pub(super) fn add(&mut self, function: &FunctionName, number: u64, due_ms: u64) {
        self.later.insert((due_ms, number), function.clone());
    }

    /// Removes work that was added as due at `due_ms`.
    pub(super) fn remove(&mut self, function: &FunctionName, number: u64, due_ms: u64) {
        if self.later.remove(&(due_ms, number)).is_some() {
            return;
        }
        let Some(numbers) = self.due.get_mut(function) else { return };
        numbers.remove(&number);
        if numbers.is_empty() {
            self.due.remove(function);
            self.turns.retain(|other| other != function);
        }
    }

    /// Draws the oldest work that is due of the first function in turn for which there is `room`.
    pub(super) fn draw(
        &mut self,
        now_ms: u64,
        room: impl Fn(&FunctionName) -> bool,
    ) -> Option<u64> {
        self.ripen(now_ms);
        let turn = self.turns.iter().position(room)?;
        let function = self.turns.remove(turn)?;
        let numbers = self.due.get_mut(&function)?;
        let number = numbers.pop_first();
        if numbers.is_empty() {
            self.due.remove(&function);
        } else {
            self.turns.push_back(function);
        }
        number
    }

    /// When the next work that is not due yet will be.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.later.first_key_value().map(|((due_ms, _), _)| *due_ms)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty() && self.later.is_empty()
    }

    fn ripen(&mut self, now_ms: u64) {
        while let Some(first) = self.later.first_entry() {
            if first.key().0 > now_ms {
                return;
            }
            let ((_, number), function) = first.remove_entry();
            let numbers = self.due.entry(function.clone()).or_default();
            if numbers.is_empty() {
                self.turns.push_back(function);
            }
            numbers.insert(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn function(index: u8) -> FunctionName {
        FunctionName::parse(&format!("f{index}")).unwrap()
    }

    #[test]
    fn functions_take_turns_and_each_has_its_oldest_first() {
        let mut lane = LaneQueue::default();
        for number in 0..6 {
            lane.add(&function(0), number, 0);
        }
        lane.add(&function(1), 6, 0);
        lane.add(&function(2), 7, 50);
        let drawn: Vec<_> = std::iter::from_fn(|| lane.draw(10, |_| true)).collect();
        assert_eq!(drawn, [0, 6, 1, 2, 3, 4, 5]);
        assert_eq!(lane.next_due(), Some(50));
        assert_eq!(lane.draw(50, |_| true), Some(7));
        assert!(lane.is_empty());
    }

    #[test]
    fn a_function_without_room_lets_others_pass_and_keeps_its_turn() {
        let mut lane = LaneQueue::default();
        for number in 0..4 {
            lane.add(&function(u8::try_from(number % 2).unwrap()), number, 0);
        }
        let busy = function(0);
        assert_eq!(lane.draw(0, |one| *one != busy), Some(1));
        assert_eq!(lane.draw(0, |_| true), Some(0));
        assert_eq!(lane.draw(0, |one| *one == busy), Some(2));
        assert_eq!(lane.draw(0, |one| *one == busy), None);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(u8, u64),
        Remove(usize),
        Draw(u64, u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        proptest::collection::vec(
            prop_oneof![
                (0_u8..4, 0_u64..20).prop_map(|(function, due)| Step::Add(function, due)),
                (0_usize..50).prop_map(Step::Remove),
                (0_u64..20, 0_u8..6).prop_map(|(now, busy)| Step::Draw(now, busy)),
            ],
            0..120,
        )
    }

    proptest! {
        /// Against a plain list: what is drawn is due, has room and is its function's oldest that
        /// ripened; nothing is drawn only if there is nothing to draw; nothing is drawn twice.
        #[test]
        fn what_is_added_is_drawn_once_when_it_is_due(steps in steps()) {
            let mut lane = LaneQueue::default();
            let mut model: Vec<(u64, u8, u64)> = vec![];
            let (mut number, mut latest) = (0, 0);
            for step in steps {
                match step {
                    Step::Add(index, due) => {
                        lane.add(&function(index), number, due);
                        model.push((number, index, due));
                        number += 1;
                    }
                    Step::Remove(at) if at < model.len() => {
                        let (number, index, due) = model.remove(at);
                        lane.remove(&function(index), number, due);
                    }
                    Step::Remove(_) => {}
                    Step::Draw(now, busy) => {
                        latest = latest.max(now);
                        let busy = function(busy);
                        let drawn = lane.draw(now, |one| *one != busy);
                        // What was once due stays drawable.
                        let could = |one: &&(u64, u8, u64)| {
                            one.2 <= latest && function(one.1) != busy
                        };
                        match drawn {
                            Some(drawn) => {
                                let at = model.iter().position(|one| one.0 == drawn);
                                let found = model.remove(at.expect("it was added, and is there"));
                                prop_assert!(could(&&found));
                            }
                            None => prop_assert!(
                                !model.iter().any(|one| one.2 <= now && function(one.1) != busy)
                            ),
                        }
                    }
                }
            }
            let mut left: Vec<_> = std::iter::from_fn(|| lane.draw(u64::MAX, |_| true)).collect();
            left.sort_unstable();
            prop_assert_eq!(left, model.iter().map(|one| one.0).collect::<Vec<_>>());
            prop_assert!(lane.is_empty());
        }
    }
}
