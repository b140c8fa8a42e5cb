//! What functions do, in figures that only grow: whoever asks twice sees what happened between.

use std::sync::LazyLock;
use std::time::Instant;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::{Extension, Json};

use super::Admin;
use super::credentials::Principal;
use super::error::ApiError;
use super::functions::ListQuery;
use super::path::label;
use super::wire::{FunctionStats, Stats, micros};

/// The functions that were called since the server started, and that the sender may see, by name.
pub(super) async fn list(
    State(admin): State<Admin>,
    Extension(principal): Extension<Principal>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Stats>, ApiError> {
    let Query(ListQuery { namespace }) = query?;
    let namespace = namespace.map(|text| label("namespace", &text)).transpose()?;
    let snapshot = admin.catalog.snapshot();
    let items = snapshot
        .functions
        .iter()
        .filter(|function| namespace.as_ref().is_none_or(|only| function.name.namespace == *only))
        .filter(|function| principal.sees(&function.name.namespace))
        .filter_map(|function| {
            let view = admin.observer.function(&function.name)?;
            let called = view.calls + view.in_flight > 0;
            called.then(|| FunctionStats::new(&function.name, &view))
        })
        .collect();
    Ok(Json(Stats { at_us: at_us(), items }))
}

/// A clock for rates: it never goes back, and says nothing of the time of day.
fn at_us() -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    micros(BEGAN.elapsed())
}
