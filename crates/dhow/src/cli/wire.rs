//! What the admin API says, as far as it is used here. A field that a server of another version
//! leaves out has an empty value where nothing depends on it.

use dhow_core::outcome::Reason;
use dhow_dialects::problem::FieldError;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::{CommandError, Kind};

/// The server's version.
#[derive(Debug, Clone, Deserialize)]
pub struct ServerVersion {
    /// Of the program.
    pub version: String,
    /// Where functions are called.
    pub gateway: String,
}

/// One function, as it runs.
#[derive(Debug, Clone, Deserialize)]
pub struct FunctionStatus {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Where it is called.
    pub url: String,
    /// The number of the revision in force.
    pub revision: u64,
    /// How its code is called.
    pub abi: String,
    /// How its command is called, where it is one.
    #[serde(default)]
    pub io: Option<String>,
    /// Its code.
    pub digest: String,
    /// The image that its code came from, pinned to its digest.
    #[serde(default)]
    pub image: Option<String>,
    /// When that revision came to be.
    #[serde(default)]
    pub deployed: String,
    /// Where that revision came from, when not from a deploy.
    #[serde(default)]
    pub rolled_back: Option<RolledBackStatus>,
    /// The weights that calls are split by; none is no split.
    #[serde(default)]
    pub traffic: Vec<ShareStatus>,
    /// A manifest that deploys the same again.
    #[serde(default)]
    pub manifest: Value,
    /// Ways to it besides its URL.
    #[serde(default)]
    pub routes: Vec<RouteStatus>,
    /// What a call may use, by the manifest's names.
    #[serde(default)]
    pub limits: Map<String, Value>,
    /// How asynchronous calls wait and are tried again, by the manifest's names.
    #[serde(default, rename = "async")]
    pub asynchronous: Map<String, Value>,
    /// Calls that are running.
    #[serde(default)]
    pub in_flight: u64,
    /// Calls that have ended since the server started.
    #[serde(default)]
    pub calls: u64,
    /// Those of them that the platform ended.
    #[serde(default)]
    pub failures: u64,
}

/// A change of the revision in force to one that was deployed earlier.
#[derive(Debug, Clone, Deserialize)]
pub struct RolledBackStatus {
    /// The revision that was in force before.
    pub from: u64,
    /// When.
    #[serde(default)]
    pub at: String,
}

/// A revision's part of the calls.
#[derive(Debug, Clone, Deserialize)]
pub struct ShareStatus {
    /// Which revision.
    pub revision: u64,
    /// How much, of the sum of all weights.
    pub weight: u32,
}

/// A revision that is kept.
#[derive(Debug, Clone, Deserialize)]
pub struct RevisionStatus {
    /// Its number.
    pub revision: u64,
    /// Whether it is the one in force.
    #[serde(default)]
    pub current: bool,
    /// Its part of the calls, where they are split.
    #[serde(default)]
    pub weight: Option<u32>,
    /// When it came to be.
    #[serde(default)]
    pub deployed: String,
    /// Calls that have ended since the server started.
    #[serde(default)]
    pub calls: u64,
    /// Those of them that the platform ended.
    #[serde(default)]
    pub failures: u64,
    /// How its code is called.
    pub abi: String,
    /// Its code.
    pub digest: String,
    /// The image that its code came from, by digest.
    #[serde(default)]
    pub image: Option<String>,
    /// The file name that its code came under.
    #[serde(default)]
    pub program: String,
    /// The manifest's `spec`, without routes.
    #[serde(default)]
    pub spec: Value,
}

/// One declared way to a function.
#[derive(Debug, Clone, Deserialize)]
pub struct RouteStatus {
    /// The path.
    pub path: String,
    /// The methods; none are all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// The host; none is any.
    #[serde(default)]
    pub host: Option<String>,
}

/// Functions in a listing.
#[derive(Debug, Clone, Deserialize)]
pub struct Items<T> {
    /// Each of them.
    pub items: Vec<T>,
}

/// Asynchronous calls in a listing.
#[derive(Debug, Clone, Deserialize)]
pub struct AsyncCalls {
    /// Each of them.
    pub items: Vec<AsyncCall>,
    /// Where to go on; nothing at the end.
    #[serde(default)]
    pub next: Option<String>,
}

/// An asynchronous call.
#[derive(Debug, Clone, Deserialize)]
pub struct AsyncCall {
    /// Its name.
    pub call_id: String,
    /// Where its function is.
    pub namespace: String,
    /// What it is for.
    pub function: String,
    /// Where it waits.
    pub queue: String,
    /// Where it stands.
    pub state: String,
    /// Attempts that ended.
    #[serde(default)]
    pub attempts: u32,
    /// Its method.
    #[serde(default)]
    pub method: String,
    /// Its path.
    #[serde(default)]
    pub path: String,
    /// Bytes of its body.
    #[serde(default)]
    pub body: u64,
    /// When it was acknowledged.
    #[serde(default)]
    pub created: String,
    /// When it is tried next, or forgotten.
    #[serde(default)]
    pub due: String,
    /// Where the answer goes.
    #[serde(default)]
    pub callback: Option<String>,
    /// Why the last attempt failed.
    #[serde(default)]
    pub reason: Option<String>,
    /// The same, in words.
    #[serde(default)]
    pub error: Option<String>,
    /// The status of the answer that is kept.
    #[serde(default)]
    pub status: Option<u16>,
}

