//! The engine alone, with real guests and the real compiler, without HTTP in between.

pub(crate) mod rig;

mod cache;
mod commands;
mod fresh;
mod handlers;
mod limits;
mod outbound;
mod places;
mod refusals;
