//! What a guest sees of its host.

mod config;
mod given;
mod limiter;
mod link;
mod outbound;
mod output;
mod state;
mod stdin;

pub(crate) use given::Given;
pub use given::clear;
pub(crate) use limiter::Limiter;
pub(crate) use link::{Linkers, core_imports};
pub(crate) use outbound::Asker;
pub(crate) use output::{Capture, Lines, Writer, pipe};
pub(crate) use state::{State, Wasi, store};
pub(crate) use stdin::BodyStdin;
