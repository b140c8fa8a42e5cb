//! Alerts as Prometheus' AlertManager posts them: each that fires adds replicas to its function,
//! each that is over takes them away.

use axum::Extension;
use axum::extract::State;
use bytes::Bytes;
use dhow_core::function::Deployed;
use dhow_core::token::Scope;
use dhow_dialects::openfaas;
use http::StatusCode;
use serde::Deserialize;

use super::System;
use super::auth::allow;
use super::error::Refused;
use super::function::{load, named};
use super::scale;
use crate::admin::credentials::Principal;

/// The status of an alert that goes on.
const FIRING: &str = "firing";

#[derive(Deserialize)]
struct Alerts {
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    status: String,
    labels: Labels,
}

#[derive(Deserialize)]
struct Labels {
    function_name: String,
}

/// Sees to every alert; what goes wrong with one does not stop the others.
pub(super) async fn receive(
    State(system): State<System>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> Result<StatusCode, Refused> {
    let Alerts { alerts } = serde_json::from_slice(&body)
        .map_err(|error| Refused::invalid(format!("cannot parse alert: {error}")))?;
    let mut wrong = vec![];
    for alert in alerts {
        let name = &alert.labels.function_name;
        if let Err(refused) = see_to(&system, &principal, &alert).await {
            wrong.push(format!("{name}: {refused}"));
        }
    }
    if wrong.is_empty() {
        return Ok(StatusCode::OK);
    }
    Err(Refused::new(StatusCode::INTERNAL_SERVER_ERROR, wrong.join("; ")))
}

async fn see_to(system: &System, principal: &Principal, alert: &Alert) -> Result<(), Refused> {
    let name = named(&alert.labels.function_name, "")?;
    allow(principal, Scope::Deploy, &name.namespace)?;
    let decide = |function: &Deployed| {
        let now = openfaas::replicas(function, load(system, function));
        openfaas::scaling(function).alerted(now, alert.status == FIRING)
    };
    scale::set(system, &name, decide).await
}
