//! How a function's calls are spread over its revisions.

use std::sync::Arc;

use crate::function::Revision;

/// Revisions that one function's calls may be spread over at once.
pub const MOST_SHARES: usize = 10;
/// The greatest weight of a revision.
pub const MOST_WEIGHT: u32 = 1000;

/// One revision's part of a function's calls: its weight, of the sum of all weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// The number of the revision.
    pub revision: u64,
    /// 0 is a revision that is kept ready and gets no calls.
    pub weight: u32,
}

/// The weights of a function, by revision; none at all is "everything to the revision in force".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traffic(Vec<Share>);

/// A revision that is weighted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighted {
    /// Which.
    pub revision: Arc<Revision>,
    /// See [`Share::weight`].
    pub weight: u32,
}

/// Why shares are no [`Traffic`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTraffic {
    /// There is nothing, or nothing but zeros.
    #[error("no revision has a weight over 0, so no call could be answered")]
    Nothing,
    /// A revision stands twice.
    #[error("revision {0} has two weights")]
    Twice(u64),
    /// A weight is over [`MOST_WEIGHT`].
    #[error("the weight {} of revision {} is over {MOST_WEIGHT}", .0.weight, .0.revision)]
    TooHeavy(Share),
    /// There are more than [`MOST_SHARES`].
    #[error("{0} revisions have weights; at most {MOST_SHARES} can")]
    TooMany(usize),
}

impl Traffic {
    /// Calls spread by these weights.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn new(mut shares: Vec<Share>) -> Result<Self, BadTraffic> {
        shares.sort_unstable();
        if let Some(pair) = shares.windows(2).find(|pair| pair[0].revision == pair[1].revision) {
            return Err(BadTraffic::Twice(pair[0].revision));
        }
        if let Some(share) = shares.iter().find(|share| share.weight > MOST_WEIGHT) {
            return Err(BadTraffic::TooHeavy(*share));
        }
        if shares.len() > MOST_SHARES {
            return Err(BadTraffic::TooMany(shares.len()));
        }
        if shares.iter().all(|share| share.weight == 0) {
            return Err(BadTraffic::Nothing);
        }
        Ok(Self(shares))
    }

    /// Each weight, by ascending revision.
    pub fn shares(&self) -> &[Share] {
        &self.0
    }

    /// Whether `revision` has a weight, be it 0.
    pub fn names(&self, revision: u64) -> bool {
        self.0.iter().any(|share| share.revision == revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(shares: &[(u64, u32)]) -> Result<Traffic, BadTraffic> {
        Traffic::new(shares.iter().map(|&(revision, weight)| Share { revision, weight }).collect())
    }

    #[test]
    fn weights_are_kept_by_revision() {
        let spread = traffic(&[(7, 1), (2, 9), (3, 0)]).unwrap();
        assert_eq!(spread, traffic(&[(2, 9), (3, 0), (7, 1)]).unwrap());
        assert!(spread.names(3) && !spread.names(4));
        assert_eq!(Traffic::default().shares(), []);
    }

    #[test]
    fn what_could_answer_no_call_or_means_two_things_is_refused() {
        assert_eq!(traffic(&[]), Err(BadTraffic::Nothing));
        assert_eq!(traffic(&[(1, 0), (2, 0)]), Err(BadTraffic::Nothing));
        assert_eq!(traffic(&[(1, 1), (2, 1), (1, 2)]), Err(BadTraffic::Twice(1)));
        let heavy = Share { revision: 1, weight: MOST_WEIGHT + 1 };
        assert_eq!(Traffic::new(vec![heavy]), Err(BadTraffic::TooHeavy(heavy)));
        let many: Vec<_> = (1..=11).map(|revision| (revision, 1)).collect();
        assert_eq!(traffic(&many), Err(BadTraffic::TooMany(11)));
        assert!(traffic(&many[..MOST_SHARES]).is_ok());
    }
}
