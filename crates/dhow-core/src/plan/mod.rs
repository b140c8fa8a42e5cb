//! Pure decisions.

pub mod routes;
