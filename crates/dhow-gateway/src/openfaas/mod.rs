//! OpenFaaS' REST API on the data port: `/system/*`, for the clients that people have.
//!
//! One file per resource. What a deployment means is `dhow-dialects`' matter; what is done about it
//! is done as the admin API does it, over the same ports. `auth` lets in who may come, `error` has
//! the answers' form (text), [`door`] joins it all to the data port. Beside it [`visit`] has what
//! functions that were deployed in this way hear and say more than others.

mod alert;
mod auth;
pub mod door;
mod error;
mod function;
mod functions;
mod info;
mod logs;
mod namespaces;
mod scale;
mod secrets;
pub(crate) mod visit;

use axum::routing::{get, post};
use axum::{Router, middleware};

use dhow_core::name::FunctionName;

use crate::admin::audit::{Auditor, watch};
use crate::admin::{Admin, Credentials, Own};

/// What the API works on. Cheap to clone.
#[derive(Clone)]
pub struct System {
    /// What the admin API works on, too.
    pub admin: Admin,
    /// What a request has to show on the data port.
    pub credentials: Credentials,
    /// Under which addresses the data port is reached.
    pub own: Own,
    /// When this server began, milliseconds since 1970.
    pub started_ms: u64,
}

impl System {
    /// How many replicas each function has that was deployed by way of OpenFaaS, for metrics.
    pub fn replicas(&self) -> Vec<(FunctionName, u32)> {
        function::replicas(self)
    }
}

/// Every route below `/system/`.
fn router(system: System) -> Router {
    let guard = middleware::from_fn_with_state(system.clone(), auth::guard);
    let auditor = middleware::from_fn_with_state(Auditor::new(system.admin.audit.clone()), watch);
    let functions = get(functions::list)
        .post(functions::create)
        .put(functions::update)
        .delete(functions::delete);
    let secrets =
        get(secrets::list).post(secrets::create).put(secrets::replace).delete(secrets::delete);
    let namespace = get(namespaces::show)
        .post(namespaces::change)
        .put(namespaces::change)
        .delete(namespaces::change);
    Router::new()
        .route("/system/info", get(info::show))
        .route("/system/functions", functions)
        .route("/system/function/{name}", get(function::show))
        .route("/system/scale-function/{name}", post(scale::scale))
        .route("/system/alert", post(alert::receive))
        .route("/system/secrets", secrets)
        .route("/system/namespaces", get(namespaces::list))
        .route("/system/namespace/", post(namespaces::create))
        .route("/system/namespace/{namespace}", namespace)
        .route("/system/logs", get(logs::read))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(guard)
        // Outside of whatever refuses, so that refusals have their record.
        .layer(auditor)
        .with_state(system)
}
