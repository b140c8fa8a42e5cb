//! The seams between the crates. The engine, the store and the gateway know these traits and not
//! each other; the binary joins them.

use std::fs::File;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, Uri};
use http_body::Body;

use crate::abi::Abi;
use crate::call::CallId;
use crate::digest::Digest;
use crate::function::{Deployed, Function, ImageSource, Kept, Revision};
use crate::key_value::{Change, Changed, KeyValueError, Room, StoreId, Value};
use crate::name::{FunctionName, Label};
use crate::outbound::{OutboundBody, OutboundError, Patience};
use crate::outcome::{Failure, Outcome};
use crate::plan::routes::Reach;
use crate::queue::{
    Accepted, Answer, CallBody, CallCursor, CallFilter, CallHead, CallPage, CallView, EnqueueError,
    Lane, Lease, LeaseId, NewCall, QueueError, QueueFigures, RetryPolicy, Settle,
};
use crate::quota::{Quota, Quotas, TooManyFunctions};
use crate::secret::{Secret, SecretName, SecretSummary};
use crate::token::Token;
use crate::trace::Trace;
use crate::traffic::Traffic;

/// A boxed future, for ports off the request path.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Every function in force at one moment. Immutable; a change makes a new one.
#[derive(Debug, Default, Clone)]
pub struct Snapshot {
    /// Grows with every change of the catalog.
    pub version: u64,
    /// Sorted by name.
    pub functions: Vec<Arc<Deployed>>,
    /// What namespaces may use.
    pub quotas: Arc<Quotas>,
}

/// What is deployed. One owner writes; anybody may read.
pub trait Catalog: Send + Sync {
    /// What is in force now. Reads memory only.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// Makes `function` the next revision of its name, durably, before it returns. A function
    /// that equals the one in force is left as it is, with its revision. A split stays: the new
    /// revision has no share of it. Old revisions beyond a number are forgotten in the same write,
    /// but never one in force or weighted.
    fn deploy(&self, function: NewRevision) -> BoxFuture<'_, Result<Deployed, CatalogError>>;

    /// Removes a function and its revisions, durably. Numbers are not used again.
    fn delete(&self, name: FunctionName) -> BoxFuture<'_, Result<(), CatalogError>>;

    /// Sets what the functions of a namespace may use together, or takes the quota away, durably.
    /// What is there already stays there, also when it is more.
    fn set_quota(
        &self,
        namespace: Label,
        quota: Option<Quota>,
    ) -> BoxFuture<'_, Result<(), CatalogError>>;

