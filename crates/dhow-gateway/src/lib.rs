//! The HTTP front of dhow: the data port ([`gateway`] over [`table`]; [`asynchronous`] for what is
//! answered later), the admin API ([`admin`]), OpenFaaS' REST API ([`openfaas`]), the metrics port
//! ([`scrape`]), what calls left behind ([`observer`], [`metrics`], [`logs`]), and who controlled
//! what ([`audit`]).
//!
//! It knows the ports of `dhow-core`, and neither the engine nor the store.

pub mod admin;
pub mod asynchronous;
pub mod audit;
pub mod backend;
mod families;
pub mod gateway;
pub mod guard;
pub mod logs;
pub mod metrics;
pub mod observer;
pub mod openfaas;
pub mod scrape;
pub mod table;
