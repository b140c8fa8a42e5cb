//! What guests ask of the world: names are resolved, addresses checked, connections made, bounded
//! and kept apart.
//!
//! Knows no guests and no engine: it is [`dhow_core::ports::Outbound`]. What is allowed is decided
//! in [`dhow_core::plan::outbound`]. Read [`client`] first.

pub mod client;
pub mod resolve;
pub mod tls;

mod body;
mod connect;
mod failure;

use std::net::SocketAddr;
use std::sync::Arc;

use dhow_core::function::Revision;
use dhow_core::plan::outbound as plan;
use dhow_core::ports::{Egress, Outbound};
use tokio::runtime::Handle;

use crate::client::Client;
use crate::resolve::Resolve;
use crate::tls::Trust;

/// The way out of one installation.
#[derive(Clone)]
pub struct Way {
    shared: Arc<Shared>,
    own: Arc<[SocketAddr]>,
}

/// What all functions share. None of it remembers what any of them did.
struct Shared {
    resolve: Arc<dyn Resolve>,
    trust: Trust,
    /// Where connections live: a guest's own thread may be busy with other guests.
    runtime: Handle,
}

impl Way {
    /// A way out that keeps guests from `own`, dhow's listeners, and lives on `runtime`.
    pub fn new(
        own: Vec<SocketAddr>,
        resolve: Arc<dyn Resolve>,
        trust: Trust,
        runtime: Handle,
    ) -> Self {
        Self { shared: Arc::new(Shared { resolve, trust, runtime }), own: own.into() }
    }
}

impl Outbound for Way {
    fn open(&self, revision: &Revision) -> Option<Arc<dyn Egress>> {
        let allow = &revision.template.grants.network;
        if allow.is_empty() {
            return None;
        }
        let rule = plan::Outbound { allow: allow.clone().into(), own: self.own.clone() };
        Some(Arc::new(Client::new(self.shared.clone(), rule)))
    }
}
