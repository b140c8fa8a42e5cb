//! How much runs at once: each queue has places of its own, and one function may not have them
//! all. Pure.

use std::collections::{BTreeMap, HashMap};

use dhow_core::name::{FunctionName, Label};
use dhow_core::queue::Lane;

/// Places, and who has them.
#[derive(Debug)]
pub(super) struct Room {
    queues: BTreeMap<Label, u32>,
    others: u32,
    callbacks: u32,
    taken: HashMap<Lane, Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: u32,
    by_function: HashMap<FunctionName, u32>,
}

impl Room {
    /// Places of the queues that are named, of each other one, and of callbacks.
    pub(super) fn new(queues: BTreeMap<Label, u32>, others: u32, callbacks: u32) -> Self {
        Self { queues, others, callbacks, taken: HashMap::new() }
    }

    /// Whether one more piece of work may begin.
    pub(super) fn has(&self, lane: &Lane, function: &FunctionName) -> bool {
        let places = self.places(lane);
        self.taken.get(lane).is_none_or(|taken| {
            let own = taken.by_function.get(function).copied().unwrap_or(0);
            taken.all < places && own < share(places)
        })
    }

    pub(super) fn enter(&mut self, lane: &Lane, function: &FunctionName) {
        let taken = self.taken.entry(lane.clone()).or_default();
        taken.all += 1;
        *taken.by_function.entry(function.clone()).or_default() += 1;
    }

    pub(super) fn leave(&mut self, lane: &Lane, function: &FunctionName) {
        let Some(taken) = self.taken.get_mut(lane) else { return };
        taken.all = taken.all.saturating_sub(1);
        if let Some(own) = taken.by_function.get_mut(function) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by_function.remove(function);
            }
        }
        if taken.all == 0 {
            self.taken.remove(lane);
        }
    }

    fn places(&self, lane: &Lane) -> u32 {
        match lane {
            Lane::Queue(queue) => self.queues.get(queue).copied().unwrap_or(self.others),
            Lane::Callbacks => self.callbacks,
        }
    }
}

/// What one function may have of a lane's places: three quarters, so that another always finds
/// one soon, however long the calls of the first take.
fn share(places: u32) -> u32 {
    places - places / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_queue_has_its_own_places_and_no_function_has_them_all() {
        let slow: Label = "slow".parse().unwrap();
        let mut room = Room::new(BTreeMap::from([(slow.clone(), 2)]), 8, 1);
        let (f, g) = (FunctionName::parse("f").unwrap(), FunctionName::parse("g").unwrap());
        let fill = |room: &mut Room, lane: &Lane, function: &FunctionName| {
            (0..)
                .take_while(|_| {
                    room.has(lane, function).then(|| room.enter(lane, function)).is_some()
                })
                .count()
        };
        let other = Lane::Queue("default".parse().unwrap());
        assert_eq!(fill(&mut room, &other, &f), 6);
        assert_eq!(fill(&mut room, &other, &g), 2);
        let slow = Lane::Queue(slow);
        assert_eq!(fill(&mut room, &slow, &f), 2);
        assert_eq!(fill(&mut room, &Lane::Callbacks, &g), 1);
        room.leave(&other, &g);
        assert!(!room.has(&other, &f), "it has its share");
        assert!(room.has(&other, &g));
        for _ in 0..6 {
            room.leave(&other, &f);
        }
        room.leave(&other, &g);
        assert!(!room.taken.contains_key(&other), "nothing is kept of who has nothing");
    }
}
