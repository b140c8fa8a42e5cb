//! Namespaces. One is there as soon as something is in it, and no longer.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use bytes::Bytes;
use dhow_core::name::Label;
use dhow_core::token::Scope;
use dhow_dialects::openfaas::{self, OPENFAAS_NAMESPACE, shown};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::System;
use super::auth::allow;
use super::error::Refused;
use crate::admin::credentials::Principal;

/// Those that the sender may see: of functions, secrets and quotas, and the default one.
pub(super) async fn list(
    State(system): State<System>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Vec<String>>, Refused> {
    let all = all(&system).await?;
    let seen = all.iter().filter(|namespace| principal.sees(namespace));
    Ok(Json(seen.map(|namespace| shown(namespace).to_owned()).collect()))
}

pub(super) async fn show(
    State(system): State<System>,
    Extension(principal): Extension<Principal>,
    Path(namespace): Path<String>,
) -> Result<Json<Value>, Refused> {
    let namespace = openfaas::namespace(&namespace)?;
    allow(&principal, Scope::Read, &namespace)?;
    if !all(&system).await?.contains(&namespace) {
        let message = format!("namespace {} not found", shown(&namespace));
        return Err(Refused::new(StatusCode::NOT_FOUND, message));
    }
    let annotations = json!({"openfaas": "1"});
    Ok(Json(json!({"name": shown(&namespace), "annotations": annotations, "labels": {}})))
}

#[derive(Deserialize)]
struct Wanted {
    name: String,
}

pub(super) async fn create(body: Bytes) -> Refused {
    match serde_json::from_slice::<Wanted>(&body) {
        Err(error) => Refused::invalid(format!("cannot parse request: {error}")),
        Ok(wanted) if wanted.name == OPENFAAS_NAMESPACE => {
            Refused::new(StatusCode::CONFLICT, format!("namespace {OPENFAAS_NAMESPACE} exists"))
        }
        Ok(_) => not_here(),
    }
}

pub(super) async fn change() -> Refused {
    not_here()
}

fn not_here() -> Refused {
    let message = "Feature not implemented: a namespace is there as soon as a function or a secret \
                   is in it";
    Refused::new(StatusCode::NOT_IMPLEMENTED, message)
}

async fn all(system: &System) -> Result<BTreeSet<Label>, Refused> {
    let snapshot = system.admin.catalog.snapshot();
    let functions = snapshot.functions.iter().map(|function| function.name.namespace.clone());
    let secrets = system.admin.secrets.list().await?;
    let secrets = secrets.into_iter().map(|secret| secret.name.namespace);
    let quotas = snapshot.quotas.keys().cloned();
    let all = functions.chain(secrets).chain(quotas);
    Ok(all.chain([Label::default_namespace()]).collect())
}
