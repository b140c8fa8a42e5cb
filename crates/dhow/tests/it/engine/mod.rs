//! The engine alone, with real guests and the real compiler, without HTTP in between.

mod rig;

mod commands;
mod fresh;
mod handlers;
mod limits;
