//! Functions: list, deploy, deploy again, delete.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use dhow_core::function::{Function, Source};
use dhow_core::name::Label;
use dhow_core::plan::routes::Reach;
use dhow_core::secret::DOCKER_CONFIG_JSON;
use dhow_core::token::Scope;
use dhow_dialects::openfaas::{self, Meant, shown};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::System;
use super::auth::allow;
use super::error::Refused;
use super::function::{InNamespace, named, seen};
use crate::admin::audit::Detail;
use crate::admin::credentials::Principal;
use crate::admin::{deploy, functions};

/// What of a deployment has no effect here, one sentence a header.
const NOTE: HeaderName = HeaderName::from_static("x-dhow-note");

/// The functions of one namespace, by name.
pub(super) async fn list(
    State(system): State<System>,
    Extension(principal): Extension<Principal>,
    Query(query): Query<InNamespace>,
) -> Result<Json<Vec<Value>>, Refused> {
    let namespace = query.label()?;
    allow(&principal, Scope::Read, &namespace)?;
    let snapshot = system.admin.catalog.snapshot();
    let there = snapshot.functions.iter().filter(|one| one.name.namespace == namespace);
    Ok(Json(there.map(|one| openfaas::status(one, &seen(&system, one))).collect()))
}

/// Deploys a function that is not there.
pub(super) async fn create(
    State(system): State<System>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> Result<Response, Refused> {
    let meant = read(&body, &principal)?;
    let name = &meant.function.name;
    if functions::find(&system.admin, name).is_ok() {
        // What Kubernetes' own error becomes over there.
        let message = format!("functions \"{}\" already exists", name.name);
        return Err(Refused::new(StatusCode::INTERNAL_SERVER_ERROR, message));
    }
    put(&system, meant).await
}

/// Deploys another version of a function. Clients go by the 404 of one that is not there.
pub(super) async fn update(
    State(system): State<System>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> Result<Response, Refused> {
    let meant = read(&body, &principal)?;
    super::function::find(&system, &meant.function.name)?;
    put(&system, meant).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Doomed {
    function_name: String,
    #[serde(default)]
    namespace: String,
}

pub(super) async fn delete(
    State(system): State<System>,
    Extension(principal): Extension<Principal>,
    Query(query): Query<InNamespace>,
    body: Bytes,
) -> Result<(Extension<Detail>, StatusCode), Refused> {
    let Doomed { function_name, namespace } = serde_json::from_slice(&body)
        .map_err(|error| Refused::invalid(format!("cannot parse request: {error}")))?;
    if function_name.is_empty() {
        return Err(Refused::invalid("functionName is empty"));
    }
    let namespace = if namespace.is_empty() { query.namespace } else { namespace };
    let name = named(&function_name, &namespace)?;
    allow(&principal, Scope::Deploy, &name.namespace)?;
    super::function::find(&system, &name)?;
    functions::delete_all(system.admin, name.clone()).await?;
    Ok((Extension(Detail(name.to_string())), StatusCode::ACCEPTED))
}

fn read(body: &[u8], principal: &Principal) -> Result<Meant, Refused> {
    let text = std::str::from_utf8(body).map_err(|_| Refused::invalid("the body is not UTF-8"))?;
    let meant = openfaas::parse_deployment(text)?;
    allow(principal, Scope::Deploy, &meant.function.name.namespace)?;
    Ok(meant)
}

async fn put(system: &System, meant: Meant) -> Result<Response, Refused> {
    let Meant { mut function, notes, secrets } = meant;
    give_secrets(system, &mut function, &secrets).await?;
    for note in &notes {
        tracing::info!(function = %function.name, "{note}");
    }
    // It has no routes but its own.
    let (deployed, _) = deploy::put_in_force(&system.admin, function, Reach::Namespace).await?;
    let detail = Detail(format!("{}, revision {}", deployed.name, deployed.revision.number));
    let mut response = (Extension(detail), StatusCode::ACCEPTED).into_response();
    for note in notes {
        if let Ok(note) = HeaderValue::try_from(note) {
            response.headers_mut().append(NOTE, note);
        }
    }
    Ok(response)
}

/// Makes sure that every secret is there. Those for registries are the image's, not the guest's.
async fn give_secrets(
    system: &System,
    function: &mut Function,
    secrets: &[Label],
) -> Result<(), Refused> {
    if secrets.is_empty() {
        return Ok(());
    }
    let namespace = function.name.namespace.clone();
    let known = system.admin.secrets.list().await?;
    let mut pull_secrets = vec![];
    for secret in secrets {
        let found = known
            .iter()
            .find(|one| one.name.namespace == namespace && one.name.name == *secret)
            .ok_or_else(|| {
                let namespace = shown(&namespace);
                Refused::invalid(format!("secret {secret} was not found in {namespace}"))
            })?;
        if found.kind == DOCKER_CONFIG_JSON {
            pull_secrets.push(secret.clone());
        }
    }
    function.template.grants.secrets.retain(|secret| !pull_secrets.contains(secret));
    if let Source::Image(image) = &mut function.source {
        image.pull_secrets = pull_secrets;
    }
    Ok(())
}