/// What a purge did.
#[derive(Debug, Clone, Deserialize)]
pub struct Purged {
    /// Calls that are forgotten.
    pub purged: u64,
}

/// What one call did.
#[derive(Debug, Clone, Deserialize)]
pub struct CallOutcome {
    /// Which call.
    pub call_id: String,
    /// What was answered; 0 is nothing.
    #[serde(default)]
    pub status: u16,
    /// Why the platform ended it, if it did.
    #[serde(default)]
    pub reason: Option<String>,
    /// The same in words.
    #[serde(default)]
    pub error: Option<String>,
    /// Whose revision answered.
    #[serde(default)]
    pub revision: u64,
    /// Whether the code had to be loaded.
    #[serde(default)]
    pub cold: bool,
    /// Whether `cpu_us` and `peak_memory` are of several calls.
    #[serde(default)]
    pub shared: bool,
    /// Microseconds of waiting for a place.
    #[serde(default)]
    pub queue_us: u64,
    /// Microseconds of waiting for the code.
    #[serde(default)]
    pub load_us: u64,
    /// Microseconds of making the instance.
    #[serde(default)]
    pub instantiate_us: u64,
    /// Microseconds from then to the last byte.
    #[serde(default)]
    pub run_us: u64,
    /// Microseconds in all.
    #[serde(default)]
    pub wall_us: u64,
    /// Microseconds of CPU time.
    #[serde(default)]
    pub cpu_us: u64,
    /// The most memory, bytes.
    #[serde(default)]
    pub peak_memory: u64,
    /// When it ended.
    #[serde(default)]
    pub ended: String,
}

/// What a namespace may use; `None` is no bound.
#[derive(Debug, Clone, Deserialize)]
pub struct QuotaStatus {
    /// Which namespace.
    pub namespace: String,
    /// Functions.
    #[serde(default)]
    pub functions: Option<u32>,
    /// Memory of its instances.
    #[serde(default)]
    pub memory: Option<String>,
    /// CPU as a rate.
    #[serde(default)]
    pub cpu: Option<String>,
    /// Calls in flight.
    #[serde(default)]
    pub calls: Option<u32>,
    /// What is used now.
    pub used: UsedStatus,
}

/// What a namespace uses, as far as its quota has it counted.
#[derive(Debug, Clone, Deserialize)]
pub struct UsedStatus {
    /// Functions.
    #[serde(default)]
    pub functions: u64,
    /// Bytes of memory.
    #[serde(default)]
    pub memory: u64,
    /// Calls in flight.
    #[serde(default)]
    pub calls: u32,
}

/// A token, without its secret.
#[derive(Debug, Clone, Deserialize)]
pub struct TokenStatus {
    /// What it is called.
    pub name: String,
    /// What it may do.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// When it was made.
    #[serde(default)]
    pub created: String,
    /// When it ends; `None` is never.
    #[serde(default)]
    pub expires: Option<String>,
    /// Whether it has ended.
    #[serde(default)]
    pub expired: bool,
}

/// A token that was just made.
#[derive(Clone, Deserialize)]
pub struct NewToken {
    /// What it is.
    #[serde(flatten)]
    pub status: TokenStatus,
    /// Its secret.
    pub token: String,
}

/// What functions did until one moment.
#[derive(Debug, Clone, Deserialize)]
pub struct Stats {
    /// Microseconds of a clock that never goes back.
    pub at_us: u64,
    /// Each function that was called.
    pub items: Vec<FunctionStats>,
}

/// What one function did since the server started.
#[derive(Debug, Clone, Deserialize)]
pub struct FunctionStats {
    /// Its name.
    pub name: String,
    /// Where it lives.
    pub namespace: String,
    /// Calls under way.
    #[serde(default)]
    pub in_flight: u64,
    /// Calls that ended.
    #[serde(default)]
    pub calls: u64,
    /// Those that the platform ended.
    #[serde(default)]
    pub failures: u64,
    /// Those for which code had to be loaded.
    #[serde(default)]
    pub cold: u64,
    /// Microseconds of CPU time.
    #[serde(default)]
    pub cpu_us: u64,
    /// The most memory that one of the last calls held, bytes.
    #[serde(default)]
    pub peak_memory: u64,
    /// How long calls took.
    #[serde(default)]
    pub wall: Vec<WallBucket>,
}

/// How many calls took at most so long.
#[derive(Debug, Clone, Deserialize)]
pub struct WallBucket {
    /// Microseconds; without it, however long.
    pub le_us: Option<f64>,
    /// How many.
    pub calls: u64,
}

