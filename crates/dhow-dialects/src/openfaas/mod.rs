//! OpenFaaS: functions as its REST API, its `stack.yml` and its `Function` documents say them.
//!
//! One reading for all of them (`said`), one meaning (`meaning`), and the way back (`status`).
//! What a [`dhow_core::function::Function`] has no place for, such as `envProcess` to the letter,
//! is kept in an annotation of our own (`extra`), by which such functions are also known.
//! Facts on the formats: the OpenAPI document of openfaas/faas, the types of openfaas/faas-provider,
//! the schema of openfaas/go-sdk.

mod annotations;
mod crd;
mod deployment;
mod extra;
mod knative;
mod meaning;
mod said;
mod scaling;
pub mod stack;
mod status;
mod substitution;
#[cfg(test)]
mod tests;
mod watchdog;

use dhow_core::metadata::Metadata;
use dhow_core::name::{BadLabel, DEFAULT_NAMESPACE, Label};

pub use crd::{API_VERSION, KIND};
pub use deployment::parse as parse_deployment;
pub use extra::{Extra, Scaled};
pub use knative::API_VERSION as KNATIVE_API_VERSION;
pub use meaning::Meant;
pub use scaling::{Load, Scaling};
pub use status::{Seen, replicas, scaling, status};

pub(crate) use crd::parse as parse_crd;
pub(crate) use knative::parse as parse_knative;

/// What OpenFaaS' clients call the default namespace.
pub const OPENFAAS_NAMESPACE: &str = "openfaas-fn";

/// The annotation that holds an [`Extra`].
pub const MARK: &str = "dhow.dev/openfaas";

/// The namespace that a client names.
///
/// # Errors
/// When it is not the name of one.
pub fn namespace(named: &str) -> Result<Label, BadLabel> {
    match named {
        "" | OPENFAAS_NAMESPACE => Ok(Label::default_namespace()),
        other => other.parse(),
    }
}

/// What a client is told that a namespace is called.
pub fn shown(namespace: &Label) -> &str {
    match namespace.as_str() {
        DEFAULT_NAMESPACE => OPENFAAS_NAMESPACE,
        other => other,
    }
}

/// Whether a function came as one of OpenFaaS'.
pub fn is_marked(metadata: Option<&Metadata>) -> bool {
    metadata.is_some_and(|metadata| metadata.annotations.contains_key(MARK))
}
