//! What a call leaves behind.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::call::CallId;
use crate::trace::Trace;

/// Why the platform, and not the guest, ended a call. The names are a contract: they are the
/// header `X-Dhow-Reason`, the field `reason` and a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No such function or route.
    NotFound,
    /// The route exists, for other methods.
    MethodNotAllowed,
    /// The request itself is malformed.
    BadRequest,
    /// The body is over `limits.requestBody`.
    PayloadTooLarge,
    /// The function's places and its queue are full.
    Concurrency,
    /// The platform's own places are full.
    Overloaded,
    /// The function can't be loaded now.
    NotReady,
    /// `limits.timeout` (or `idleTimeout`) passed.
    WallTime,
    /// `limits.cpuTime` was used up.
    CpuTime,
    /// The guest trapped.
    Trap,
    /// The guest was refused memory and then failed.
    Memory,
    /// A command ended with another code than 0.
    GuestExit,
    /// The guest answered nothing, or nothing valid, or more than it may.
    BadResponse,
    /// The disk is full.
    StorageFull,
    /// The caller went away.
    Cancelled,
    /// The caller sent its request too slowly.
    RequestTimeout,
    /// The function asks who calls, and the caller did not show it.
    Unauthorized,
    /// The caller showed who they are, and that is not enough.
    Forbidden,
    /// Calls come more often than the function's `rateLimit` allows.
    RateLimit,
    /// The namespace has as many calls in flight as its quota allows.
    QuotaCalls,
    /// The namespace has used more CPU than its quota allows.
    QuotaCpu,
    /// The namespace's instances hold as much memory as its quota allows.
    QuotaMemory,
}

impl Reason {
    /// Every reason, in the order of the declaration.
    pub const ALL: [Self; 22] = [
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BadRequest,
        Self::PayloadTooLarge,
        Self::Concurrency,
        Self::Overloaded,
        Self::NotReady,
        Self::WallTime,
        Self::CpuTime,
        Self::Trap,
        Self::Memory,
        Self::GuestExit,
        Self::BadResponse,
        Self::StorageFull,
        Self::Cancelled,
        Self::RequestTimeout,
        Self::Unauthorized,
        Self::Forbidden,
        Self::RateLimit,
        Self::QuotaCalls,
        Self::QuotaCpu,
        Self::QuotaMemory,
    ];

    /// The stable short name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::BadRequest => "bad-request",
            Self::PayloadTooLarge => "payload-too-large",
            Self::Concurrency => "concurrency",
            Self::Overloaded => "overloaded",
            Self::NotReady => "not-ready",
            Self::WallTime => "wall-time",
            Self::CpuTime => "cpu-time",
            Self::Trap => "trap",
            Self::Memory => "memory",
            Self::GuestExit => "guest-exit",
            Self::BadResponse => "bad-response",
            Self::StorageFull => "storage-full",
            Self::Cancelled => "cancelled",
            Self::RequestTimeout => "request-timeout",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::RateLimit => "rate-limit",
            Self::QuotaCalls => "quota-calls",
            Self::QuotaCpu => "quota-cpu",
            Self::QuotaMemory => "quota-memory",
        }
    }

    /// The status that this reason is answered with. The one place where that is decided.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Concurrency | Self::RateLimit | Self::QuotaCalls | Self::QuotaCpu => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Overloaded | Self::NotReady | Self::QuotaMemory => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::WallTime | Self::CpuTime => StatusCode::GATEWAY_TIMEOUT,
            Self::Trap | Self::Memory | Self::GuestExit => StatusCode::INTERNAL_SERVER_ERROR,
            Self::BadResponse => StatusCode::BAD_GATEWAY,
            Self::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
            // Nobody reads this one; nginx' number for it, so that logs agree.
            Self::Cancelled => StatusCode::from_u16(499).expect("499 is a status code"),
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// What a person can do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::NotFound => "`dhow list` shows what is deployed",
            Self::MethodNotAllowed => "the header Allow lists the methods of this route",
            Self::BadRequest => "the error names what is wrong with the request",
            Self::PayloadTooLarge => "send less, or raise limits.requestBody",
            Self::Concurrency => "retry later, or raise limits.concurrency or limits.queue",
            Self::Overloaded => "retry after the seconds in Retry-After",
            Self::NotReady => "retry after the seconds in Retry-After; `dhow describe` tells more",
            Self::WallTime => "raise limits.timeout, or find what the guest waits for",
            Self::CpuTime => "raise limits.cpuTime, or look for an endless loop",
            Self::Trap => "`dhow logs` shows what the guest said before it failed",
            Self::Memory => "raise limits.memory",
            Self::GuestExit => "`dhow logs` shows what the guest said before it ended",
            Self::BadResponse => "`dhow logs` shows what the guest said; check its answer's format",
            Self::StorageFull => "free disk space under the data folder",
            Self::Cancelled => "the caller closed the connection before the answer",
            Self::RequestTimeout => "send the request faster",
            Self::Unauthorized => "send what the error names; whoever owns the function gives it",
            Self::Forbidden => "ask whoever gave you the token for one with this scope",
            Self::RateLimit => "retry after the seconds in Retry-After, or raise rateLimit",
            Self::QuotaCalls | Self::QuotaCpu | Self::QuotaMemory => {
                "retry later, or raise the namespace's quota; `dhow quota list` shows it"
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The end of a call for the platform's sake, before or after its head was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Which.
    pub reason: Reason,
    /// In words, for this call.
    pub message: String,
    /// What the guest had written, where the answer carries it (`guest-exit` under `stdio`).
    pub body: Option<bytes::Bytes>,
    /// The code that a program ended with (`guest-exit`, `memory`).
    pub exit: Option<i32>,
    /// No instance could be made, so that nothing of the guest has run. What is refused by its
    /// reason alone, before that, need not say so.
    pub has_no_instance: bool,
}

/// Bytes of a failure's message. It may quote a guest, and is kept with the call's outcome.
const MESSAGE: usize = 1024;

impl Failure {
    /// A failure with a message, cut at 1 KiB, and no output of the guest.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE {
            message.truncate(message.floor_char_boundary(MESSAGE));
            message.push('…');
            message.shrink_to_fit();
        }
        Self { reason, message, body: None, exit: None, has_no_instance: false }
    }
}

/// How long a call spent where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases {
    /// Waiting for a place.
    pub queue: Duration,
    /// Waiting for the code to be loaded; zero when it was.
    pub load: Duration,
    /// Making the instance.
    pub instantiate: Duration,
    /// From then to the last byte.
    pub run: Duration,
}

/// The one record that a call leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Which call.
    pub call: CallId,
    /// Which revision answered.
    pub revision: u64,
    /// What was sent to the caller; 0 when nothing was.
    pub status: u16,
    /// `None`: the guest answered, whatever it said.
    pub failure: Option<Failure>,
    /// Where the time went.
    pub phases: Phases,
    /// Wall time from the first to the last of it.
    pub wall: Duration,
    /// The guest's CPU time, and the host's for it.
    pub cpu: Duration,
    /// The instance served other calls meanwhile, so `cpu` and `peak_memory` are the instance's.
    pub shared: bool,
    /// The most that memories and tables held, bytes.
    pub peak_memory: u64,
    /// Whether the code had to be loaded for this call.
    pub cold: bool,
    /// The call's place in a trace, when it is followed.
    pub trace: Option<Box<Trace>>,
}