    /// Puts the kept revision `to` in force, durably, and ends a split: from then on every call
    /// is answered by it. Routes stay as they are, since they are the function's. `now_ms` is now,
    /// milliseconds since 1970.
    fn roll_back(
        &self,
        name: FunctionName,
        to: u64,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Deployed, CatalogError>>;

    /// Spreads calls over kept revisions, durably; without weights, ends that.
    fn split(
        &self,
        name: FunctionName,
        traffic: Traffic,
    ) -> BoxFuture<'_, Result<Deployed, CatalogError>>;

    /// Every revision that is kept, newest first.
    fn revisions(&self, name: FunctionName) -> BoxFuture<'_, Result<Vec<Kept>, CatalogError>>;
}

/// A function whose code is held and whose ABI is known.
#[derive(Debug, Clone)]
pub struct NewRevision {
    /// As the user said it.
    pub function: Function,
    /// Its code.
    pub digest: Digest,
    /// The file name the code came under.
    pub program: String,
    /// As told, or as found.
    pub abi: Abi,
    /// Whose calls its routes may take.
    pub reach: Reach,
    /// Now, milliseconds since 1970.
    pub now_ms: u64,
}

/// Why the catalog refused.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// There is no such function.
    #[error("there is no function `{0}`")]
    NotFound(FunctionName),
    /// There is no such revision, or no more.
    #[error("`{function}` has no revision {number}; kept are {}", numbers(kept))]
    NoRevision {
        /// Of which function.
        function: FunctionName,
        /// The number that was asked for.
        number: u64,
        /// The numbers of those that are kept.
        kept: Vec<u64>,
    },
    /// A route belongs to another function already.
    #[error(transparent)]
    Conflict(#[from] crate::plan::routes::Conflict),
    /// The namespace may have no more functions.
    #[error(transparent)]
    Quota(#[from] TooManyFunctions),
    /// The disk is full; nothing was changed.
    #[error("the disk is full, nothing was changed")]
    Full,
    /// The store failed; nothing was changed.
    #[error("the catalog can't be written: {0}")]
    Storage(String),
}

/// Who may speak to this installation. One owner writes; anybody may read.
pub trait Tokens: Send + Sync {
    /// Every token, by name. Reads memory only.
    fn tokens(&self) -> Arc<Vec<Token>>;

    /// Adds a token, durably, before it returns.
    fn create_token(&self, token: Token) -> BoxFuture<'_, Result<(), TokenError>>;

    /// Ends a token, durably, before it returns: no later request is let in by it.
    fn revoke_token(&self, name: Label) -> BoxFuture<'_, Result<(), TokenError>>;
}

/// Why a token was not made or not ended. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is no such token.
    #[error("there is no token `{0}`")]
    NotFound(Label),
    /// There is one of that name.
    #[error("there is a token `{0}` already")]
    Exists(Label),
    /// There are [`crate::token::MOST_TOKENS`].
    #[error("there are {most} tokens, the most that are kept")]
    TooMany {
        /// The most that are kept.
        most: usize,
    },
    /// The disk is full.
    #[error("the disk is full, nothing was changed")]
    Full,
    /// The store failed.
    #[error("the catalog can't be written: {0}")]
    Storage(String),
}

fn numbers(kept: &[u64]) -> String {
    kept.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// Modules by digest.
pub trait Blobs: Send + Sync {
    /// Opens the blob for reading.
    ///
    /// # Errors
    /// `NotFound` when it is not held.
    fn open(&self, digest: &Digest) -> io::Result<File>;

    /// Opens the blob for a deploy, which takes a moment until a revision needs it: until then it
    /// counts as new.
    ///
    /// # Errors
    /// `NotFound` when it is not held.
    fn claim(&self, digest: &Digest) -> io::Result<File> {
        self.open(digest)
    }
}

/// A body on its way in.
pub type UploadBody = Pin<Box<dyn Body<Data = Bytes, Error = io::Error> + Send>>;

/// [`Blobs`] that takes new ones.
pub trait Uploads: Blobs {
    /// Takes `body`, of at most `most` bytes, and returns once it is durable. Nothing is kept of
    /// one that is refused, or when the future is dropped.
    fn put(&self, body: UploadBody, most: u64) -> BoxFuture<'_, Result<Digest, UploadError>>;
}

/// Why an upload was not taken. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It has more bytes than are allowed.
    #[error("it has more than {most} bytes, the most that is taken")]
    TooLarge {
        /// The most bytes that are taken.
        most: u64,
    },
    /// The disk is full.
    #[error("the disk is full, nothing was kept")]
    Full,
    /// What must be kept leaves no room within the store's own budget.
    #[error(
        "with it the store would have {needed} bytes that functions need, and its budget is {most}"
    )]
    OverBudget {
        /// Bytes of all that is needed, and of what came.
        needed: u64,
        /// The budget.
        most: u64,
    },
    /// The sender broke off.
    #[error("it broke off: {0}")]
    Body(String),
    /// The store failed.
    #[error("it can't be kept: {0}")]
    Io(io::Error),
}

/// A store that changes its files in place.
pub trait Pause: Send + Sync {
    /// Runs `copy`, once, while nothing is written and all that was acknowledged is in the files.
    /// Waits for the disk.
    fn paused(&self, copy: &mut dyn FnMut());
}

/// Copies everything that is kept.
pub trait Backup: Send + Sync {
    /// Begins a copy of the state as it is now. The archive comes as the body; one that ends in an
    /// error is none.
    fn begin(&self, now_ms: u64) -> BoxFuture<'_, Result<ArchiveBody, BackupError>>;
}

