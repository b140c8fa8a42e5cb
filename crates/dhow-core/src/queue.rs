//! Asynchronous calls: acknowledged once they are kept, run later, by somebody else's clock.
//!
//! A call waits in a named queue, is leased to a runner, and is settled: finished, tried again,
//! or set aside as a dead letter. Where a callback was asked for, the answer waits in a lane of
//! its own and is delivered with the same care. [`crate::ports::CallQueue`] is the seam,
//! [`crate::plan::retry`] the decision after an attempt.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use http_body::Body;

use crate::abi::UnknownWord;
use crate::call::CallId;
use crate::limits::Bounds;
use crate::name::{FunctionName, Label};
use crate::outcome::{Failure, Reason};
use crate::ports::BoxFuture;

/// The queue of functions that name none.
pub const DEFAULT_QUEUE: &str = "default";

/// `async.retry.attempts`: how often a call is run at most.
pub const ATTEMPTS: Bounds<u32> = Bounds { default: 10, least: 1, most: 100 };
/// `async.retry.minWait`: the ceiling of the first wait.
pub const MIN_WAIT: Bounds<Duration> = Bounds {
    default: Duration::from_secs(1),
    least: Duration::from_millis(1),
    most: Duration::from_secs(3600),
};
/// `async.retry.maxWait`: the ceiling of every wait, also of one that `Retry-After` asks for.
pub const MAX_WAIT: Bounds<Duration> = Bounds {
    default: Duration::from_secs(120),
    least: Duration::from_millis(1),
    most: Duration::from_secs(24 * 3600),
};
/// `async.keepResult` and the header of the same meaning: how long an answer is kept.
pub const KEEP_RESULT: Bounds<Duration> = Bounds {
    default: Duration::ZERO,
    least: Duration::ZERO,
    most: Duration::from_secs(7 * 24 * 3600),
};
/// Statuses after which a call is tried again, unless its function says otherwise.
pub const RETRIED: [StatusCode; 6] = [
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];
/// The header that says how long the answer is kept.
pub const KEEP: HeaderName = HeaderName::from_static("x-dhow-keep-result");
/// Bytes of an `Idempotency-Key`.
pub const MOST_KEY: usize = 255;

/// A body that is kept, or on its way to be.
pub type CallBody = Pin<Box<dyn Body<Data = Bytes, Error = Failure> + Send>>;

/// How a function's asynchronous calls are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsyncPolicy {
    /// Where they wait.
    pub queue: Label,
    /// When they are run again.
    pub retry: RetryPolicy,
    /// How long answers are kept where the request does not say; zero is not at all.
    pub keep_result: Duration,
}

/// When a call that failed is run again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Runs at most, the first included.
    pub attempts: u32,
    /// The first wait is a random part of this; each later ceiling is twice the one before.
    pub min_wait: Duration,
    /// No wait is longer.
    pub max_wait: Duration,
    /// Answers after which it is run again, in order, each once.
    pub statuses: Vec<StatusCode>,
}

/// A request that is to be kept.
#[derive(Debug, Clone)]
pub struct NewCall {
    /// The platform's name for it, now and at every run.
    pub id: CallId,
    /// What it is for.
    pub function: FunctionName,
    /// Where it waits.
    pub queue: Label,
    /// The request without its body.
    pub head: CallHead,
    /// Where the answer is sent.
    pub callback: Option<Uri>,
    /// How long the answer is kept; zero is not at all.
    pub keep_result: Duration,
    /// The client's own name for what it wants done once.
    pub idempotency_key: Option<String>,
    /// Bytes of its body at most.
    pub most_body: u64,
}

/// A request without its body, as the function shall see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallHead {
    /// Its method.
    pub method: Method,
    /// Path and query for the guest.
    pub uri: Uri,
    /// As the client sent it.
    pub full_uri: Uri,
    /// See [`crate::ports::Call::script_name`].
    pub script_name: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Who called.
    pub peer: SocketAddr,
    /// The address the call came in on.
    pub local: SocketAddr,
}

/// A call that is kept: what 202 stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The call's name; of an earlier one with the same key, where there is one.
    pub call: CallId,
    /// Nothing new was kept: the key was used before.
    pub is_repeat: bool,
}

