//! Pure decisions.

pub mod components;
pub mod egress;
pub mod outbound;
pub mod retry;
pub mod rotation;
pub mod routes;
