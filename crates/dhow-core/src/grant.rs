//! What a function may do beyond computing: nothing, unless a grant here says so.

use crate::name::Label;
use crate::network::AllowRule;

/// The grants of one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// What it may connect to.
    pub network: Vec<AllowRule>,
    /// Secrets of its namespace that it is given; each once.
    pub secrets: Vec<Label>,
}

/// The most secrets of one function.
pub const MOST_SECRETS: usize = 64;
/// The most rules of one function's network.
pub const MOST_RULES: usize = 256;
