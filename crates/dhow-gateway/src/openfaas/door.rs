//! Where the data port hands a request to the API.
//!
//! The API runs on threads of its own: a deploy takes seconds, and the data port's threads are for
//! calls. The door can be closed while the data folder changes hands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use dhow_core::outcome::{Failure, Reason};
use dhow_http::RequestBody;
use dhow_http::answer::{self, PlatformBody};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, watch};
use tower_service::Service as _;

use super::{System, router};
use crate::admin::Draining;
use crate::admin::audit::Peer;

/// The path below which the API is.
pub(crate) const SYSTEM: &str = "/system/";
/// Bytes of a request's body: a secret of the greatest size in base64, and what is around it.
const MOST_BODY: u64 = 2 << 20;

/// The way in.
pub struct Door {
    router: Router,
    runtime: Handle,
    /// Read by each request while it is worked at; true once another dhow has the data folder.
    gate: Arc<RwLock<bool>>,
    ending: watch::Sender<bool>,
}

/// A door that is closed; dropped, it is open again.
pub struct Closed(OwnedRwLockWriteGuard<bool>);

impl Closed {
    /// Has it stay closed: whoever waits is told to come again.
    pub fn for_good(mut self) {
        *self.0 = true;
    }
}

impl Door {
    /// The door to `system`, whose requests are worked at on `runtime`.
    pub fn new(system: System, runtime: Handle) -> Self {
        let (ending, draining) = watch::channel(false);
        let router = router(system).layer(Extension(Draining::new(draining)));
        Self { router, runtime, gate: Arc::default(), ending }
    }

    /// Closes it, once nobody is inside.
    pub async fn close(&self) -> Closed {
        Closed(self.gate.clone().write_owned().await)
    }

    /// Ends what is being followed, or lets it go on again.
    pub fn set_ending(&self, is_ending: bool) {
        self.ending.send_replace(is_ending);
    }

    /// Answers a request of `peer`; nothing in its body pauses for longer than `stall`.
    pub(crate) async fn answer<B>(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
        stall: Duration,
    ) -> Response<PlatformBody<B>> {
        request.extensions_mut().insert(Peer(peer));
        let (head, body) = request.into_parts();
        let body = match RequestBody::new(body, MOST_BODY, stall) {
            Ok(body) => Body::new(body),
            Err(failure) => return answer::failure(&failure, None),
        };
        let (mut router, gate) = (self.router.clone(), self.gate.clone());
        // A client that leaves must not leave anything half done.
        let answered = self.runtime.spawn(async move {
            let is_gone = gate.read_owned().await;
            match *is_gone {
                true => Err(Failure::new(Reason::NotReady, "another dhow takes over")),
                false => {
                    let Ok(response) = router.call(Request::from_parts(head, body)).await;
                    Ok(response)
                }
            }
        });
        match answered.await {
            Ok(Ok(response)) => response.map(|body| {
                let broken = |error| Failure::new(Reason::BadResponse, format!("{error}"));
                PlatformBody::Streamed(Box::pin(body.map_err(broken)))
            }),
            Ok(Err(failure)) => answer::failure(&failure, None),
            Err(error) => {
                tracing::error!(%error, "a request to OpenFaaS' API broke off");
                let failure = Failure::new(Reason::BadResponse, "the request broke off");
                answer::failure(&failure, None)
            }
        }
    }
}
