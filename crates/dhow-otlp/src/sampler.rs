//! Which calls are followed.

/// OpenTelemetry's standard samplers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampler {
    /// Whether a caller's own decision goes first.
    pub(crate) by_parent: bool,
    /// The share of traces that are followed where nobody decided, 0 to 1.
    pub(crate) ratio: f64,
}

impl Sampler {
    /// Every call, except where its caller decided otherwise.
    pub(crate) const DEFAULT: Self = Self { by_parent: true, ratio: 1.0 };

    /// Whether to follow a call of the trace, of which its caller decided `parent`.
    pub(crate) fn follows(&self, trace_id: u128, parent: Option<bool>) -> bool {
        match parent {
            Some(sampled) if self.by_parent => sampled,
            _ => self.picks(trace_id),
        }
    }

    /// The same traces are picked by everybody who picks by this rule: OpenTelemetry's
    /// `TraceIdRatioBased`, of the low 63 bits.
    fn picks(&self, trace_id: u128) -> bool {
        const BITS: u32 = 63;
        // A share needs no more than a float's digits; the cast of one saturates.
        let bound = (self.ratio * 2f64.powi(BITS as i32)) as u64;
        let low = trace_id as u64 >> (u64::BITS - BITS);
        self.ratio >= 1.0 || low < bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_decision_goes_first_where_it_may() {
        let none = Sampler { by_parent: true, ratio: 0.0 };
        let all = Sampler { by_parent: true, ratio: 1.0 };
        assert!(none.follows(1, Some(true)) && !none.follows(1, Some(false)));
        assert!(!all.follows(1, Some(false)));
        assert!(all.follows(u128::MAX, None) && !none.follows(1 << 64, None));
        let stubborn = Sampler { by_parent: false, ratio: 0.0 };
        assert!(!stubborn.follows(1, Some(true)));
    }

    #[test]
    fn a_ratio_picks_its_share() {
        let sampler = Sampler { by_parent: true, ratio: 0.1 };
        let mut random = fastrand::Rng::with_seed(7);
        let picked = (0..100_000).filter(|_| sampler.follows(random.u128(..), None)).count();
        assert!((9_500..10_500).contains(&picked), "{picked}");
    }
}
