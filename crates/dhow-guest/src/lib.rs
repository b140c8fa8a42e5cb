//! What guests look like from outside: the imports and exports of a module and how it can be
//! called ([`interfaces`], [`detect`], [`needs`], [`componentize`]), and the formats in which
//! programs take their input and give their output ([`keeper`], [`cgi`]).
//!
//! Pure: bytes in, values or named errors out. Everything here reads what strangers wrote, and
//! everything here is fuzzed.

pub mod cgi;
pub mod componentize;
pub mod detect;
pub mod interfaces;
pub mod keeper;
pub mod needs;
