//! The vocabulary of dhow: what a function is, what a call leaves behind, which route wins,
//! and the traits ("ports") at which the other crates meet.
//!
//! Nothing here does I/O, reads a clock or knows a runtime; time is always an argument.
//! Start with [`function`] for the nouns, [`plan`] for the decisions, [`ports`] for the seams.

pub mod abi;
pub mod access;
pub mod application;
pub mod call;
pub mod digest;
pub mod function;
pub mod grant;
pub mod key_value;
pub mod limits;
pub mod metadata;
pub mod metric;
pub mod name;
pub mod network;
pub mod outbound;
pub mod outcome;
pub mod plan;
pub mod ports;
pub mod quantity;
pub mod queue;
pub mod quota;
pub mod route;
pub mod secret;
pub mod token;
pub mod trace;
pub mod traffic;
