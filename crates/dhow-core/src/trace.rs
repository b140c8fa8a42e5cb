//! A call's place in a distributed trace.

use http::Method;

/// The span of one call, for calls that are followed. Names as in W3C's Trace Context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The trace that the call belongs to; never 0.
    pub trace_id: u128,
    /// The call's own span; never 0.
    pub span_id: u64,
    /// The caller's span, where one was said.
    pub parent: Option<u64>,
    /// What the caller's `tracestate` said, as it came.
    pub state: String,
    /// The request's method.
    pub method: Method,
    /// The request's path, without its query: that may hold secrets.
    pub path: String,
    /// The route that led to the function, or the function's own path.
    pub route: String,
}
