//! The function or the namespace that a path names.

use axum::extract::{FromRequestParts, Path};
use dhow_core::name::{FunctionName, Label};
use http::request::Parts;

use super::error::ApiError;

/// `{namespace}` and `{name}` of a path.
pub(super) struct Named(pub(super) FunctionName);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path((namespace, name)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| ApiError::invalid(rejection.body_text(), vec![]))?;
        Ok(Self(FunctionName {
            namespace: label("namespace", &namespace)?,
            name: label("name", &name)?,
        }))
    }
}

/// `{namespace}` of a path that has nothing else.
pub(super) struct Namespace(pub(super) Label);

impl<S: Send + Sync> FromRequestParts<S> for Namespace {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(namespace) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| ApiError::invalid(rejection.body_text(), vec![]))?;
        Ok(Self(label("namespace", &namespace)?))
    }
}

/// Reads a parameter that is a name.
pub(super) fn label(parameter: &str, text: &str) -> Result<Label, ApiError> {
    text.parse().map_err(|error| ApiError::parameter(parameter, error))
}
