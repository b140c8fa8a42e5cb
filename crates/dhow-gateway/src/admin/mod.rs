//! The admin API: what `dhow deploy`, `list`, `describe`, `delete` and `logs` speak to.
//!
//! One file per resource; `wire` has the JSON shapes, `error` the one shape of a refusal, `origin`
//! keeps web pages out, `credentials` asks who it is and `need` what that takes, `serve` owns the
//! connections. `docs/openapi.yaml` describes it all: a test holds it against [`endpoints`], and
//! whole-process tests hold every answer against it. Knows the ports of `dhow-core`, and neither
//! the engine, the store nor the request path.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{self, MethodRouter};
use dhow_core::name::Label;
use dhow_core::ports::{
    Backup, BoxFuture, CallQueue, Catalog, Images, Intake, Secrets, Tokens, Uploads,
};
use dhow_core::quota::Usage;
use http::Method;
use tokio::sync::Mutex;

use crate::audit::Audit;
use crate::logs::Logs;
use crate::observer::Observer;

mod about;
mod artifacts;
pub(crate) mod audit;
mod backup;
mod calls;
pub(crate) mod credentials;
pub(crate) mod deploy;
pub(crate) mod error;
pub(crate) mod functions;
mod images;
pub(crate) mod logs;
pub(crate) mod ndjson;
mod need;
pub(crate) mod origin;
mod path;
mod queue;
mod quotas;
mod revisions;
mod secrets;
mod serve;
mod stats;
pub(crate) mod time;
mod tokens;
mod wire;

pub use credentials::{Credentials, are_demanded, fresh_secret};
pub use origin::Own;
pub(crate) use serve::Draining;
pub use serve::{Ending, serve};

/// What the API works on. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    /// What is deployed.
    pub catalog: Arc<dyn Catalog>,
    /// Judges modules.
    pub intake: Arc<dyn Intake>,
    /// Takes modules.
    pub uploads: Arc<dyn Uploads>,
    /// Copies all that is kept.
    pub backup: Arc<dyn Backup>,
    /// Asynchronous calls.
    pub calls: Arc<dyn CallQueue>,
    /// Gets modules from registries.
    pub images: Arc<dyn Images>,
    /// What a namespace uses now.
    pub usage: Arc<dyn Fn(&Label) -> Usage + Send + Sync>,
    /// What is kept for functions and not shown.
    pub secrets: Arc<dyn Secrets>,
    /// What calls did.
    pub observer: Observer,
    /// What guests wrote.
    pub logs: Logs,
    /// Who controlled what.
    pub audit: Audit,
    /// Resolves once the gateway answers by this version of the catalog or a later one.
    pub applied: Arc<dyn Fn(u64) -> BoxFuture<'static, ()> + Send + Sync>,
    /// Where functions are called, `http://127.0.0.1:8080`, without a slash at its end.
    pub gateway_url: String,
    /// dhow's version.
    pub version: &'static str,
    /// Who may use the API: written here, read by `credentials`.
    pub tokens: Arc<dyn Tokens>,
    /// What a request has to show.
    pub credentials: Credentials,
    /// Under which addresses the API's own listener is reached.
    pub own: Own,
    /// The most bytes of a module.
    pub upload_limit: u64,
    /// Held while a function changes, until what hangs on it has followed: a deletion that is
    /// tidying up must not take a successor's figures and log for its own.
    pub changing: Arc<Mutex<()>>,
}

/// The API as an HTTP service. Serve it with [`serve`].
pub fn router(admin: Admin) -> Router {
    let origin = middleware::from_fn_with_state(admin.own, origin::guard);
    let credentials = middleware::from_fn_with_state(admin.credentials.clone(), credentials::guard);
    let auditor = audit::Auditor::new(admin.audit.clone());
    endpoints()
        .into_iter()
        .fold(Router::new(), |router, (_, path, handler)| router.route(path, handler))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(credentials)
        // Around the other: a stranger's page does not even learn whether credentials are asked.
        .layer(origin)
        // Outside of whatever refuses, so that refusals have their record.
        .layer(middleware::from_fn_with_state(auditor, audit::watch))
        .with_state(admin)
}

