//! One function, and what it does at this moment.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use dhow_core::function::Deployed;
use dhow_core::name::{FunctionName, Label};
use dhow_core::token::Scope;
use dhow_dialects::openfaas::{self, Load, Seen};
use serde::Deserialize;
use serde_json::Value;

use super::System;
use super::auth::allow;
use super::error::Refused;
use crate::admin::credentials::Principal;
use crate::admin::{functions, time};
use crate::observer::Which;

/// Parameters that nobody knows are passed over, as OpenFaaS does it: clients differ in them.
#[derive(Deserialize)]
pub(super) struct InNamespace {
    #[serde(default)]
    pub(super) namespace: String,
}

impl InNamespace {
    pub(super) fn label(&self) -> Result<Label, Refused> {
        Ok(openfaas::namespace(&self.namespace)?)
    }
}

pub(super) async fn show(
    State(system): State<System>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    Query(query): Query<InNamespace>,
) -> Result<Json<Value>, Refused> {
    let name = named(&name, &query.namespace)?;
    allow(&principal, Scope::Read, &name.namespace)?;
    let function = find(&system, &name)?;
    Ok(Json(openfaas::status(&function, &seen(&system, &function))))
}

/// The function `name`, or `name.namespace`, as clients write it.
pub(super) fn named(name: &str, namespace: &str) -> Result<FunctionName, Refused> {
    let (name, suffix) = name.split_once('.').unwrap_or((name, ""));
    let namespace = if namespace.is_empty() { suffix } else { namespace };
    Ok(FunctionName { namespace: openfaas::namespace(namespace)?, name: name.parse()? })
}

pub(super) fn find(system: &System, name: &FunctionName) -> Result<Arc<Deployed>, Refused> {
    functions::find(&system.admin, name).map_err(|_| Refused::no_function(name))
}

/// What is known of a function besides what was deployed.
pub(super) fn seen(system: &System, function: &Deployed) -> Seen {
    let view = system.admin.observer.function(&function.name);
    let load = load(system, function);
    let created = (function.deployed_ms > 0).then(|| time::rfc3339(function.deployed_ms));
    Seen { calls: view.map_or(0, |view| view.calls), load, created }
}

/// How many replicas each function has that was deployed as one of OpenFaaS'.
pub(super) fn replicas(system: &System) -> Vec<(FunctionName, u32)> {
    let snapshot = system.admin.catalog.snapshot();
    let number = |function: &Arc<Deployed>| {
        let replicas = openfaas::replicas(function, load(system, function));
        (function.name.clone(), replicas)
    };
    let marked = |function: &&Arc<Deployed>| openfaas::is_marked(function.metadata.as_deref());
    snapshot.functions.iter().filter(marked).map(number).collect()
}

/// What a function does now.
pub(super) fn load(system: &System, function: &Deployed) -> Load {
    let view = system.admin.observer.function(&function.name);
    let last = view.as_ref().and_then(|view| view.outcomes(Which::All, 1, None).pop());
    Load {
        in_flight: view.map_or(0, |view| view.in_flight),
        last_call_ms: last.map(|(_, ended_ms)| ended_ms),
        since_ms: function.deployed_ms.max(system.started_ms),
        now_ms: time::now_ms(),
        scaled: None,
    }
}