/// An archive on its way out.
pub type ArchiveBody = Pin<Box<dyn Body<Data = Bytes, Error = io::Error> + Send>>;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// One is being made.
    #[error("another backup is being made")]
    Busy,
    /// The disk is full: the catalog is copied beside its place.
    #[error("the disk is full")]
    Full,
    /// The state can't be read, or is damaged; in words, with what to do.
    #[error("{0}")]
    Failed(String),
}

/// Gets code from registries.
pub trait Images: Send + Sync {
    /// Pulls the image that a function of `namespace` names, and keeps its module as a blob,
    /// durably. `progress` hears of bytes as they come. An image that was pulled a moment ago and
    /// is named by its digest is not asked for again.
    fn pull<'a>(
        &'a self,
        namespace: &'a Label,
        image: &'a ImageSource,
        progress: &'a (dyn Fn(Transfer) + Send + Sync),
    ) -> BoxFuture<'a, Result<Pulled, Refusal>>;
}

/// Bytes of one blob of an image that have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Which.
    pub blob: Digest,
    /// So many have come.
    pub received: u64,
    /// Of so many.
    pub size: u64,
}

/// An image whose module is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// What was pulled, pinned to the manifest's digest. Where there are `words`, its command is
    /// the module alone, so that what is recorded with the whole of the arguments means the same.
    pub image: ImageSource,
    /// What it was, such as `docker-image` or `wasm-artifact`.
    pub format: &'static str,
    /// The module.
    pub blob: Digest,
    /// The module's file name.
    pub program: String,
    /// Arguments of the image's entry point, or of the command in its place, before every other.
    pub words: Vec<String>,
    /// Arguments that the image gives after them, where nobody else gives any.
    pub args: Vec<String>,
    /// Variables of the image; names are unique.
    pub env: Vec<(String, String)>,
    /// What a user should hear.
    pub warnings: Vec<String>,
}

/// What is kept for functions and never shown.
pub trait Secrets: Send + Sync {
    /// Keeps a secret, durably, in the place of one of the same name.
    fn put(&self, name: SecretName, secret: Secret) -> BoxFuture<'_, Result<(), SecretsError>>;

    /// The secret.
    fn get(&self, name: SecretName) -> BoxFuture<'_, Result<Secret, SecretsError>>;

    /// The names and keys of all, by name.
    fn list(&self) -> BoxFuture<'_, Result<Vec<SecretSummary>, SecretsError>>;

    /// Forgets a secret, durably.
    fn delete(&self, name: SecretName) -> BoxFuture<'_, Result<(), SecretsError>>;
}

/// Why nothing was done about a secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// There is no such secret.
    #[error("there is no secret `{}` in the namespace `{}`", .0.name, .0.namespace)]
    NotFound(SecretName),
    /// The disk is full; nothing was changed.
    #[error("the disk is full, nothing was changed")]
    Full,
    /// The store failed; nothing was changed.
    #[error("secrets can't be kept: {0}")]
    Storage(String),
}

/// Looks at a module and compiles it, before anything is deployed with it.
pub trait Intake: Send + Sync {
    /// Admits the blob: parses it under budgets, finds its ABI, compiles it into the cache.
    /// `progress` hears of each step as it begins.
    fn admit<'a>(
        &'a self,
        digest: &'a Digest,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Artifact, Refusal>>;
}

/// A step of [`Intake::admit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The module is parsed.
    Inspecting,
    /// It is being compiled; so long already.
    Compiling(Duration),
    /// It was compiled earlier.
    Cached,
    /// It is compiled.
    Compiled(Duration),
}

/// What a module turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its identity.
    pub digest: Digest,
    /// Bytes of the module.
    pub size: u64,
    /// `component` or `core module`.
    pub kind: &'static str,
    /// Every way it can be called; the first holds unless a manifest says otherwise.
    pub abis: Vec<Abi>,
    /// What it needs, `module name` or `interface@version`.
    pub imports: Vec<String>,
    /// What it offers.
    pub exports: Vec<String>,
}

impl Artifact {
    /// How it is called, unless a manifest says otherwise.
    pub fn abi(&self) -> Abi {
        // An intake refuses a module that can be called in no way.
        self.abis.first().copied().unwrap_or(Abi::Command)
    }
}

