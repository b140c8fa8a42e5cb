//! What the catalog writes about functions and revisions: JSON around the native manifest, so
//! that a record says in full what a call depends on.

use std::sync::Arc;

use dhow_core::abi::Abi;
use dhow_core::access::Access;
use dhow_core::function::{Deployed, Function, Kept, Revision, RolledBack, Source};
use dhow_core::metadata::Metadata;
use dhow_core::traffic::{Share, Traffic, Weighted};
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
    /// How calls are spread. Records of a dhow that knew no weights have none.
    pub(super) traffic: Traffic,
    /// See [`Deployed::rolled_back`].
    pub(super) rolled_back: Option<RolledBack>,
    /// As the user said it last; its routes hold.
    pub(super) function: Function,
}

impl FunctionRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut record = json!({
            "revision": self.revision,
            "deployedMs": self.deployed_ms,
            "version": self.version,
            "manifest": native::encode(&self.function),
        });
        if !self.traffic.shares().is_empty() {
            let share = |share: &Share| json!({"revision": share.revision, "weight": share.weight});
            record["traffic"] = self.traffic.shares().iter().map(share).collect();
        }
        if let Some(RolledBack { from, at_ms }) = self.rolled_back {
            record["rolledBack"] = json!({"from": from, "atMs": at_ms});
        }
        record.to_string().into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let record = parse(bytes)?;
        Ok(Self {
            revision: number(&record, "revision")?,
            deployed_ms: number(&record, "deployedMs")?,
            version: number(&record, "version")?,
            traffic: traffic(&record["traffic"])?,
            rolled_back: rolled_back(&record["rolledBack"])?,
            function: manifest(&record)?,
        })
    }

    /// The function as readers see it, with the revisions that it names.
    pub(super) fn deployed(self, revision: Arc<Revision>, split: Vec<Weighted>) -> Deployed {
        Deployed {
            name: self.function.name,
            revision,
            split,
            rolled_back: self.rolled_back,
            routes: self.function.routes,
            access: self.function.access.shared(),
            metadata: self.function.metadata.shared(),
            version: self.version,
            deployed_ms: self.deployed_ms,
        }
    }
}

/// The bytes of `revision`, deployed at `now_ms`; `told` is the ABI that the user wrote, which the
/// manifest keeps apart from the one that was found.
pub(super) fn encode_revision(revision: &Revision, told: Option<Abi>, now_ms: u64) -> Vec<u8> {
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
        access: Access::default(),
        metadata: Metadata::default(),
    };
    json!({
        "abi": revision.abi.as_str(),
        "digest": revision.digest.to_string(),
        "program": revision.program,
        "deployedMs": now_ms,
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

/// Reads the bytes of revision `number`, and when it was deployed.
pub(super) fn decode_kept(number: u64, bytes: &[u8]) -> Result<Kept, String> {
    let revision = Arc::new(decode_revision(number, bytes)?);
    Ok(Kept { revision, deployed_ms: parse(bytes)?["deployedMs"].as_u64() })
}

/// What the user said when the revision was deployed, but for the routes.
pub(super) fn decode_said(bytes: &[u8]) -> Result<Function, String> {
    manifest(&parse(bytes)?)
}

fn traffic(written: &Value) -> Result<Traffic, String> {
    let Some(shares) = written.as_array() else { return Ok(Traffic::default()) };
    let share = |share: &Value| {
        let weight = u32::try_from(number(share, "weight")?);
        let weight = weight.map_err(|_| "`weight` is too large".to_owned())?;
        Ok(Share { revision: number(share, "revision")?, weight })
    };
    let shares = shares.iter().map(share).collect::<Result<_, String>>()?;
    Traffic::new(shares).map_err(|error| format!("`traffic`: {error}"))
}

fn rolled_back(written: &Value) -> Result<Option<RolledBack>, String> {
    match written {
        Value::Null => Ok(None),
        written => {
            Ok(Some(RolledBack { from: number(written, "from")?, at_ms: number(written, "atMs")? }))
        }
    }
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
