//! The ports that are served. Each can be closed and opened again while its listener stays, so that
//! who connects meanwhile waits.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use dhow_engine::Engine;
use dhow_gateway::admin::{self, Ending};
use dhow_gateway::gateway::Gateway;
use dhow_gateway::metrics::Metrics;
use dhow_gateway::openfaas::door::{Closed, Door};
use dhow_http::tls::Tls;
use dhow_http::{Config, Server};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::failure;
use crate::cli::error::CommandError;

/// How long a connection to the data port stays open without a request when another dhow goes on.
const GRACE: Duration = Duration::from_secs(2);

/// A port that is served by axum: the admin port, or the metrics port.
pub(super) struct Api {
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
    open: Option<(oneshot::Sender<Ending>, JoinHandle<()>)>,
}

impl Api {
    /// A port, closed.
    pub(super) fn new(listener: TcpListener, router: Router, tls: Option<Tls>) -> Self {
        Self { listener, router, tls, open: None }
    }

    /// Takes connections.
    pub(super) fn open(&mut self) -> Result<(), CommandError> {
        let listener = self.listener.try_clone().map_err(failure)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failure)?;
        let (end, ending) = oneshot::channel();
        // A sender that is dropped is one whose process ends.
        let ending = async { ending.await.unwrap_or(Ending::PROMPT) };
        let (router, tls) = (self.router.clone(), self.tls.clone());
        let served = tokio::spawn(admin::serve(listener, router, tls, ending));
        self.open = Some((end, served));
        Ok(())
    }

    /// Takes no more of them, and returns when those that live have ended.
    pub(super) async fn close(&mut self, ending: Ending) {
        if let Some((end, served)) = self.open.take() {
            // One that has ended by itself has nothing to close.
            _ = end.send(ending);
            drop(served.await);
        }
    }
}

/// The data port.
pub(super) struct Front {
    listener: TcpListener,
    gateway: Arc<Gateway<Engine>>,
    system: Arc<Door>,
    config: Config,
    metrics: Metrics,
    open: Option<Server>,
}

impl Front {
    /// The port, closed.
    pub(super) fn new(
        listener: TcpListener,
        gateway: Arc<Gateway<Engine>>,
        system: Arc<Door>,
        config: Config,
        metrics: Metrics,
    ) -> Self {
        Self { listener, gateway, system, config, metrics, open: None }
    }

    /// Takes connections.
    pub(super) fn open(&mut self) -> Result<(), CommandError> {
        let listener = self.listener.try_clone().map_err(failure)?;
        let server = Server::start(vec![listener], self.gateway.clone(), self.config.clone());
        let server = server.map_err(failure)?;
        self.metrics.set_connections(Box::new(server.connections()));
        self.open = Some(server);
        self.system.set_ending(false);
        Ok(())
    }

    /// Has nothing be written by way of this port, until what is returned is dropped.
    pub(super) async fn close_system(&self) -> Closed {
        self.system.close().await
    }

    /// Has no call begin any more, without a request lost; those that have begun go on.
    pub(super) async fn retire(&mut self) {
        self.system.set_ending(true);
        if let Some(server) = &mut self.open {
            server.retire(GRACE).await;
        }
    }

    /// Takes connections again after it was retired. Calls that go on still are finished beside.
    pub(super) fn reopen(&mut self) -> Result<(), CommandError> {
        if let Some(retired) = self.open.take() {
            tokio::spawn(retired.finish());
        }
        self.open()
    }

    /// Ends: politely, or what is left of it after it was retired.
    pub(super) async fn close(&mut self, is_retired: bool) {
        self.system.set_ending(true);
        match self.open.take() {
            Some(server) if is_retired => server.finish().await,
            Some(server) => server.stop().await,
            None => {}
        }
    }
}
