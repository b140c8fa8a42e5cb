//! The JSON of the API. Twins of the nouns of `dhow-core`, which know no format.

mod observed;

use std::time::Duration;

use dhow_core::abi::Abi;
use dhow_core::access::Access;
use dhow_core::function::{Deployed, Function, Kept, Revision, RolledBack, Source};
use dhow_core::metadata::Metadata;
use dhow_core::name::Label;
use dhow_core::outcome::Outcome;
use dhow_core::ports::{self, Progress, Pulled, Refusal, Stream, Transfer};
use dhow_core::quantity::{print_bytes, print_cpu};
use dhow_core::queue::CallView;
use dhow_core::quota::{Quota, Usage};
use dhow_core::route::Route;
use dhow_core::token::Token;
use dhow_core::traffic::Weighted;
use dhow_dialects::native;
use http::Method;
use serde::Serialize;
use serde_json::Value;

pub(super) use self::observed::{AuditRecord, FunctionStats, Stats};
use super::error::ApiError;
use super::time::rfc3339;
use crate::logs;

/// A listing.
#[derive(Debug, Serialize)]
pub(super) struct Items<T> {
    pub(super) items: Vec<T>,
}

/// What a refusal says.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    error: String,
    reason: &'static str,
    hint: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<WrongField>,
}

#[derive(Debug, Serialize)]
struct WrongField {
    path: String,
    message: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Version<'a> {
    pub(super) version: &'a str,
    pub(super) gateway: &'a str,
}

/// One function, as it runs.
#[derive(Debug, Serialize)]
pub(super) struct FunctionStatus {
    name: String,
    namespace: String,
    /// Where it is called.
    url: String,
    /// 0 in the answer to a dry run: none was made.
    revision: u64,
    abi: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    io: Option<&'static str>,
    digest: String,
    /// Where the code came from, pinned to the digest of its manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    program: String,
    /// Absent in the answer to a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    deployed: Option<String>,
    /// Where the revision in force came from, when not from a deploy.
    #[serde(skip_serializing_if = "Option::is_none")]
    rolled_back: Option<RolledBackStatus>,
    /// The weights that calls are split by; none is no split.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    traffic: Vec<ShareStatus>,
    routes: Vec<RouteStatus>,
    limits: Value,
    /// How asynchronous calls wait and are tried again.
    #[serde(rename = "async")]
    asynchronous: Value,
    in_flight: u64,
    calls: u64,
    failures: u64,
    /// A manifest that deploys the same again.
    manifest: Value,
}

/// What of a function's status changes with every call.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    pub(super) in_flight: u64,
    pub(super) calls: u64,
    pub(super) failures: u64,
}

#[derive(Debug, Serialize)]
struct RouteStatus {
    path: String,
    methods: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
}

#[derive(Debug, Serialize)]
struct RolledBackStatus {
    /// The revision that was in force before.
    from: u64,
    at: String,
}