/// Who had what done.
#[derive(Debug, Clone, Deserialize)]
pub struct AuditRecord {
    /// When.
    #[serde(default)]
    pub time: String,
    /// Who.
    #[serde(default)]
    pub who: String,
    /// From where.
    #[serde(default)]
    pub peer: Option<String>,
    /// What.
    #[serde(default)]
    pub action: String,
    /// On what.
    #[serde(default)]
    pub object: String,
    /// What came of it.
    #[serde(default)]
    pub detail: Option<String>,
    /// The status of the answer.
    #[serde(default)]
    pub status: u16,
    /// Why it was refused.
    #[serde(default)]
    pub reason: Option<String>,
    /// Refused requests before that are not recorded.
    #[serde(default)]
    pub unrecorded: u64,
}

/// A line that a guest wrote.
#[derive(Debug, Clone, Deserialize)]
pub struct LogLine {
    /// When.
    #[serde(default)]
    pub time: String,
    /// During which call.
    #[serde(default)]
    pub call_id: String,
    /// `stdout` or `stderr`.
    #[serde(default)]
    pub stream: String,
    /// What.
    pub line: String,
}

/// A step of taking a module.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum ArtifactEvent {
    /// Bytes of one blob of its image have come.
    Pulling {
        /// Which.
        blob: String,
        /// So many.
        #[serde(default)]
        received: u64,
        /// Of so many.
        #[serde(default)]
        size: u64,
    },
    /// Something to know about its image.
    Warning {
        /// What.
        message: String,
    },
    /// It is being looked at.
    Inspecting,
    /// It is being compiled, for so long.
    Compiling {
        /// Milliseconds.
        #[serde(default)]
        ms: u64,
    },
    /// It was compiled earlier.
    Cached,
    /// It is compiled.
    Compiled {
        /// Milliseconds that it took.
        #[serde(default)]
        ms: u64,
    },
    /// It is taken.
    Artifact {
        /// What it is.
        artifact: ArtifactStatus,
    },
    /// It is not taken.
    Refused(Problem),
}

/// A module that the server holds.
#[derive(Debug, Clone, Deserialize)]
pub struct ArtifactStatus {
    /// Its identity.
    pub digest: String,
    /// Its bytes.
    #[serde(default)]
    pub size: u64,
    /// How it is called.
    #[serde(default)]
    pub abi: String,
    /// Where it came from, if it was pulled.
    #[serde(default)]
    pub image: Option<ImageStatus>,
}

/// An image that the server pulled.
#[derive(Debug, Clone, Deserialize)]
pub struct ImageStatus {
    /// Its reference, pinned to what it led to.
    pub reference: String,
}

/// A secret, without its values.
#[derive(Debug, Clone, Deserialize)]
pub struct SecretStatus {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What it is for.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Its keys.
    #[serde(default)]
    pub keys: Vec<String>,
}

/// What the server says when it refuses.
#[derive(Debug, Clone, Deserialize)]
pub struct Problem {
    /// What is wrong, in words.
    pub error: String,
    /// The same as a stable short name.
    #[serde(default)]
    pub reason: String,
    /// What to do about it.
    #[serde(default)]
    pub hint: String,
    /// The fields that are wrong.
    #[serde(default)]
    pub fields: Vec<WrongField>,
}

/// A field that is wrong.
#[derive(Debug, Clone, Deserialize)]
pub struct WrongField {
    /// Where.
    pub path: String,
    /// What.
    pub message: String,
}

impl From<Problem> for CommandError {
    fn from(problem: Problem) -> Self {
        let fields =
            problem.fields.into_iter().map(|field| FieldError::new(field.path, field.message));
        let mut error = Self::failure(problem.error).fields(fields).hint(problem.hint);
        if problem.reason == Reason::NotFound.as_str() {
            error.kind = Kind::Absent;
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_fields_and_its_hint() {
        let text = r#"{"error": "no", "reason": "bad-manifest", "hint": "look",
                       "fields": [{"path": "spec.io", "message": "is wrong"}]}"#;
        let error = CommandError::from(serde_json::from_str::<Problem>(text).unwrap());
        assert_eq!(error.message, "no");
        assert_eq!(error.details, ["spec.io: is wrong"]);
        assert_eq!(error.hints, ["look"]);
    }

    #[test]
    fn every_event_of_an_upload_is_understood() {
        for text in [
            r#"{"event":"pulling","blob":"sha256:00","received":1,"size":2}"#,
            r#"{"event":"warning","message":"x"}"#,
            r#"{"event":"inspecting"}"#,
            r#"{"event":"compiling","ms":12}"#,
            r#"{"event":"cached"}"#,
            r#"{"event":"compiled","ms":7}"#,
            r#"{"event":"artifact","artifact":{"digest":"sha256:00","size":1,"abi":"http"}}"#,
            r#"{"event":"refused","error":"no","reason":"not-wasm","hint":"x"}"#,
        ] {
            serde_json::from_str::<ArtifactEvent>(text).expect(text);
        }
    }
}
