//! Manifests of every format that is known, told apart by what stands in them.

use dhow_core::function::Function;
use serde_json::Value;

pub use crate::openfaas::stack::Surroundings;
use crate::openfaas::{self, Meant, stack};
use crate::problem::{FieldError, Problems};
use crate::{document, native};

/// A function of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The function.
    pub function: Function,
    /// What of the manifest has no effect, in words.
    pub notes: Vec<String>,
}

/// Reads every document of a YAML or JSON text.
///
/// # Errors
/// Everything that is wrong with any of them; then none is returned. Where there are several
/// documents, a path begins with `document N: `, counted from 1 without the empty ones.
pub fn parse(text: &str, around: Surroundings<'_>) -> Result<Vec<Declared>, Problems> {
    let replaced;
    let text = if stack::is_stack(text) {
        replaced = stack::substitute(text, around).map_err(|fields| Problems { fields })?;
        &replaced
    } else {
        text
    };
    let documents = document::parse(text)?;
    let several = documents.len() > 1;
    let mut declared = Vec::with_capacity(documents.len());
    let mut fields = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let mut problems = Vec::new();
        declared.extend(read(document, around, &mut problems));
        let number = several.then_some(index + 1);
        fields.extend(problems.into_iter().map(|problem| problem.in_document(number)));
    }
    if fields.is_empty() { Ok(declared) } else { Err(Problems { fields }) }
}

fn read(
    document: &Value,
    around: Surroundings<'_>,
    problems: &mut Vec<FieldError>,
) -> Vec<Declared> {
    let namespace = around.namespace;
    let meant = match document["apiVersion"].as_str() {
        Some(openfaas::API_VERSION) => {
            Vec::from_iter(openfaas::parse_crd(document, namespace, problems))
        }
        Some(openfaas::KNATIVE_API_VERSION) => {
            Vec::from_iter(openfaas::parse_knative(document, namespace, problems))
        }
        _ if stack::is_document(document) => stack::parse(document, around, problems),
        _ => {
            let function = native::decode_in(document, namespace);
            let function = function.map_err(|wrong| problems.extend(wrong)).ok();
            return function
                .map(|function| Declared { function, notes: vec![] })
                .into_iter()
                .collect();
        }
    };
    let declared = |meant: Meant| Declared { function: meant.function, notes: meant.notes };
    meant.into_iter().map(declared).collect()
}
