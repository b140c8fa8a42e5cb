//! Pure decisions.

pub mod egress;
pub mod retry;
pub mod rotation;
pub mod routes;
