//! The real binary: `dhow up` with real clients.

mod rig;

mod access;
mod admin;
mod browser;
mod client;
mod data;
mod faults;
mod metrics;
mod protocol;
