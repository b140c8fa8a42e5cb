//! What a guest asks of the world, and what becomes of it.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;

/// How long connecting may take, resolving included, where the guest says nothing shorter.
pub const CONNECT: Duration = Duration::from_secs(10);
/// The longest that is waited for an answer's head, and between two pieces of its body. The call's
/// own time ends before that, as a rule.
pub const PAUSE: Duration = Duration::from_secs(600);
/// Requests of one function under way at once; more wait for [`CONNECT`].
pub const REQUESTS: usize = 128;
/// Connections that are kept open for one function, to one place.
pub const IDLE_CONNECTIONS: usize = 16;
/// How long they are kept.
pub const IDLE: Duration = Duration::from_secs(30);
/// Bytes of a body, in either direction.
pub const BODY: u64 = 1 << 30;
/// Bytes of an answer's head.
pub const HEAD: usize = 64 << 10;

/// A body on its way out or in.
pub type OutboundBody = Pin<Box<dyn Body<Data = Bytes, Error = OutboundError> + Send>>;

/// How long a guest is willing to wait. What it leaves out is as long as we are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect: Option<Duration>,
    /// For the answer's head.
    pub first_byte: Option<Duration>,
    /// Between two pieces of its body.
    pub between_bytes: Option<Duration>,
}

/// Why there is no answer, or no more of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// It is not allowed.
    #[error("{what} is denied: {why}")]
    Denied {
        /// What was asked.
        what: String,
        /// Why it is not allowed.
        why: String,
        /// Whether it is the address that a name led to that is closed.
        is_address: bool,
    },
    /// The request is none.
    #[error("the request's URL is not one that can be asked for")]
    Url,
    /// The name is not known.
    #[error("the name can't be resolved: {0}")]
    Name(String),
    /// Nobody listens there.
    #[error("the connection is refused")]
    Refused,
    /// There is no way there.
    #[error("it can't be reached: {0}")]
    Unreachable(String),
    /// Nobody answered in time.
    #[error("there is no connection in time")]
    ConnectTimeout,
    /// No head came in time, or no more of the body.
    #[error("there is no answer in time")]
    ReadTimeout,
    /// All of the function's requests are under way.
    #[error("the function has {REQUESTS} requests under way, the most that one may have")]
    Limit,
    /// The other side's certificate is not to be trusted.
    #[error("the certificate is not trusted: {0}")]
    Certificate(String),
    /// TLS failed for another reason.
    #[error("TLS fails: {0}")]
    Tls(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// What came is not HTTP.
    #[error("the answer is not HTTP: {0}")]
    Protocol(String),
    /// The request's body is too large.
    #[error("the request's body has more than {BODY} bytes")]
    RequestBody,
    /// The answer's body is too large.
    #[error("the answer's body has more than {BODY} bytes")]
    ResponseBody,
    /// Functions call each other in a ring, or too deep.
    #[error("calls from function to function are {0} deep, the most that is allowed")]
    Loop(u32),
    /// Something of ours.
    #[error("it can't be asked: {0}")]
    Internal(String),
}
