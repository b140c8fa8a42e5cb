//! What answers a function's calls: one revision, or several by weight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dhow_core::digest::Digest;
use dhow_core::function::{Deployed, Revision};
use dhow_core::plan::rotation::Rotation;
use dhow_core::ports::Invoke;

/// One revision, ready to be called.
pub struct Endpoint<I: Invoke> {
    /// What the calls go to.
    pub target: I::Target,
    /// What is called.
    pub revision: Arc<Revision>,
}

/// Who answers a function's calls. Cheap to clone.
pub enum Backend<I: Invoke> {
    /// Always the same revision.
    One(Arc<Endpoint<I>>),
    /// Several by turns.
    Split(Arc<Split<I>>),
}

/// Revisions that take turns. As many calls as the weights add up to, in whatever order and from
/// whatever threads they come, are shared out exactly as the weights say.
pub struct Split<I: Invoke> {
    endpoints: Vec<Arc<Endpoint<I>>>,
    weights: Vec<u32>,
    rotation: Rotation,
    /// The number of the next turn.
    next: AtomicU64,
}

impl<I: Invoke> Backend<I> {
    /// What answers `function`. Revisions that answered `before` stay the same targets, and an
    /// unchanged split goes on with its next turn.
    pub(crate) fn new(invoke: &I, function: &Deployed, before: Option<&Self>) -> Self {
        let old = before.map(Self::endpoints).unwrap_or_default();
        let endpoint = |revision: &Arc<Revision>| {
            let kept = old.iter().find(|endpoint| is_same(endpoint, revision));
            kept.cloned().unwrap_or_else(|| {
                let revision = revision.clone();
                Arc::new(Endpoint { target: invoke.target(revision.clone()), revision })
            })
        };
        let weighted: Vec<_> = function.split.iter().filter(|one| one.weight > 0).collect();
        match weighted[..] {
            [] => Self::One(endpoint(&function.revision)),
            [only] => Self::One(endpoint(&only.revision)),
            _ => {
                let endpoints: Vec<_> =
                    weighted.iter().map(|one| endpoint(&one.revision)).collect();
                let weights: Vec<_> = weighted.iter().map(|one| one.weight).collect();
                if let Some(Self::Split(split)) = before
                    && split.weights == weights
                    && split.endpoints.iter().zip(&endpoints).all(|(a, b)| Arc::ptr_eq(a, b))
                {
                    return Self::Split(split.clone());
                }
                let rotation = Rotation::new(&weights);
                let next = AtomicU64::new(0);
                Self::Split(Arc::new(Split { endpoints, weights, rotation, next }))
            }
        }
    }

    /// The revision for the next call.
    #[inline]
    pub fn next(self) -> Arc<Endpoint<I>> {
        match self {
            Self::One(endpoint) => endpoint,
            Self::Split(split) => {
                let turn = split.next.fetch_add(1, Relaxed);
                split.endpoints[split.rotation.at(turn)].clone()
            }
        }
    }

    /// The revision that gets the most calls, for what is no call: no turn is taken.
    pub fn main(&self) -> &Endpoint<I> {
        match self {
            Self::One(endpoint) => endpoint,
            Self::Split(split) => {
                let weighted = split.weights.iter().zip(&split.endpoints);
                let most = weighted.rev().max_by_key(|(weight, _)| **weight);
                most.map(|(_, endpoint)| endpoint).expect("a split has several revisions")
            }
        }
    }

    fn endpoints(&self) -> &[Arc<Endpoint<I>>] {
        match self {
            Self::One(endpoint) => std::slice::from_ref(endpoint),
            Self::Split(split) => &split.endpoints,
        }
    }
}

fn is_same<I: Invoke>(endpoint: &Endpoint<I>, revision: &Revision) -> bool {
    let key = |revision: &Revision| -> (u64, Digest) { (revision.number, revision.digest) };
    key(&endpoint.revision) == key(revision)
}

impl<I: Invoke> Clone for Backend<I> {
    fn clone(&self) -> Self {
        match self {
            Self::One(endpoint) => Self::One(endpoint.clone()),
            Self::Split(split) => Self::Split(split.clone()),
        }
    }
}

