//! dhow's own format: the document `Function` of the group `dhow.dev`.
//!
//! What the format has and this version does not run (`mounts`,
//! `triggers`, `scale`, `placement: pod`, the ABIs `spin`, `actor` and
//! `server`) is refused by name, never passed over.

mod access;
mod asynchronous;
mod auth;
mod cors;
mod decode;
mod encode;
mod grants;
mod key_value;
mod limits;
mod routes;

use dhow_core::function::Function;
use dhow_core::name::Label;

use crate::document;
use crate::problem::Problems;

pub use decode::decode;
pub(crate) use decode::decode_in;
pub use encode::encode;

/// The `apiVersion` of a document of this format.
pub const API_VERSION: &str = "dhow.dev/v1alpha1";
/// The `kind` of a document of this format.
pub const KIND: &str = "Function";

/// Reads every document of a YAML or JSON text. One that names no namespace means `namespace`.
///
/// # Errors
/// Everything that is wrong with any of them; then none is returned. Where there are several
/// documents, a path begins with `document N: `, counted from 1 without the empty ones.
pub fn parse_documents(text: &str, namespace: &Label) -> Result<Vec<Function>, Problems> {
    let documents = document::parse(text)?;
    let several = documents.len() > 1;
    let mut functions = Vec::with_capacity(documents.len());
    let mut fields = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        match decode::decode_in(document, namespace) {
            Ok(function) => functions.push(function),
            Err(problems) => {
                let number = several.then_some(index + 1);
                fields.extend(problems.into_iter().map(|problem| problem.in_document(number)));
            }
        }
    }
    if fields.is_empty() { Ok(functions) } else { Err(Problems { fields }) }
}

#[cfg(test)]
mod tests;
