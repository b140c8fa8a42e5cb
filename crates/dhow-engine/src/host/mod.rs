//! What a guest sees of its host.

mod limiter;
mod link;
mod output;
mod state;
mod stdin;

pub(crate) use limiter::Limiter;
pub(crate) use link::{Linkers, core_imports};
pub(crate) use output::{Capture, Lines, Writer, pipe};
pub(crate) use state::{State, store};
pub(crate) use stdin::BodyStdin;
