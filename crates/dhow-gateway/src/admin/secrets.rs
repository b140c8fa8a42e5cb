//! Secrets: put, list by name, delete. No answer has a value in it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{self, MethodRouter};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dhow_core::ports::SecretsError;
use dhow_core::secret::{
    DOCKER_CONFIG_JSON, DOCKER_CONFIG_KEY, MOST_BYTES, OPAQUE, Secret, SecretName, SecretSummary,
};
use dhow_dialects::problem::FieldError;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Admin;
use super::error::ApiError;
use super::path::{Named, Namespace};
use super::wire::Items;

/// Bytes of a request: values in base64, and what is around them.
const MOST_REQUEST: usize = MOST_BYTES / 3 * 4 + (64 << 10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    #[serde(rename = "type")]
    kind: Option<String>,
    /// In base64.
    data: BTreeMap<String, Zeroizing<String>>,
}

/// What may be told of a secret.
#[derive(Debug, Serialize)]
pub(super) struct SecretStatus {
    name: String,
    namespace: String,
    #[serde(rename = "type")]
    kind: String,
    keys: Vec<String>,
}

pub(super) fn route() -> MethodRouter<Admin> {
    routing::put(put).layer(DefaultBodyLimit::max(MOST_REQUEST))
}

async fn put(
    State(admin): State<Admin>,
    Named(name): Named,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<SecretStatus>, ApiError> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large(MOST_REQUEST as u64),
        _ => ApiError::invalid(rejection.body_text(), vec![]),
    })?;
    let secret = read(&body)?;
    let name = SecretName { namespace: name.namespace, name: name.name };
    let keys = secret.values.keys().cloned().collect();
    let summary = SecretSummary { name: name.clone(), kind: secret.kind.clone(), keys };
    admin.secrets.put(name, secret).await?;
    Ok(Json(summary.into()))
}

/// Every secret, by namespace and name.
pub(super) async fn list(
    State(admin): State<Admin>,
) -> Result<Json<Items<SecretStatus>>, ApiError> {
    let all = admin.secrets.list().await?;
    Ok(Json(Items { items: all.into_iter().map(SecretStatus::from).collect() }))
}

/// Those of one namespace, by name.
pub(super) async fn list_of_namespace(
    State(admin): State<Admin>,
    Namespace(namespace): Namespace,
) -> Result<Json<Items<SecretStatus>>, ApiError> {
    let all = admin.secrets.list().await?;
    let of = all.into_iter().filter(|secret| secret.name.namespace == namespace);
    Ok(Json(Items { items: of.map(SecretStatus::from).collect() }))
}

pub(super) async fn delete(
    State(admin): State<Admin>,
    Named(name): Named,
) -> Result<StatusCode, ApiError> {
    admin.secrets.delete(SecretName { namespace: name.namespace, name: name.name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// No message here quotes a value: a parser's own words might.
fn read(body: &[u8]) -> Result<Secret, ApiError> {
    let Manifest { kind, data } = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = format!(
            "the secret is not {{\"type\": …, \"data\": {{KEY: BASE64}}}}: line {line}, column {column}"
        );
        ApiError::invalid(message, vec![])
    })?;
    let mut values = BTreeMap::new();
    let mut wrong = Vec::new();
    for (key, text) in data {
        match STANDARD.decode(text.as_bytes()) {
            Ok(value) => drop(values.insert(key, Zeroizing::new(value))),
            Err(_) => wrong.push(FieldError::new(format!("data.{key}"), "is not base64")),
        }
    }
    let kind = kind.unwrap_or_else(|| OPAQUE.to_owned());
    if kind == DOCKER_CONFIG_JSON && wrong.is_empty() && !values.contains_key(DOCKER_CONFIG_KEY) {
        let message = format!("a secret of the type {kind} has the key {DOCKER_CONFIG_KEY}");
        wrong.push(FieldError::new("data", message));
    }
    if !wrong.is_empty() {
        return Err(ApiError::invalid("the secret is not valid", wrong));
    }
    Secret::new(kind, values).map_err(|error| {
        ApiError::invalid(error.to_string(), vec![FieldError::new("data", error.to_string())])
    })
}

impl From<SecretSummary> for SecretStatus {
    fn from(summary: SecretSummary) -> Self {
        let SecretSummary { name, kind, keys } = summary;
        Self { name: name.name.to_string(), namespace: name.namespace.to_string(), kind, keys }
    }
}

impl From<SecretsError> for ApiError {
    fn from(error: SecretsError) -> Self {
        match error {
            SecretsError::NotFound(_) => Self::new(
                StatusCode::NOT_FOUND,
                "not-found",
                error.to_string(),
                "`dhow secret list` shows what there is",
            ),
            SecretsError::Full => Self::storage_full(),
            SecretsError::Storage(_) => Self::internal(error),
        }
    }
}
