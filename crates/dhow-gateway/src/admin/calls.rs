//! What the last calls of a function did.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use dhow_core::call::CallId;
use serde::Deserialize;

use super::Admin;
use super::error::ApiError;
use super::functions::find;
use super::path::Named;
use super::wire::{CallOutcome, Items};
use crate::observer::Which;

/// How many outcomes are told when nobody says.
const DEFAULT_LIMIT: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutcomeQuery {
    limit: Option<usize>,
    call: Option<String>,
    #[serde(default)]
    only: Only,
}

/// Which outcomes are asked for.
#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Only {
    #[default]
    All,
    Failed,
    Cold,
}

/// Newest first. A call that is not remembered is an empty list.
pub(super) async fn outcomes(
    State(admin): State<Admin>,
    Named(name): Named,
    query: Result<Query<OutcomeQuery>, QueryRejection>,
) -> Result<Json<Items<CallOutcome>>, ApiError> {
    let Query(OutcomeQuery { limit, call, only }) = query?;
    let which = match only {
        Only::All => Which::All,
        Only::Failed => Which::Failed,
        Only::Cold => Which::Cold,
    };
    let call = call.map(|text| call_id(&text)).transpose()?;
    find(&admin, &name)?;
    let outcomes = match admin.observer.function(&name) {
        Some(view) => view.outcomes(which, limit.unwrap_or(DEFAULT_LIMIT), call),
        None => vec![],
    };
    let items =
        outcomes.into_iter().map(|(outcome, ended)| CallOutcome::new(outcome, ended)).collect();
    Ok(Json(Items { items }))
}

/// Reads the parameter `call`.
pub(super) fn call_id(text: &str) -> Result<CallId, ApiError> {
    CallId::parse(text)
        .ok_or_else(|| ApiError::parameter("call", "must be a call id: 32 hex digits"))
}
