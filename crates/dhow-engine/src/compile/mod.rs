//! From a module's bytes to code in the cache. The work is done by a child process under limits
//! ([`worker`]); the parent ([`child`]) only reads its report. Code that this installation did
//! not compile itself is never loaded ([`cache`]).

pub mod audit;
pub(crate) mod cache;
pub(crate) mod child;
pub mod worker;

pub(crate) mod report;

pub(crate) use report::{Look, Report};
