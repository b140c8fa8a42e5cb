//! What the functions of one client have to be: a second, naive catalog.

use std::collections::BTreeMap;

/// Revisions that the server keeps, besides those in force or weighted.
pub(super) const KEPT: usize = 4;

/// All functions of a client, and what is remembered of deleted ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Model {
    pub(super) functions: BTreeMap<String, Function>,
    /// The last number given to each name.
    numbers: BTreeMap<String, u64>,
}

/// One function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) current: u64,
    pub(super) revisions: BTreeMap<u64, Said>,
    pub(super) weights: BTreeMap<u64, u32>,
    pub(super) rolled_back_from: Option<u64>,
    pub(super) has_route: bool,
}

/// What a revision was deployed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    /// Which of the modules.
    pub(super) module: usize,
    /// Tells one deploy from the next.
    pub(super) mark: u64,
}

/// One change, of the function of this name.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Deploy { said: Said, has_route: bool },
    RollBack { to: Option<u64> },
    Split(BTreeMap<u64, u32>),
    Clear,
    Delete,
}

impl Model {
    /// Makes the change; `None`, and nothing changed, when it has to be refused.
    pub(super) fn apply(&self, name: &str, operation: &Operation) -> Option<Self> {
        let mut next = self.clone();
        match operation {
            Operation::Deploy { said, has_route } => next.deploy(name, *said, *has_route)?,
            Operation::Delete => drop(next.functions.remove(name)?),
            Operation::RollBack { to } => next.functions.get_mut(name)?.roll_back(*to)?,
            Operation::Split(weights) => {
                let function = next.functions.get_mut(name)?;
                let known =
                    weights.keys().all(|revision| function.revisions.contains_key(revision));
                if !known || weights.values().all(|weight| *weight == 0) {
                    return None;
                }
                function.weights.clone_from(weights);
            }
            Operation::Clear => next.functions.get_mut(name)?.weights.clear(),
        }
        Some(next)
    }

    /// The functions of one client share one route.
    fn deploy(&mut self, name: &str, said: Said, has_route: bool) -> Option<()> {
        let taken = self.functions.iter().any(|(other, one)| other != name && one.has_route);
        if has_route && taken {
            return None;
        }
        let number = self.numbers.entry(name.to_owned()).or_default();
        let function = self.functions.entry(name.to_owned()).or_insert_with(|| Function {
            current: 0,
            revisions: BTreeMap::new(),
            weights: BTreeMap::new(),
            rolled_back_from: None,
            has_route,
        });
        function.has_route = has_route;
        if function.revisions.get(&function.current) == Some(&said) {
            return Some(());
        }
        *number += 1;
        function.current = *number;
        function.rolled_back_from = None;
        function.revisions.insert(*number, said);
        let newest = function.revisions.keys().rev().nth(KEPT - 1).copied().unwrap_or_default();
        let weights = &function.weights;
        function.revisions.retain(|number, _| *number >= newest || weights.contains_key(number));
        Some(())
    }
}

impl Function {
    fn roll_back(&mut self, to: Option<u64>) -> Option<()> {
        let before = || self.revisions.keys().copied().rfind(|number| *number < self.current);
        let to = to.or_else(before)?;
        self.revisions.get(&to)?;
        if to != self.current {
            self.rolled_back_from = Some(self.current);
        }
        self.current = to;
        self.weights.clear();
        Some(())
    }

    /// The modules that may answer a call.
    pub(super) fn may_answer(&self) -> Vec<usize> {
        let weighted = self.weights.iter().filter(|(_, weight)| **weight > 0);
        let mut numbers: Vec<u64> = weighted.map(|(number, _)| *number).collect();
        if numbers.is_empty() {
            numbers.push(self.current);
        }
        numbers.iter().map(|number| self.revisions[number].module).collect()
    }
}
