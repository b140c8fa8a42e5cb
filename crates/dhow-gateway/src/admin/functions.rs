//! Functions that are deployed: list, show, delete.

use std::io;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::{Extension, Json};
use dhow_core::function::Deployed;
use dhow_core::name::FunctionName;
use http::StatusCode;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::Admin;
use super::credentials::Principal;
use super::error::ApiError;
use super::path::{Named, label};
use super::wire::{Counters, FunctionStatus, Items};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    pub(super) namespace: Option<String>,
}

/// Every function that the sender may see, or those of one namespace, by name.
pub(super) async fn list(
    State(admin): State<Admin>,
    Extension(principal): Extension<Principal>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Items<FunctionStatus>>, ApiError> {
    let Query(ListQuery { namespace }) = query?;
    let namespace = namespace.map(|text| label("namespace", &text)).transpose()?;
    let snapshot = admin.catalog.snapshot();
    let items = snapshot
        .functions
        .iter()
        .filter(|function| namespace.as_ref().is_none_or(|only| function.name.namespace == *only))
        .filter(|function| principal.sees(&function.name.namespace))
        .map(|function| status(&admin, function))
        .collect();
    Ok(Json(Items { items }))
}

pub(super) async fn show(
    State(admin): State<Admin>,
    Named(name): Named,
) -> Result<Json<FunctionStatus>, ApiError> {
    Ok(Json(status(&admin, &*find(&admin, &name)?)))
}

/// Returns once the gateway no longer answers for it. What it counted and wrote goes too.
pub(super) async fn delete(
    State(admin): State<Admin>,
    Named(name): Named,
) -> Result<StatusCode, ApiError> {
    // In a task of its own: a client that goes away must not leave it half done.
    let deleted = tokio::spawn(delete_all(admin, name)).await;
    deleted.unwrap_or_else(|error| Err(ApiError::internal(error.to_string())))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns once nothing is left of it.
pub(crate) async fn delete_all(admin: Admin, name: FunctionName) -> Result<(), ApiError> {
    let _turn = admin.changing.lock().await;
    admin.catalog.delete(name.clone()).await?;
    (admin.applied)(admin.catalog.snapshot().version).await;
    admin.observer.forget(&name);
    let (logs, of) = (admin.logs.clone(), name.clone());
    // It waits for the writer of logs, which may be busy.
    let removed = spawn_blocking(move || logs.remove(&of)).await;
    removed.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| {
        ApiError::internal(format!("`{name}` is deleted, but its log is not: {error}"))
    })
}

pub(crate) fn find(admin: &Admin, name: &FunctionName) -> Result<Arc<Deployed>, ApiError> {
    let snapshot = admin.catalog.snapshot();
    let found = snapshot.functions.binary_search_by(|function| function.name.cmp(name));
    found
        .map(|index| Arc::clone(&snapshot.functions[index]))
        .map_err(|_| ApiError::no_function(name))
}

pub(super) fn status(admin: &Admin, function: &Deployed) -> FunctionStatus {
    let view = admin.observer.function(&function.name);
    let counters = view
        .map(|view| Counters {
            in_flight: view.in_flight,
            calls: view.calls,
            failures: view.failures,
        })
        .unwrap_or_default();
    FunctionStatus::new(function, counters, &admin.gateway_url)
}
