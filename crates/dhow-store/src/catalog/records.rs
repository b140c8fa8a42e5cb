//! What the catalog writes about functions and revisions: JSON around the native manifest, so
//! that a record says in full what a call depends on.

use std::sync::Arc;

use dhow_core::abi::Abi;
use dhow_core::function::{Deployed, Function, Revision, Source};
use dhow_dialects::native;
use serde_json::{Value, json};

/// What is written about a function besides its revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FunctionRecord {
    /// The number of the revision that answers.
    pub(super) revision: u64,
    /// See [`Deployed::deployed_ms`].
    pub(super) deployed_ms: u64,
    /// See [`Deployed::version`].
    pub(super) version: u64,
    /// As the user said it last; its routes hold.
    pub(super) function: Function,
}

impl FunctionRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        json!({
            "revision": self.revision,
            "deployedMs": self.deployed_ms,
            "version": self.version,
            "manifest": native::encode(&self.function),
        })
        .to_string()
        .into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let record = parse(bytes)?;
        Ok(Self {
            revision: number(&record, "revision")?,
            deployed_ms: number(&record, "deployedMs")?,
            version: number(&record, "version")?,
            function: manifest(&record)?,
        })
    }

    /// The function as readers see it.
    pub(super) fn deployed(self, revision: Arc<Revision>) -> Deployed {
        Deployed {
            name: self.function.name,
            revision,
            routes: self.function.routes,
            version: self.version,
            deployed_ms: self.deployed_ms,
        }
    }
}

/// The bytes of `revision`; `told` is the ABI that the user wrote, which the manifest keeps apart
/// from the one that was found.
pub(super) fn encode_revision(revision: &Revision, told: Option<Abi>) -> Vec<u8> {
    let source = match &revision.image {
        Some(image) => Source::Image(image.clone()),
        None => Source::Blob { digest: revision.digest, program: None },
    };
    let function = Function {
        name: revision.function.clone(),
        source,
        abi: told,
        template: revision.template.clone(),
        routes: vec![],
    };
    json!({
        "abi": revision.abi.as_str(),
        "digest": revision.digest.to_string(),
        "program": revision.program,
        "manifest": native::encode(&function),
    })
    .to_string()
    .into_bytes()
}

/// Reads the bytes of revision `number`.
pub(super) fn decode_revision(number: u64, bytes: &[u8]) -> Result<Revision, String> {
    let record = parse(bytes)?;
    let function = manifest(&record)?;
    let (digest, image) = match function.source {
        Source::Blob { digest, .. } => (digest, None),
        Source::Image(image) => {
            let digest = text(&record, "digest")?.parse();
            (digest.map_err(|error| format!("`digest`: {error}"))?, Some(image))
        }
        Source::Path(_) => return Err("its source is a path".to_owned()),
    };
    Ok(Revision {
        function: function.name,
        number,
        digest,
        image,
        program: text(&record, "program")?.to_owned(),
        abi: text(&record, "abi")?.parse().map_err(|error| format!("`abi`: {error}"))?,
        template: function.template,
    })
}

pub(super) fn parse(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

pub(super) fn number(record: &Value, field: &str) -> Result<u64, String> {
    record[field].as_u64().ok_or_else(|| format!("`{field}` is not a number"))
}

pub(super) fn text<'r>(record: &'r Value, field: &str) -> Result<&'r str, String> {
    record[field].as_str().ok_or_else(|| format!("`{field}` is not text"))
}

fn manifest(record: &Value) -> Result<Function, String> {
    native::decode(&record["manifest"])
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}