/// Why a call was not kept. Nothing of it is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnqueueError {
    /// Its body is too large.
    #[error("the body of an asynchronous call has at most {most} bytes")]
    TooLarge {
        /// The most bytes.
        most: u64,
    },
    /// The disk, or the queue's share of it, is full.
    #[error("{0}, so the call was not taken")]
    Full(&'static str),
    /// Too many bodies are on their way.
    #[error("too many asynchronous calls are being taken at once")]
    Busy,
    /// The key was used for another request.
    #[error("the Idempotency-Key was used before, for another request")]
    KeyReused,
    /// The body did not come whole.
    #[error("{0}")]
    Body(Failure),
    /// The store failed.
    #[error("the call can't be kept: {0}")]
    Storage(String),
}

/// Where leases are drawn from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Calls to be run, of one named queue.
    Queue(Label),
    /// Answers to be delivered.
    Callbacks,
}

/// Names one lease of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub u64);

/// A piece of work that nobody else has, until it is settled or the lease runs out.
pub struct Lease {
    /// What to settle it by.
    pub id: LeaseId,
    /// The call's name.
    pub call: CallId,
    /// What the call is for.
    pub function: FunctionName,
    /// Where it was drawn from.
    pub lane: Lane,
    /// Attempts at this work that ended before, those that count.
    pub attempts: u32,
    /// What is to be done.
    pub work: Work,
    /// Resolves when the lease is held no more: the call was cancelled, or the lease ran out.
    pub lost: BoxFuture<'static, ()>,
}

/// What a lease is for.
pub enum Work {
    /// Run the call.
    Run {
        /// The request.
        head: Box<CallHead>,
        /// Its body.
        body: CallBody,
        /// Somebody will want to see the answer.
        wants_answer: bool,
    },
    /// Deliver the answer.
    CallBack {
        /// Where to.
        url: Uri,
        /// What.
        answer: Box<Answer>,
    },
}

/// What a call came to, for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The function's, or the platform's.
    pub status: StatusCode,
    /// The same.
    pub headers: HeaderMap,
    /// The same; empty where it was too large to keep.
    pub body: Bytes,
    /// The body was larger than what is kept.
    pub is_cut: bool,
    /// From the start of the run to the last byte.
    pub took: Duration,
}

/// What an attempt came to, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// A stable short name: a [`Reason`], `status`, `callback-refused`, `callback-failed`,
    /// `interrupted`, `expired` or `damaged`.
    pub reason: String,
    /// What was answered; 0 when nothing was.
    pub status: u16,
    /// In words, at most 1 KiB.
    pub message: String,
}

/// How a lease ends.
#[derive(Debug, Clone)]
pub enum Settle {
    /// The work is done. An answer is kept where somebody wants it.
    Finished(Option<Answer>),
    /// Once more, after this time.
    Again {
        /// How long to wait.
        after: Duration,
        /// What this attempt came to.
        note: Note,
        /// Whether it counts: one that found no place does not.
        counted: bool,
    },
    /// Given up. Who wanted the answer gets this one.
    Dead(Note, Option<Answer>),
    /// As if it had not been drawn.
    Release,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallState {
    /// To be run, now or later.
    Waiting,
    /// Being run.
    Running,
    /// Its answer is to be delivered.
    Callback,
    /// Done, and its answer is kept.
    Done,
    /// Given up.
    Dead,
}

/// A call as others see it. Headers and bodies, which may be secret, are not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallView {
    /// Its name.
    pub call: CallId,
    /// What it is for.
    pub function: FunctionName,
    /// Where it waits.
    pub queue: Label,
    /// Where it stands.
    pub state: CallState,
    /// Attempts that ended at what it stands at, those that count.
    pub attempts: u32,
    /// Its method.
    pub method: Method,
    /// Its path, without the query.
    pub path: String,
    /// Bytes of its body.
    pub body: u64,
    /// When it was acknowledged, milliseconds since 1970.
    pub created_ms: u64,
    /// When it is tried next, or forgotten where nothing is left to be done.
    pub due_ms: u64,
    /// Where the answer goes, without the query.
    pub callback: Option<String>,
    /// What the last attempt came to, where it failed.
    pub note: Option<Note>,
    /// The status of the answer that is kept.
    pub answer: Option<StatusCode>,
}

