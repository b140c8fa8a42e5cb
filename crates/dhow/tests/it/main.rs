//! Tests of dhow's parts joined: the engine with real guests, and the real binary with real
//! clients.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod engine;
mod guests;
mod server;
