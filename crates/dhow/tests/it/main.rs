//! Tests of dhow's parts joined: the engine with real guests, and the real binary with real
//! clients.

mod engine;
mod guests;
mod server;