/// Which calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Those of one namespace.
    pub namespace: Option<Label>,
    /// Those of these namespaces alone, which are all that whoever asks may see.
    pub visible: Option<Vec<Label>>,
    /// Those of one function's name, in any namespace unless that is said too.
    pub name: Option<Label>,
    /// Those that stand there.
    pub state: Option<CallState>,
}

/// Where a listing goes on. It names a place, not a call: that may have ended meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallCursor(pub u64);

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPage {
    /// Newest first.
    pub views: Vec<CallView>,
    /// Where to go on; `None` at the end.
    pub next: Option<CallCursor>,
}

/// Why nothing was done with a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// It is not known, or no more.
    #[error("there is no asynchronous call {0}")]
    NotFound(CallId),
    /// It does not stand where it would have to.
    #[error("call {call} is {state}; {wanted}")]
    Conflict {
        /// Which.
        call: CallId,
        /// Where it stands.
        state: CallState,
        /// What would have been right.
        wanted: &'static str,
    },
    /// The lease is held no more; somebody else may have the call.
    #[error("the lease is held no more")]
    LeaseLost,
    /// The disk is full; nothing was changed.
    #[error("the disk is full, nothing was changed")]
    Full,
    /// The store failed.
    #[error("the queue failed: {0}")]
    Storage(String),
}

/// What the queue says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueFigures {
    /// Calls by queue and state. Queues come from manifests, never from requests.
    pub depths: Vec<(Label, CallState, u64)>,
    /// Bytes that are counted against the budget.
    pub bytes: u64,
    /// Calls taken since the process began.
    pub enqueued: u64,
    /// Repeats of a key since then.
    pub repeats: u64,
    /// Durable writes since then; each may stand for many calls.
    pub commits: u64,
}

impl CallState {
    /// Every state, in the order of a call's life.
    pub const ALL: [Self; 5] =
        [Self::Waiting, Self::Running, Self::Callback, Self::Done, Self::Dead];

    /// The stable short name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Callback => "callback",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for CallState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CallState {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL.into_iter().find(|state| state.as_str() == word).ok_or_else(|| UnknownWord {
            found: word.to_owned(),
            expected: "waiting, running, callback, done, dead",
        })
    }
}

impl EnqueueError {
    /// As the platform answers it.
    pub fn failure(self) -> Failure {
        let reason = match &self {
            Self::TooLarge { .. } => Reason::PayloadTooLarge,
            Self::Full(_) => Reason::StorageFull,
            Self::Busy => Reason::Overloaded,
            Self::KeyReused => Reason::BadRequest,
            Self::Storage(_) => Reason::NotReady,
            Self::Body(failure) => return failure.clone(),
        };
        Failure::new(reason, self.to_string())
    }
}

impl CallFilter {
    /// Whether a call of `function` that is in `state` is meant.
    pub fn takes(&self, function: &FunctionName, state: CallState) -> bool {
        self.namespace.as_ref().is_none_or(|only| *only == function.namespace)
            && self.visible.as_ref().is_none_or(|all| all.contains(&function.namespace))
            && self.name.as_ref().is_none_or(|only| *only == function.name)
            && self.state.is_none_or(|only| only == state)
    }
}

impl Note {
    /// A note, its message cut at 1 KiB.
    pub fn new(reason: impl Into<String>, status: u16, message: impl Into<String>) -> Self {
        // A failure has the same bound.
        let Failure { message, .. } = Failure::new(Reason::BadResponse, message);
        Self { reason: reason.into(), status, message }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: ATTEMPTS.default,
            min_wait: MIN_WAIT.default,
            max_wait: MAX_WAIT.default,
            statuses: RETRIED.to_vec(),
        }
    }
}

impl Default for AsyncPolicy {
    fn default() -> Self {
        Self {
            queue: DEFAULT_QUEUE.parse().expect("`default` is a label"),
            retry: RetryPolicy::default(),
            keep_result: KEEP_RESULT.default,
        }
    }
}
