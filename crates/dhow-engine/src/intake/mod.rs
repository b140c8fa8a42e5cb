//! Looks at a module: what it is, how it can be called, what it needs. Pure, and run in the
//! compiler's child process, because the bytes are anybody's.

mod componentize;
mod detect;
mod interfaces;
mod needs;

pub(crate) use componentize::componentize;
pub(crate) use detect::{detect, is_unwrapped_component, wants_concurrency};
pub(crate) use interfaces::{Interfaces, Kind};
pub(crate) use needs::unmet;
