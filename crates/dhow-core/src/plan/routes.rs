//! Which function answers a request.

use crate::name::FunctionName;

/// A route that another function has already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("route `{route}` of `{function}` belongs to `{owner}` already")]
pub struct Conflict {
    /// The route, as it was declared.
    pub route: String,
    /// Who asked for it.
    pub function: FunctionName,
    /// Who has it.
    pub owner: FunctionName,
}
