//! Names for calls.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

use dhow_core::call::CallId;

thread_local! {
    /// The thread's own half of its names, and the number of its next one. Both begin at random,
    /// from the system.
    static NEXT: Cell<(u64, u64)> = {
        let random = |word: u8| RandomState::new().hash_one(word);
        Cell::new((random(0), random(1)))
    };
}

/// A call id that no other call has. Looks random, and is not a secret.
pub fn new_call_id() -> CallId {
    let (thread, number) = NEXT.get();
    NEXT.set((thread, number.wrapping_add(1)));
    // A permutation: a thread's names differ in this half alone, until it has made 2^64 of them.
    let low = mix(number);
    let high = mix(thread ^ low);
    CallId(u128::from(high) << 64 | u128::from(low))
}

/// The last step of SplitMix64 (Steele, Lea and Flood, 2014), which maps no two words to one.
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_calls_have_the_same_name() {
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| (0..10_000).map(|_| new_call_id().0).collect()))
            .collect();
        let names: Vec<Vec<u128>> =
            threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let names: HashSet<_> = names.into_iter().flatten().collect();
        assert_eq!(names.len(), 40_000);
        // Nor do they share a part that would make them look alike.
        let high: HashSet<_> = names.iter().map(|name| name >> 64).collect();
        assert!(high.len() > 39_000);
    }
}
