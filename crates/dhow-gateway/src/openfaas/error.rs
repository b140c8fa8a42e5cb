//! A refusal, in OpenFaaS' form: a status and a line of text.

use axum::response::{IntoResponse, Response};
use dhow_core::name::{BadLabel, FunctionName};
use dhow_core::ports::{CatalogError, SecretsError};
use dhow_dialects::openfaas::shown;
use dhow_dialects::problem::Problems;
use dhow_http::answer::REASON;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode, Uri};

use crate::admin::error::ApiError;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refused {
    status: StatusCode,
    /// The stable short name, where there is one.
    reason: Option<&'static str>,
    message: String,
}

impl Refused {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, reason: None, message: message.into() }
    }

    /// What was sent makes no sense.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn no_function(name: &FunctionName) -> Self {
        let (name, namespace) = (&name.name, shown(&name.namespace));
        Self::new(StatusCode::NOT_FOUND, format!("function {name}.{namespace} not found"))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, format!("{}\n", self.message)).into_response();
        if let Some(reason) = self.reason {
            response.headers_mut().insert(REASON, HeaderValue::from_static(reason));
        }
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        response
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        let ApiError { status, reason, message, hint, fields: _ } = error;
        // OpenFaaS has one status for what can't be deployed.
        let status = match status {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            status => status,
        };
        Self { status, reason: Some(reason), message: format!("{reason}: {message}; {hint}") }
    }
}

impl From<CatalogError> for Refused {
    fn from(error: CatalogError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<SecretsError> for Refused {
    fn from(error: SecretsError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<Problems> for Refused {
    fn from(problems: Problems) -> Self {
        let lines = problems.to_string();
        Self::invalid(format!("validation failed: {}", lines.replace('\n', "; ")))
    }
}

impl From<BadLabel> for Refused {
    fn from(error: BadLabel) -> Self {
        Self::invalid(error.to_string())
    }
}

pub(super) async fn no_such_path(uri: Uri) -> Refused {
    Refused::new(StatusCode::NOT_FOUND, format!("there is no {} here", uri.path()))
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Refused {
    let message = format!("{} does not know the method {method}", uri.path());
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