#[derive(Debug, Serialize)]
struct ShareStatus {
    revision: u64,
    weight: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct RevisionStatus {
    revision: u64,
    /// Whether it is the one in force.
    current: bool,
    /// Its part of the calls, where they are split.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    /// Absent where it was not written down.
    #[serde(skip_serializing_if = "Option::is_none")]
    deployed: Option<String>,
    /// Ended since the server started.
    calls: u64,
    failures: u64,
    digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    program: String,
    abi: &'static str,
    /// The native `spec`, without routes: those are the function's.
    spec: Value,
}

#[derive(Debug, Serialize)]
pub(super) struct CallOutcome {
    call_id: String,
    status: u16,
    reason: Option<&'static str>,
    error: Option<String>,
    revision: u64,
    cold: bool,
    shared: bool,
    queue_us: u64,
    load_us: u64,
    instantiate_us: u64,
    run_us: u64,
    wall_us: u64,
    cpu_us: u64,
    peak_memory: u64,
    ended: String,
}

/// A listing of asynchronous calls.
#[derive(Debug, Serialize)]
pub(super) struct AsyncCalls {
    pub(super) items: Vec<AsyncCall>,
    /// What to say as `after` to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// An asynchronous call.
#[derive(Debug, Serialize)]
pub(super) struct AsyncCall {
    call_id: String,
    namespace: String,
    function: String,
    queue: String,
    state: &'static str,
    attempts: u32,
    method: String,
    path: String,
    body: u64,
    created: String,
    /// When it is tried next, or forgotten.
    due: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<String>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The status of the answer that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

#[derive(Debug, Serialize)]
pub(super) struct Purged {
    pub(super) purged: u64,
}

/// A line that a guest wrote.
#[derive(Debug, Serialize)]
pub(super) struct LogLine {
    time: String,
    call_id: String,
    revision: u64,
    stream: &'static str,
    line: String,
}

/// What a namespace may use, and what it uses.
#[derive(Debug, Serialize)]
pub(super) struct QuotaStatus {
    namespace: String,
    /// Null is no bound, here and below.
    functions: Option<u32>,
    memory: Option<String>,
    cpu: Option<String>,
    calls: Option<u32>,
    used: UsedStatus,
}

#[derive(Debug, Serialize)]
struct UsedStatus {
    functions: usize,
    /// Bytes, of the instances that are counted.
    memory: u64,
    calls: u32,
}

/// A token, without its secret.
#[derive(Debug, Serialize)]
pub(super) struct TokenStatus {
    name: String,
    scopes: Vec<String>,
    created: String,
    /// Null is never.
    expires: Option<String>,
    expired: bool,
}

/// A token that was just made, with its secret, which is said here and never again.
#[derive(Debug, Serialize)]
pub(super) struct NewToken {
    #[serde(flatten)]
    status: TokenStatus,
    token: String,
}

/// A step of taking a module, one line each.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum ArtifactEvent {
    Pulling { blob: String, received: u64, size: u64 },
    Warning { message: String },
    Inspecting,
    Compiling { ms: u64 },
    Cached,
    Compiled { ms: u64 },
    Artifact { artifact: Artifact },
    Refused(Problem),
}

#[derive(Debug, Serialize)]
pub(super) struct Artifact {
    digest: String,
    size: u64,
    kind: &'static str,
    abi: &'static str,
    abis: Vec<&'static str>,
    imports: Vec<String>,
    exports: Vec<String>,
    /// As the upload or the image said it: what a manifest's `spec.source.program` shall be.
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<String>,
    /// Where it came from, if it was pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Image>,
}

/// What an image says about its module.
#[derive(Debug, Serialize)]
struct Image {
    /// Pinned to the digest of its manifest: what a manifest's `spec.source.image` shall be.
    reference: String,
    format: &'static str,
    args: Vec<String>,
    env: Vec<Variable>,
}

#[derive(Debug, Serialize)]
struct Variable {
    name: String,
    value: String,
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        let ApiError { status: _, reason, message, hint, fields } = error;
        let fields = fields
            .into_iter()
            .map(|field| WrongField { path: field.path, message: field.message })
            .collect();
        Self { error: message, reason, hint, fields }
    }
}

impl FunctionStatus {
    /// `deployed_ms` is 0 for what is not deployed.
    pub(super) fn new(deployed: &Deployed, counters: Counters, gateway_url: &str) -> Self {
        let Deployed {
            name,
            revision,
            split,
            rolled_back,
            routes,
            access: _,
            metadata: _,
            version: _,
            deployed_ms,
        } = deployed;
        let manifest = native::encode(&whole(deployed));
        let suffix = match name.namespace.as_str() {
            dhow_core::name::DEFAULT_NAMESPACE => name.name.to_string(),
            _ => name.to_string(),
        };
        Self {
            name: name.name.to_string(),
            namespace: name.namespace.to_string(),
            url: format!("{gateway_url}/function/{suffix}"),
            revision: revision.number,
            abi: revision.abi.as_str(),
            io: (revision.abi == Abi::Command).then(|| revision.template.io.as_str()),
            digest: revision.digest.to_string(),
            image: reference(revision),
            program: revision.program.clone(),
            deployed: (*deployed_ms != 0).then(|| rfc3339(*deployed_ms)),
            rolled_back: rolled_back.map(RolledBackStatus::from),
            traffic: split.iter().map(ShareStatus::from).collect(),
            routes: routes.iter().map(RouteStatus::from).collect(),
            limits: manifest["spec"]["limits"].clone(),
            asynchronous: manifest["spec"]["async"].clone(),
            in_flight: counters.in_flight,
            calls: counters.calls,
            failures: counters.failures,
            manifest,
        }
    }
}

impl From<&Route> for RouteStatus {
    fn from(route: &Route) -> Self {
        let Route { host, path, methods } = route;
        Self {
            path: path.clone(),
            methods: methods.iter().map(Method::to_string).collect(),
            host: host.clone(),
        }
    }
}

impl From<RolledBack> for RolledBackStatus {
    fn from(RolledBack { from, at_ms }: RolledBack) -> Self {
        Self { from, at: rfc3339(at_ms) }
    }
}

impl From<&Weighted> for ShareStatus {
    fn from(Weighted { revision, weight }: &Weighted) -> Self {
        Self { revision: revision.number, weight: *weight }
    }
}

impl RevisionStatus {
    /// `counts` are its calls and those that failed.
    pub(super) fn new(kept: &Kept, of: &Deployed, (calls, failures): (u64, u64)) -> Self {
        let Kept { revision, deployed_ms } = kept;
        let mut manifest = native::encode(&function(revision));
        let share = of.split.iter().find(|one| one.revision.number == revision.number);
        Self {
            revision: revision.number,
            current: revision.number == of.revision.number,
            weight: share.map(|share| share.weight),
            deployed: deployed_ms.map(rfc3339),
            calls,
            failures,
            digest: revision.digest.to_string(),
            image: reference(revision),
            program: revision.program.clone(),
            abi: revision.abi.as_str(),
            spec: manifest["spec"].take(),
        }
    }
}

impl CallOutcome {
    pub(super) fn new(outcome: Outcome, ended_ms: u64) -> Self {
        let Outcome {
            call,
            revision,
            status,
            failure,
            phases,
            wall,
            cpu,
            shared,
            peak_memory,
            cold,
            trace: _,
        } = outcome;
        Self {
            call_id: call.to_string(),
            status,
            reason: failure.as_ref().map(|failure| failure.reason.as_str()),
            error: failure.map(|failure| failure.message),
            revision,
            cold,
            shared,
            queue_us: micros(phases.queue),
            load_us: micros(phases.load),
            instantiate_us: micros(phases.instantiate),
            run_us: micros(phases.run),
            wall_us: micros(wall),
            cpu_us: micros(cpu),
            peak_memory,
            ended: rfc3339(ended_ms),
        }
    }
}

impl QuotaStatus {
    pub(super) fn new(namespace: &Label, quota: &Quota, functions: usize, usage: Usage) -> Self {
        Self {
            namespace: namespace.to_string(),
            functions: quota.functions,
            memory: quota.memory.map(print_bytes),
            cpu: quota.cpu_millis.map(print_cpu),
            calls: quota.calls,
            used: UsedStatus { functions, memory: usage.memory, calls: usage.calls },
        }
    }
}

impl TokenStatus {
    pub(super) fn new(token: &Token, now_ms: u64) -> Self {
        Self {
            name: token.name.to_string(),
            scopes: token.grants.iter().map(ToString::to_string).collect(),
            created: rfc3339(token.created_ms),
            expires: token.expires_ms.map(rfc3339),
            expired: !token.is_valid(now_ms),
        }
    }
}

impl NewToken {
    pub(super) fn new(token: &Token, secret: String) -> Self {
        Self { status: TokenStatus::new(token, token.created_ms), token: secret }
    }
}

impl From<CallView> for AsyncCall {
    fn from(view: CallView) -> Self {
        let CallView {
            call,
            function,
            queue,
            state,
            attempts,
            method,
            path,
            body,
            created_ms,
            due_ms,
            callback,
            note,
            answer,
        } = view;
        let (reason, error) = note.map(|note| (note.reason, note.message)).unzip();
        Self {
            call_id: call.to_string(),
            namespace: function.namespace.to_string(),
            function: function.name.to_string(),
            queue: queue.to_string(),
            state: state.as_str(),
            attempts,
            method: method.to_string(),
            path,
            body,
            created: rfc3339(created_ms),
            due: rfc3339(due_ms),
            callback,
            reason,
            error,
            status: answer.map(|status| status.as_u16()),
        }
    }
}

impl From<logs::LogLine> for LogLine {
    fn from(line: logs::LogLine) -> Self {
        Self {
            time: rfc3339(line.time_ms),
            call_id: line.call.to_string(),
            revision: line.revision,
            stream: match line.stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            },
            line: line.line,
        }
    }
}

