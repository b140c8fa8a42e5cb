//! Names and their addresses.

use std::io;
use std::net::SocketAddr;

use dhow_core::ports::BoxFuture;

/// Finds the addresses of names.
pub trait Resolve: Send + Sync {
    /// The addresses of `name`, in the order in which to try them, with `port`.
    fn resolve<'a>(
        &'a self,
        name: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// As the system resolves them.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Resolve for System {
    fn resolve<'a>(
        &'a self,
        name: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) })
    }
}
