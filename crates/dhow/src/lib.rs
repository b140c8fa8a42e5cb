//! dhow's commands and how its parts are joined.

pub mod cli;