impl LogLine {
    /// A note of dhow's own: it belongs to no call.
    pub(super) fn missed(count: u64, now_ms: u64) -> Self {
        Self {
            time: rfc3339(now_ms),
            call_id: String::new(),
            revision: 0,
            stream: "stderr",
            line: format!("[dhow] {count} lines passed while this reader was too slow"),
        }
    }
}

impl From<Transfer> for ArtifactEvent {
    fn from(transfer: Transfer) -> Self {
        let Transfer { blob, received, size } = transfer;
        Self::Pulling { blob: blob.to_string(), received, size }
    }
}

impl From<Progress> for ArtifactEvent {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Inspecting => Self::Inspecting,
            Progress::Compiling(so_far) => Self::Compiling { ms: millis(so_far) },
            Progress::Cached => Self::Cached,
            Progress::Compiled(took) => Self::Compiled { ms: millis(took) },
        }
    }
}

impl From<Refusal> for ArtifactEvent {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(ApiError::from(refusal).into())
    }
}

impl Artifact {
    pub(super) fn new(artifact: ports::Artifact, program: Option<String>) -> Self {
        let abi = artifact.abi().as_str();
        let ports::Artifact { digest, size, kind, abis, imports, exports } = artifact;
        Self {
            digest: digest.to_string(),
            size,
            kind,
            abi,
            abis: abis.into_iter().map(Abi::as_str).collect(),
            imports,
            exports,
            program,
            image: None,
        }
    }

