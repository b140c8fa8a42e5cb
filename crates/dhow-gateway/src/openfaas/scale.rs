//! The number of replicas, by hand.

use axum::Extension;
use axum::extract::{Path, Query, State};
use bytes::Bytes;
use dhow_core::function::Deployed;
use dhow_core::name::FunctionName;
use dhow_core::token::Scope;
use dhow_dialects::openfaas::{Extra, MARK, Scaled};
use http::StatusCode;
use serde::Deserialize;

use super::System;
use super::auth::allow;
use super::error::Refused;
use super::function::{InNamespace, find, named};
use crate::admin::credentials::Principal;
use crate::admin::{deploy, time};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    replicas: u32,
    #[serde(default)]
    namespace: String,
}

/// Sets the number that holds until the next deploy. 0 sends the function to sleep until it is
/// called.
pub(super) async fn scale(
    State(system): State<System>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    Query(query): Query<InNamespace>,
    body: Bytes,
) -> Result<StatusCode, Refused> {
    let Wanted { replicas, namespace } = serde_json::from_slice(&body)
        .map_err(|error| Refused::invalid(format!("cannot parse request: {error}")))?;
    let namespace = if namespace.is_empty() { query.namespace } else { namespace };
    let name = named(&name, &namespace)?;
    allow(&principal, Scope::Deploy, &name.namespace)?;
    set(&system, &name, |_| replicas).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Writes down the number that `decide` makes of what is known of the function, durably.
pub(super) async fn set(
    system: &System,
    name: &FunctionName,
    decide: impl FnOnce(&Deployed) -> u32,
) -> Result<(), Refused> {
    let _turn = system.admin.changing.lock().await;
    let function = find(system, name)?;
    let mut metadata = function.metadata.as_deref().cloned().unwrap_or_default();
    let Some(mark) = metadata.annotations.get_mut(MARK) else {
        let message = format!(
            "{} was not deployed as one of OpenFaaS' functions and has no replicas to set",
            name.name
        );
        return Err(Refused::invalid(message));
    };
    let replicas = decide(&function);
    let scaled = Some(Scaled { replicas, at_ms: time::now_ms() });
    *mark = Extra { scaled, ..Extra::decode(mark) }.encode();
    deploy::note(&system.admin, &function, metadata).await?;
    Ok(())
}