/// Why a module is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Stable short name: `not-wasm`, `invalid-module`, `unsupported`, `unknown-imports`,
    /// `too-large`, `compile-limit`, `storage-full`, `not-found`, `damaged`, `internal`; of an
    /// image also those of its format and its registry.
    pub reason: &'static str,
    /// What is wrong, in words.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// One request to a function.
pub struct Call<B> {
    /// The platform's name for it.
    pub id: CallId,
    /// The request as the guest shall see it.
    pub request: Request<B>,
    /// The URI as the client sent it.
    pub full_uri: Uri,
    /// The path prefix or route that led here, without a trailing `/*`: CGI's `SCRIPT_NAME`.
    pub script_name: String,
    /// Who called.
    pub peer: SocketAddr,
    /// The address the call came in on.
    pub local: SocketAddr,
    /// When its head had been read.
    pub received: Instant,
    /// Its place in a trace, when it is followed; its outcome has it.
    pub trace: Option<Box<Trace>>,
}

/// Runs calls. The engine implements it; other places to run may follow.
pub trait Invoke: Send + Sync + 'static {
    /// A revision made ready for calls. Cheap to clone; holds no code until the first call.
    type Target: Clone + Send + Sync + 'static;
    /// A streamed answer. A body that ends in an error cuts the connection.
    type Body: Body<Data = Bytes, Error = Failure> + Send + 'static;

    /// Puts the quotas of all namespaces in force, for the calls that begin from now on.
    fn put_quotas(&self, quotas: &Arc<Quotas>);

    /// Makes `revision` ready to be called.
    fn target(&self, revision: Arc<Revision>) -> Self::Target;

    /// Answers one call, within the revision's limits. An `Err` is the platform's answer; every
    /// end of the call, also one after the head or by a caller gone away, is recorded.
    fn invoke<B>(
        &self,
        target: &Self::Target,
        call: Call<B>,
    ) -> impl Future<Output = Result<Response<Self::Body>, Failure>> + Send
    where
        B: Body<Data = Bytes, Error = Failure> + Send + Unpin + 'static;
}

/// Calls that are kept until they are run. One owner keeps them; runners draw leases.
///
/// Made so that a broker fits as well as a file: work is drawn one lease at a time and ended by
/// an acknowledgement, a redelivery later or a dead letter, and nothing asks for all calls at once.
pub trait CallQueue: Send + Sync {
    /// Keeps a call, durably, before it returns. One whose key was used before, for the same
    /// request, is not kept again.
    fn enqueue(
        &self,
        call: NewCall,
        body: CallBody,
    ) -> BoxFuture<'_, Result<Accepted, EnqueueError>>;

    /// Waits for the next piece of work that is due and for which there is `room`; functions of
    /// one lane take turns. Dropping the future draws nothing.
    fn lease<'a>(
        &'a self,
        room: &'a (dyn Fn(&Lane, &FunctionName) -> bool + Send + Sync),
    ) -> BoxFuture<'a, Lease>;

    /// How often a lease must be extended, with some room to spare.
    fn extend_every(&self) -> Duration;

    /// Says that the work goes on. False: the lease is held no more.
    fn extend(&self, lease: LeaseId) -> BoxFuture<'_, bool>;

    /// Ends a lease. What follows from it is durable when this returns; while the store can't
    /// write, it waits.
    fn settle(&self, lease: LeaseId, settle: Settle) -> BoxFuture<'_, Result<(), QueueError>>;

    /// At most `limit` calls, newest first, from where the page before ended.
    fn list(
        &self,
        filter: CallFilter,
        after: Option<CallCursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<CallPage, QueueError>>;

    /// One call.
    fn show(&self, call: CallId) -> BoxFuture<'_, Result<CallView, QueueError>>;

    /// The answer of one call, where it is kept.
    fn answer(&self, call: CallId) -> BoxFuture<'_, Result<Option<Answer>, QueueError>>;

    /// Makes a dead letter, or a call that waits, due now, as if it had not been tried.
    fn retry(&self, call: CallId) -> BoxFuture<'_, Result<CallView, QueueError>>;

    /// Forgets a call, wherever it stands. One that runs is ended.
    fn cancel(&self, call: CallId) -> BoxFuture<'_, Result<(), QueueError>>;

    /// Forgets every call that `filter` takes and nobody works at. How many there were.
    fn purge(&self, filter: CallFilter) -> BoxFuture<'_, Result<u64, QueueError>>;

    /// What there is. Reads memory only.
    fn figures(&self) -> QueueFigures;
}

