//! What a function was and may be again: its kept revisions, rollbacks, and calls split by weight.

use std::collections::HashSet;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{self, MethodRouter};
use bytes::Bytes;
use dhow_core::digest::Digest;
use dhow_core::function::{Deployed, Kept};
use dhow_core::name::FunctionName;
use dhow_core::ports::CatalogError;
use dhow_core::traffic::{Share, Traffic};
use dhow_dialects::problem::FieldError;
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::deploy::MOST_MANIFEST;
use super::error::ApiError;
use super::path::Named;
use super::wire::{FunctionStatus, Items, RevisionStatus};
use super::{Admin, functions, time};

/// Which revision shall be in force.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rollback {
    /// Nothing is the one before that in force.
    to: Option<u64>,
}

/// How calls shall be spread.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weights {
    weights: Vec<Weight>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weight {
    revision: u64,
    weight: u32,
}

pub(super) fn rollback_route() -> MethodRouter<Admin> {
    routing::post(roll_back).layer(DefaultBodyLimit::max(MOST_MANIFEST))
}

pub(super) fn split_route() -> MethodRouter<Admin> {
    routing::put(split).layer(DefaultBodyLimit::max(MOST_MANIFEST))
}

pub(super) fn clear_route() -> MethodRouter<Admin> {
    routing::delete(clear)
}

/// Newest first.
pub(super) async fn list(
    State(admin): State<Admin>,
    Named(name): Named,
) -> Result<Json<Items<RevisionStatus>>, ApiError> {
    let kept = admin.catalog.revisions(name.clone()).await?;
    let function = functions::find(&admin, &name)?;
    let view = admin.observer.function(&name);
    let counts = |number| view.as_ref().map(|view| view.revision(number)).unwrap_or_default();
    let item = |one: &Kept| RevisionStatus::new(one, &function, counts(one.revision.number));
    Ok(Json(Items { items: kept.iter().map(item).collect() }))
}

/// Returns once the gateway answers by the earlier revision.
async fn roll_back(
    State(admin): State<Admin>,
    Named(name): Named,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<FunctionStatus>, ApiError> {
    let Rollback { to } = read(&body?)?.unwrap_or_default();
    let kept = admin.catalog.revisions(name.clone()).await?;
    let current = functions::find(&admin, &name)?.revision.number;
    let to = match to {
        Some(to) => to,
        None => before(&kept, current).ok_or_else(|| no_earlier(&name, current))?,
    };
    make_ready(&admin, &kept, |number| number == to).await?;
    let _turn = admin.changing.lock().await;
    let deployed = admin.catalog.roll_back(name, to, time::now_ms()).await?;
    applied(&admin, &deployed).await
}

/// Returns once the gateway spreads calls by these weights.
async fn split(
    State(admin): State<Admin>,
    Named(name): Named,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<FunctionStatus>, ApiError> {
    let missing = || ApiError::invalid("the body is empty; say the `weights`", vec![]);
    let Weights { weights } = read(&body?)?.ok_or_else(missing)?;
    let share = |said: Weight| Share { revision: said.revision, weight: said.weight };
    let traffic = Traffic::new(weights.into_iter().map(share).collect()).map_err(|error| {
        let field = FieldError::new("weights", error.to_string());
        ApiError::invalid("the weights are not valid", vec![field])
    })?;
    let kept = admin.catalog.revisions(name.clone()).await?;
    let answers = |number| {
        let is_it = |share: &Share| share.revision == number && share.weight > 0;
        traffic.shares().iter().any(is_it)
    };
    make_ready(&admin, &kept, answers).await?;
    change(&admin, name, traffic.clone()).await
}

/// Returns once every call goes to the revision in force.
async fn clear(
    State(admin): State<Admin>,
    Named(name): Named,
) -> Result<Json<FunctionStatus>, ApiError> {
    change(&admin, name, Traffic::default()).await
}

async fn change(
    admin: &Admin,
    name: FunctionName,
    traffic: Traffic,
) -> Result<Json<FunctionStatus>, ApiError> {
    let _turn = admin.changing.lock().await;
    let deployed = admin.catalog.split(name, traffic).await?;
    applied(admin, &deployed).await
}

async fn applied(admin: &Admin, deployed: &Deployed) -> Result<Json<FunctionStatus>, ApiError> {
    (admin.applied)(admin.catalog.snapshot().version).await;
    Ok(Json(functions::status(admin, deployed)))
}

/// Sees to it that the code of revisions that shall answer is held and compiled: an old revision
/// must not come into force and then not answer.
async fn make_ready(
    admin: &Admin,
    kept: &[Kept],
    shall_answer: impl Fn(u64) -> bool,
) -> Result<(), ApiError> {
    let wanted = kept.iter().map(|one| &one.revision).filter(|one| shall_answer(one.number));
    let digests: HashSet<Digest> = wanted.map(|revision| revision.digest).collect();
    for digest in digests {
        admin.intake.admit(&digest, &|_| {}).await?;
    }
    Ok(())
}

/// The revision before `current`, of those that are kept.
fn before(kept: &[Kept], current: u64) -> Option<u64> {
    kept.iter().map(|one| one.revision.number).filter(|number| *number < current).max()
}

fn no_earlier(name: &FunctionName, current: u64) -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "no-revision",
        format!("no revision of `{name}` from before {current} is kept"),
        format!("`dhow versions {name}` lists those that are; name one with --to"),
    )
}

pub(super) fn no_revision(error: &CatalogError, function: &FunctionName) -> ApiError {
    let hint = format!("`dhow versions {function}` lists those that are kept");
    ApiError::new(StatusCode::NOT_FOUND, "no-revision", error.to_string(), hint)
}

/// Reads a body of JSON; an empty one is nothing.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Option<T>, ApiError> {
    if body.is_empty() {
        return Ok(None);
    }
    let read = serde_json::from_slice(body);
    read.map(Some).map_err(|error| ApiError::invalid(format!("the body: {error}"), vec![]))
}