/// Everything that is answered: each method of each path.
fn endpoints() -> Vec<(Method, &'static str, MethodRouter<Admin>)> {
    const FUNCTION: &str = "/api/v1/namespaces/{namespace}/functions/{name}";
    const REVISIONS: &str = "/api/v1/namespaces/{namespace}/functions/{name}/revisions";
    const ROLLBACK: &str = "/api/v1/namespaces/{namespace}/functions/{name}/rollback";
    const TRAFFIC: &str = "/api/v1/namespaces/{namespace}/functions/{name}/traffic";
    const OUTCOMES: &str = "/api/v1/namespaces/{namespace}/functions/{name}/outcomes";
    const IMAGES: &str = "/api/v1/namespaces/{namespace}/images";
    const QUOTA: &str = "/api/v1/namespaces/{namespace}/quota";
    const SECRETS: &str = "/api/v1/namespaces/{namespace}/secrets";
    const SECRET: &str = "/api/v1/namespaces/{namespace}/secrets/{name}";
    const LOGS: &str = "/api/v1/namespaces/{namespace}/functions/{name}/logs";
    const CALLS: &str = "/api/v1/calls";
    const CALL: &str = "/api/v1/calls/{call}";
    vec![
        (Method::GET, "/healthz", routing::get(about::alive)),
        (Method::GET, "/readyz", routing::get(about::ready)),
        (Method::GET, "/api/v1/version", routing::get(about::version)),
        (Method::GET, "/api/v1/openapi.json", routing::get(about::openapi)),
        (Method::GET, "/api/v1/audit", routing::get(audit::read)),
        (Method::POST, "/api/v1/artifacts", routing::post(artifacts::upload)),
        (Method::GET, "/api/v1/backup", routing::get(backup::archive)),
        (Method::POST, IMAGES, images::route()),
        (Method::GET, "/api/v1/secrets", routing::get(secrets::list)),
        (Method::GET, SECRETS, routing::get(secrets::list_of_namespace)),
        (Method::PUT, SECRET, secrets::route()),
        (Method::DELETE, SECRET, routing::delete(secrets::delete)),
        (Method::GET, "/api/v1/functions", routing::get(functions::list)),
        (Method::GET, "/api/v1/stats", routing::get(stats::list)),
        (Method::GET, FUNCTION, routing::get(functions::show)),
        (Method::PUT, FUNCTION, deploy::route()),
        (Method::DELETE, FUNCTION, routing::delete(functions::delete)),
        (Method::GET, REVISIONS, routing::get(revisions::list)),
        (Method::POST, ROLLBACK, revisions::rollback_route()),
        (Method::PUT, TRAFFIC, revisions::split_route()),
        (Method::DELETE, TRAFFIC, revisions::clear_route()),
        (Method::GET, OUTCOMES, routing::get(calls::outcomes)),
        (Method::GET, LOGS, routing::get(logs::read)),
        (Method::GET, CALLS, routing::get(queue::list)),
        (Method::DELETE, CALLS, routing::delete(queue::purge)),
        (Method::GET, CALL, routing::get(queue::show)),
        (Method::DELETE, CALL, routing::delete(queue::cancel)),
        (Method::GET, "/api/v1/calls/{call}/result", routing::get(queue::result)),
        (Method::POST, "/api/v1/calls/{call}/retry", routing::post(queue::retry)),
        (Method::GET, "/api/v1/quotas", routing::get(quotas::list)),
        (Method::GET, QUOTA, routing::get(quotas::show)),
        (Method::PUT, QUOTA, routing::put(quotas::set)),
        (Method::DELETE, QUOTA, routing::delete(quotas::remove)),
        (Method::GET, "/api/v1/tokens", routing::get(tokens::list)),
        (Method::POST, "/api/v1/tokens", routing::post(tokens::create)),
        (Method::DELETE, "/api/v1/tokens/{name}", routing::delete(tokens::revoke)),
    ]
}

#[cfg(test)]
mod tests;