/// What functions keep from one call to the next. Made so that a server on the network, such as
/// Redis, fits as well as a file: every request is about one store and says all that it needs.
pub trait KeyValue: Send + Sync {
    /// What is under `keys`, in their order, all at one moment.
    fn get<'a>(
        &'a self,
        store: &'a StoreId,
        keys: Vec<String>,
    ) -> BoxFuture<'a, Result<Vec<Option<Value>>, KeyValueError>>;

    /// Whether something is under `key`.
    fn exists<'a>(
        &'a self,
        store: &'a StoreId,
        key: String,
    ) -> BoxFuture<'a, Result<bool, KeyValueError>>;

    /// The keys after `after`, in the order of their bytes, at most
    /// [`PAGE`](crate::key_value::PAGE) of them; fewer are the last.
    fn keys<'a>(
        &'a self,
        store: &'a StoreId,
        after: Option<String>,
    ) -> BoxFuture<'a, Result<Vec<String>, KeyValueError>>;

    /// Makes all `changes`, one after the other, or none, and returns when they are durable; what
    /// each gave. Nobody sees some of them without the others.
    fn change<'a>(
        &'a self,
        store: &'a StoreId,
        room: Room,
        changes: Vec<Change>,
    ) -> BoxFuture<'a, Result<Vec<Changed>, KeyValueError>>;
}

/// Runs calls that were kept.
pub trait Dispatch: Send + Sync + 'static {
    /// Has the function answer. An `Err` is the platform's answer.
    fn dispatch(
        &self,
        call: CallId,
        function: &FunctionName,
        head: CallHead,
        body: CallBody,
    ) -> BoxFuture<'_, Result<Response<CallBody>, Failure>>;

    /// The retries of the revision in force; the default where there is none.
    fn retry(&self, function: &FunctionName) -> RetryPolicy;
}

/// Speaks to the world for guests.
pub trait Outbound: Send + Sync {
    /// What `revision` may ask; `None` is nothing at all. What is opened is its own: connections
    /// are kept as long as it is, and never used for another's.
    fn open(&self, revision: &Revision) -> Option<Arc<dyn Egress>>;
}

/// One function's way out, by its own rules.
pub trait Egress: Send + Sync {
    /// Asks, once: a redirect is an answer. The request's URI is whole, and its scheme is http or
    /// https. Dropping the future, or the answer's body, ends it.
    fn send(
        &self,
        request: Request<OutboundBody>,
        patience: Patience,
    ) -> BoxFuture<'static, Result<Response<OutboundBody>, OutboundError>>;
}

/// Hears what the calls of one revision do. Called on the request path: never blocks.
pub trait Record: Send + Sync {
    /// A call was let in.
    fn started(&self);
    /// The guest wrote a line.
    fn line(&self, call: CallId, stream: Stream, line: &[u8]);
    /// A call that was let in, or was refused a place, ended.
    fn ended(&self, outcome: Outcome);
}

/// Makes a [`Record`] for a revision.
pub trait Observe: Send + Sync {
    /// The record of `revision`'s calls.
    fn record(&self, revision: &Revision) -> Arc<dyn Record>;
}

/// Follows calls through a distributed trace. Called on the request path: never blocks.
pub trait Traces: Send + Sync {
    /// Begins the span of a call. It joins the trace that the request's headers name, or begins one;
    /// from then on the headers name the span as the parent of what the guest asks of others.
    /// `None`: the call is not followed.
    fn begin(
        &self,
        call: CallId,
        request: &mut Parts,
        path: &str,
        route: &str,
    ) -> Option<Box<Trace>>;
    /// A call that is followed ended.
    fn ended(&self, function: &FunctionName, trace: Box<Trace>, outcome: &Outcome);
}

/// Which of its two outputs a guest wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
