//! Whose turn it is, among several that have weights.

/// An order of turns in which each of several comes as often as its weight says, spread as evenly
/// as can be: 9 to 1 is nine turns and one, in every ten in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation(Box<[u8]>);

impl Rotation {
    /// The order for `weights`, by their index. At most 256 weights whose sum is over 0; the order
    /// has as many turns as the weights' sum over their greatest common divisor, a byte each.
    ///
    /// This is the smooth weighted round-robin that nginx chooses servers by: at each turn
    /// everybody gains its weight, and the richest has the turn and pays the sum of all weights.
    ///
    /// # Panics
    /// When there are more weights than that, or none over 0.
    pub fn new(weights: &[u32]) -> Self {
        let common = weights.iter().copied().fold(0, greatest_common_divisor);
        assert!(common > 0 && weights.len() <= 256, "no turns for {weights:?}");
        let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / common)).collect();
        let sum: i64 = weights.iter().sum();
        let mut gained = vec![0_i64; weights.len()];
        let turns = (0..sum).map(|_| {
            let mut richest = 0;
            for (index, weight) in weights.iter().enumerate() {
                gained[index] += weight;
                if gained[index] > gained[richest] {
                    richest = index;
                }
            }
            gained[richest] -= sum;
            u8::try_from(richest).expect("there are at most 256")
        });
        Self(turns.collect())
    }

    /// Who has the turn of this number, counted from 0.
    #[inline]
    pub fn at(&self, turn: u64) -> usize {
        // As many as fit in memory, so the length and what is below it fit in both types.
        usize::from(self.0[(turn % self.0.len() as u64) as usize])
    }
}

fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(weights: &[u32]) -> Vec<usize> {
        let rotation = Rotation::new(weights);
        (0..rotation.0.len() as u64).map(|turn| rotation.at(turn)).collect()
    }

    #[test]
    fn turns_are_spread_evenly() {
        assert_eq!(order(&[1]), [0]);
        assert_eq!(order(&[50, 50]), [0, 1]);
        assert_eq!(order(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(order(&[900, 100]).iter().filter(|who| **who == 1).count(), 1);
        assert_eq!(order(&[0, 3]), [1]);
    }

    proptest! {
        #[test]
        fn each_has_as_many_turns_as_its_weight_in_every_round(
            weights in prop::collection::vec(0_u32..200, 1..10),
            start in 0_u64..1 << 40,
        ) {
            let sum: u32 = weights.iter().sum();
            prop_assume!(sum > 0);
            let rotation = Rotation::new(&weights);
            let mut turns = vec![0; weights.len()];
            for turn in start..start + u64::from(sum) {
                turns[rotation.at(turn)] += 1;
            }
            prop_assert_eq!(turns, weights);
        }
    }
}
