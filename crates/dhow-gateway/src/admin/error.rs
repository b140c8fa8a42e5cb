//! The one shape of a refusal: `{"error", "reason", "hint", "fields"}`.

use std::fmt::Display;

use axum::extract::rejection::{BytesRejection, JsonRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use dhow_core::name::FunctionName;
use dhow_core::ports::{CatalogError, Refusal, TokenError, UploadError};
use dhow_core::queue::QueueError;
use dhow_dialects::problem::FieldError;
use http::{Method, StatusCode, Uri};

use super::{revisions, wire};

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// A stable short name.
    pub(crate) reason: &'static str,
    /// What happened, and why.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: String,
    /// The fields that are wrong.
    pub(crate) fields: Vec<FieldError>,
}

impl ApiError {
    pub(super) fn new(
        status: StatusCode,
        reason: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { status, reason, message: message.into(), hint: hint.into(), fields: vec![] }
    }

    /// What was sent makes no sense.
    pub(super) fn invalid(message: impl Into<String>, fields: Vec<FieldError>) -> Self {
        let hint = if fields.is_empty() {
            "/api/v1/openapi.json describes every request"
        } else {
            "correct the fields that are named; nothing was changed"
        };
        Self { fields, ..Self::new(StatusCode::BAD_REQUEST, "invalid", message, hint) }
    }

    /// One parameter makes no sense.
    pub(super) fn parameter(name: &str, message: impl Display) -> Self {
        let field = FieldError::new(name, message.to_string());
        Self::invalid(format!("the parameter {field}"), vec![field])
    }

    /// The function can't be what the manifest says, with this module.
    pub(super) fn unfit(reason: &'static str, field: FieldError, hint: &str) -> Self {
        let message = format!("the module does not fit the manifest: {field}");
        let error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, reason, message, hint);
        Self { fields: vec![field], ..error }
    }

    pub(super) fn no_function(name: &FunctionName) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            format!("there is no function `{}` in the namespace `{}`", name.name, name.namespace),
            "`dhow list` shows what is deployed",
        )
    }

    pub(super) fn storage_full() -> Self {
        Self::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "storage-full",
            "the disk is full, nothing was kept",
            "free disk space under the data folder",
        )
    }

    /// Ours to mend. `what` says what failed, without a person's data.
    pub(super) fn internal(what: impl Display) -> Self {
        tracing::error!(error = %what, "a request to the admin API failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            what.to_string(),
            "the server's own log says more",
        )
    }

    pub(super) fn too_large(most: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload-too-large",
            format!("the body has more than {most} bytes, the most that is taken"),
            "send less",
        )
    }
}

/// The stable short name of a refusal: every one has it as an extension.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reason(pub(super) &'static str);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let reason = Extension(Reason(self.reason));
        (self.status, reason, Json(wire::Problem::from(self))).into_response()
    }
}

impl From<CatalogError> for ApiError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::NotFound(name) => Self::no_function(&name),
            CatalogError::NoRevision { ref function, .. } => {
                revisions::no_revision(&error, function)
            }
            CatalogError::Conflict(conflict) => {
                let hint = format!(
                    "take another route, or `dhow delete {}`, or deploy it without this route",
                    conflict.owner
                );
                let field = FieldError::new("spec.routes", conflict.to_string());
                let message = conflict.to_string();
                Self {
                    fields: vec![field],
                    ..Self::new(StatusCode::CONFLICT, "conflict", message, hint)
                }
            }
            CatalogError::Quota(refused) => {
                let hint = "delete one, or raise the quota: `dhow quota list` shows it";
                Self::new(StatusCode::FORBIDDEN, "quota-functions", refused.to_string(), hint)
            }
            CatalogError::Full => Self::storage_full(),
            CatalogError::Storage(_) => Self::internal(error),
        }
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        let message = error.to_string();
        match error {
            QueueError::NotFound(_) => Self::new(
                StatusCode::NOT_FOUND,
                "not-found",
                message,
                "`dhow calls list` shows the calls that are kept; one that is done is forgotten, \
                 unless its result was asked for",
            ),
            QueueError::Conflict { .. } => Self::new(
                StatusCode::CONFLICT,
                "conflict",
                message,
                "`dhow calls show` tells where it stands",
            ),
            QueueError::Full => Self::storage_full(),
            QueueError::LeaseLost | QueueError::Storage(_) => Self::internal(message),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { reason, message, hint } = refusal;
        let status = match reason {
            "storage-full" => StatusCode::INSUFFICIENT_STORAGE,
            "internal" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, reason, message, hint)
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::TooLarge { most } => Self {
                hint: "strip the module, or build it optimised".to_owned(),
                ..Self::too_large(most)
            },
            UploadError::Full => Self::storage_full(),
            UploadError::OverBudget { .. } => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "storage-full",
                error.to_string(),
                "delete functions that are not needed, or start dhow with a larger --store-size",
            ),
            UploadError::Body(_) => {
                Self::invalid(format!("the upload is not whole: {error}"), vec![])
            }
            UploadError::Io(_) => Self::internal(format!("the upload failed: {error}")),
        }
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        let message = error.to_string();
        match error {
            TokenError::NotFound(_) => {
                let hint = "`dhow token list` shows those that there are";
                Self::new(StatusCode::NOT_FOUND, "not-found", message, hint)
            }
            TokenError::Exists(name) => {
                let hint = format!("take another name, or `dhow token revoke {name}` first");
                Self::new(StatusCode::CONFLICT, "conflict", message, hint)
            }
            TokenError::TooMany { .. } => {
                let hint = "`dhow token revoke` those that are not used";
                Self::new(StatusCode::CONFLICT, "too-many", message, hint)
            }
            TokenError::Full => Self::storage_full(),
            TokenError::Storage(_) => Self::internal(message),
        }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::invalid(rejection.body_text(), vec![])
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::invalid(rejection.body_text(), vec![])
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large(super::deploy::MOST_MANIFEST as u64),
            _ => Self::invalid(rejection.body_text(), vec![]),
        }
    }
}

pub(super) async fn no_such_path(uri: Uri) -> ApiError {
    let path = uri.path();
    let hint = "/api/v1/openapi.json lists every path; functions are called at the gateway";
    ApiError::new(StatusCode::NOT_FOUND, "not-found", format!("there is no `{path}` here"), hint)
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        format!("`{}` does not know the method {method}", uri.path()),
        "the header Allow lists the methods of this path",
    )
}
