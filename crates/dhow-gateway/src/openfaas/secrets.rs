//! Secrets: create, replace, list by name, delete. No answer has a value in it.

use axum::extract::{Query, State};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dhow_core::name::Label;
use dhow_core::secret::{OPAQUE, Secret, SecretName};
use dhow_core::token::Scope;
use dhow_dialects::openfaas::{self, shown};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::System;
use super::auth::allow;
use super::error::Refused;
use super::function::InNamespace;
use crate::admin::audit::Detail;
use crate::admin::credentials::Principal;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    value: Zeroizing<String>,
    /// In base64; it wins over `value`.
    #[serde(default)]
    raw_value: Zeroizing<String>,
}

/// The secrets of one namespace, by name.
pub(super) async fn list(
    State(system): State<System>,
    Extension(principal): Extension<Principal>,
    Query(query): Query<InNamespace>,
) -> Result<Json<Vec<Value>>, Refused> {
    let namespace = query.label()?;
    allow(&principal, Scope::Read, &namespace)?;
    let all = system.admin.secrets.list().await?;
    let there = all.into_iter().filter(|secret| secret.name.namespace == namespace);
    let shown = |name: Label| json!({"name": name.as_str(), "namespace": shown(&namespace)});
    Ok(Json(there.map(|secret| shown(secret.name.name)).collect()))
}

/// Keeps a secret that is not there.
pub(super) async fn create(
    State(system): State<System>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> Result<(Extension<Detail>, StatusCode), Refused> {
    let said = read(&body)?;
    let name = name(&said, &principal)?;
    let secret = secret(&name, &said)?;
    let detail = Detail(format!("{}.{}", name.name, name.namespace));
    let _turn = system.admin.changing.lock().await;
    if exists(&system, &name).await? {
        let message = format!("secret \"{}\" already exists", name.name);
        return Err(Refused::new(StatusCode::CONFLICT, message));
    }
    system.admin.secrets.put(name, secret).await?;
    Ok((Extension(detail), StatusCode::ACCEPTED))
}

/// Keeps another value of a secret that is there.
pub(super) async fn replace(
    State(system): State<System>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> Result<(Extension<Detail>, StatusCode), Refused> {
    let said = read(&body)?;
    let name = name(&said, &principal)?;
    let secret = secret(&name, &said)?;
    let detail = Detail(format!("{}.{}", name.name, name.namespace));
    let _turn = system.admin.changing.lock().await;
    if !exists(&system, &name).await? {
        return Err(missing(&name));
    }
    system.admin.secrets.put(name, secret).await?;
    Ok((Extension(detail), StatusCode::ACCEPTED))
}

pub(super) async fn delete(
    State(system): State<System>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> Result<(Extension<Detail>, StatusCode), Refused> {
    let name = name(&read(&body)?, &principal)?;
    let detail = Detail(format!("{}.{}", name.name, name.namespace));
    let _turn = system.admin.changing.lock().await;
    if !exists(&system, &name).await? {
        return Err(missing(&name));
    }
    system.admin.secrets.delete(name).await?;
    Ok((Extension(detail), StatusCode::ACCEPTED))
}

/// No message here quotes a value: a parser's own words might.
fn read(body: &[u8]) -> Result<Said, Refused> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Refused::invalid(format!("cannot parse the secret: line {line}, column {column}"))
    })
}

fn name(said: &Said, principal: &Principal) -> Result<SecretName, Refused> {
    let namespace = openfaas::namespace(&said.namespace)?;
    allow(principal, Scope::Deploy, &namespace)?;
    let name = said.name.parse().map_err(|error| {
        Refused::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the secret's name: {error}"))
    })?;
    Ok(SecretName { namespace, name })
}

/// One value, under the secret's own name: that of the file that functions read.
fn secret(name: &SecretName, said: &Said) -> Result<Secret, Refused> {
    let value = match said.raw_value.as_str() {
        "" => Zeroizing::new(said.value.as_bytes().to_vec()),
        raw => STANDARD
            .decode(raw)
            .map(Zeroizing::new)
            .map_err(|_| Refused::invalid("rawValue is not base64"))?,
    };
    let values = [(name.name.to_string(), value)].into();
    Secret::new(OPAQUE.to_owned(), values).map_err(|error| Refused::invalid(error.to_string()))
}

async fn exists(system: &System, name: &SecretName) -> Result<bool, Refused> {
    Ok(system.admin.secrets.list().await?.iter().any(|secret| secret.name == *name))
}

fn missing(name: &SecretName) -> Refused {
    let message = format!("secret \"{}\" not found in {}", name.name, shown(&name.namespace));
    Refused::new(StatusCode::NOT_FOUND, message)
}