impl<I: Invoke> std::fmt::Debug for Endpoint<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("revision", &self.revision).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use bytes::Bytes;
    use dhow_core::abi::Abi;
    use dhow_core::function::Template;
    use dhow_core::name::FunctionName;
    use dhow_core::outcome::Failure;
    use dhow_core::ports::Call;
    use dhow_core::quota::Quotas;
    use dhow_core::traffic::Weighted;
    use http::Response;
    use http_body::Body;
    use http_body_util::{BodyExt as _, Empty};

    use super::*;

    /// Counts the targets that it made.
    #[derive(Default)]
    struct Targets(AtomicU64);

    type NoBody = http_body_util::combinators::MapErr<Empty<Bytes>, fn(Infallible) -> Failure>;

    impl Invoke for Targets {
        /// The how manieth target it is.
        type Target = u64;
        type Body = NoBody;

        fn put_quotas(&self, _: &Arc<Quotas>) {}

        fn target(&self, _: Arc<Revision>) -> u64 {
            self.0.fetch_add(1, Relaxed)
        }

        async fn invoke<B>(&self, _: &u64, _: Call<B>) -> Result<Response<NoBody>, Failure>
        where
            B: Body<Data = Bytes, Error = Failure> + Send + Unpin + 'static,
        {
            Ok(Response::new(Empty::new().map_err(|never: Infallible| match never {})))
        }
    }

    fn revision(number: u64) -> Arc<Revision> {
        Arc::new(Revision {
            function: FunctionName::parse("a").unwrap(),
            number,
            digest: Digest::from_bytes([7; 32]),
            image: None,
            program: "a.wasm".to_owned(),
            abi: Abi::Http,
            template: Template::default(),
        })
    }

    fn function(current: u64, split: &[(u64, u32)]) -> Deployed {
        let weighted =
            |&(number, weight): &(u64, u32)| Weighted { revision: revision(number), weight };
        Deployed {
            name: FunctionName::parse("a").unwrap(),
            revision: revision(current),
            split: split.iter().map(weighted).collect(),
            rolled_back: None,
            routes: vec![],
            access: None,
            metadata: None,
            version: 1,
            deployed_ms: 1,
        }
    }

    /// How many of `calls` each revision gets.
    fn shares(backend: &Backend<Targets>, calls: usize) -> BTreeMap<u64, usize> {
        let mut shares = BTreeMap::new();
        for _ in 0..calls {
            *shares.entry(backend.clone().next().revision.number).or_default() += 1;
        }
        shares
    }

    #[test]
    fn a_thousand_calls_at_nine_to_one_are_nine_hundred_and_one_hundred() {
        let backend = Backend::new(&Targets::default(), &function(2, &[(1, 9), (2, 1)]), None);
        assert_eq!(shares(&backend, 1000), BTreeMap::from([(1, 900), (2, 100)]));
        let backend = Backend::new(&Targets::default(), &function(2, &[]), None);
        assert_eq!(shares(&backend, 1000), BTreeMap::from([(2, 1000)]));
        let backend = Backend::new(&Targets::default(), &function(2, &[(1, 3), (2, 0)]), None);
        assert_eq!(shares(&backend, 1000), BTreeMap::from([(1, 1000)]));
    }

    #[test]
    fn they_are_from_many_threads_too() {
        let split = function(3, &[(1, 700), (2, 200), (3, 100)]);
        let backend = &Backend::new(&Targets::default(), &split, None);
        let mut sum = BTreeMap::new();
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(move || shares(backend, 1250))).collect();
            for thread in threads {
                for (revision, calls) in thread.join().unwrap() {
                    *sum.entry(revision).or_insert(0) += calls;
                }
            }
        });
        assert_eq!(sum, BTreeMap::from([(1, 7000), (2, 2000), (3, 1000)]));
    }

    #[test]
    fn a_look_takes_no_turn() {
        let backend = Backend::new(&Targets::default(), &function(2, &[(1, 1), (2, 1)]), None);
        let looked_at = |_| {
            assert_eq!(backend.main().revision.number, 1);
            backend.clone().next().revision.number
        };
        assert_eq!((0..6).map(looked_at).collect::<Vec<_>>(), [1, 2, 1, 2, 1, 2]);
        let backend = Backend::new(&Targets::default(), &function(2, &[(1, 1), (2, 2)]), None);
        assert_eq!(backend.main().revision.number, 2);
    }

    #[test]
    fn targets_outlive_every_change_that_they_are_part_of() {
        let invoke = Targets::default();
        let steps = [
            (function(1, &[]), vec![(1, 0)]),
            (function(2, &[]), vec![(2, 1)]),
            (function(2, &[(1, 1), (2, 1)]), vec![(1, 2), (2, 1)]),
            (function(3, &[(1, 1), (2, 1)]), vec![(1, 2), (2, 1)]),
            (function(3, &[(1, 3), (2, 1)]), vec![(1, 2), (2, 1)]),
            (function(3, &[(2, 1)]), vec![(2, 1)]),
            (function(3, &[]), vec![(3, 3)]),
        ];
        let mut before = None;
        for (deployed, expected) in steps {
            let backend = Backend::new(&invoke, &deployed, before.as_ref());
            let targets: Vec<_> = backend
                .endpoints()
                .iter()
                .map(|endpoint| (endpoint.revision.number, endpoint.target))
                .collect();
            assert_eq!(targets, expected);
            before = Some(backend);
        }
    }

    #[test]
    fn what_does_not_touch_a_split_does_not_begin_its_turns_again() {
        let invoke = Targets::default();
        let mut backend = Backend::new(&invoke, &function(2, &[(1, 9), (2, 1)]), None);
        let mut sum = BTreeMap::new();
        for current in 0..100 {
            // Another function's deploy, and one of this function itself.
            let deployed = function(current, &[(1, 9), (2, 1)]);
            backend = Backend::new(&invoke, &deployed, Some(&backend));
            for (revision, calls) in shares(&backend, 3) {
                *sum.entry(revision).or_insert(0) += calls;
            }
        }
        assert_eq!(sum, BTreeMap::from([(1, 270), (2, 30)]));
    }
}