    pub(super) fn of_image(artifact: ports::Artifact, pulled: Pulled) -> Self {
        let Pulled { image, format, blob: _, program, words, args, env, warnings: _ } = pulled;
        let env = env.into_iter().map(|(name, value)| Variable { name, value }).collect();
        let args = [words, args].concat();
        let image = Image { reference: image.reference, format, args, env };
        Self { image: Some(image), ..Self::new(artifact, Some(program)) }
    }
}

fn reference(revision: &Revision) -> Option<String> {
    revision.image.as_ref().map(|image| image.reference.clone())
}

/// What would be deployed again as this function.
pub(super) fn whole(deployed: &Deployed) -> Function {
    Function {
        routes: deployed.routes.clone(),
        access: deployed.access.as_deref().cloned().unwrap_or_default(),
        metadata: deployed.metadata.as_deref().cloned().unwrap_or_default(),
        ..function(&deployed.revision)
    }
}

/// What would be deployed again as this revision.
fn function(revision: &Revision) -> Function {
    let Revision { function, number: _, digest, image, program, abi, template } = revision;
    let source = match image {
        Some(image) => Source::Image(image.clone()),
        None => Source::Blob { digest: *digest, program: Some(program.clone()) },
    };
    Function {
        name: function.clone(),
        source,
        abi: Some(*abi),
        template: template.clone(),
        routes: vec![],
        access: Access::default(),
        metadata: Metadata::default(),
    }
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
