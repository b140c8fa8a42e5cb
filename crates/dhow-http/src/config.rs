//! What a front allows its clients.

use std::time::Duration;

use crate::tls::Tls;

/// Caps and timeouts of one front.
#[derive(Debug, Clone)]
pub struct Config {
    /// Threads that serve connections.
    pub workers: usize,
    /// Connections at once; the next ones wait in the kernel's backlog.
    pub connections: usize,
    /// From the connection, or the last answer, to the end of a request's head. Also how long an
    /// idle connection is kept; in HTTP/2, up to twice that.
    pub head_timeout: Duration,
    /// Bytes of a request's head; more is 431.
    pub head_bytes: usize,
    /// Header fields of a request; more is 431.
    pub head_fields: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// The longest pause inside a request's body; then 408.
    pub body_stall: Duration,
    /// The longest time that a client may take no byte of its answer, or in HTTP/2 less than
    /// 64 KiB of one that goes on; then the connection, or that stream, is cut.
    pub write_stall: Duration,
    /// How long serving goes on after readiness has failed, at the end.
    pub drain_delay: Duration,
    /// How long calls in flight may then take.
    pub drain_timeout: Duration,
    /// How TLS is spoken; `None` is not at all.
    pub tls: Option<Tls>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(2, usize::from),
            connections: 10_000,
            head_timeout: Duration::from_secs(60),
            head_bytes: 64 << 10,
            head_fields: 100,
            streams: 200,
            body_stall: Duration::from_secs(30),
            write_stall: Duration::from_secs(30),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
            tls: None,
        }
    }
}
