//! Asynchronous calls: a request is acknowledged once it is on disk, run later at least once
//! under the name that was acknowledged, tried again by its function's policy, and set aside as a
//! dead letter with its reason where that does not help.
//!
//! [`embedded`] keeps calls in a folder of one machine, behind `dhow-core`'s port `CallQueue`;
//! [`runner`] draws leases from any such queue and has them done; [`callback`] delivers answers.
//! Knows no engine, no gateway and no catalog: whoever joins them gives it a `Dispatch`.

pub mod callback;
pub mod embedded;
pub mod runner;
