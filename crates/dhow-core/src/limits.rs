//! What one function may use. Every field is enforced by the engine; none is advice.

use std::time::Duration;

/// The limits of one revision.
///
/// `None` stands for "no limit of its own": the platform's ceilings still hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all linear memories and tables of one instance together.
    pub memory: u64,
    /// CPU time of the guest, per call.
    pub cpu_time: Duration,
    /// Thousandths of a core that the function's calls may use together, as a rate.
    pub cpu_millis: Option<u32>,
    /// Wall time of a call, to the last byte; with `stream`, to the first.
    pub timeout: Duration,
    /// Whether an answer may go on after `timeout`, as long as it never pauses for `idle_timeout`.
    pub stream: bool,
    /// The longest pause between two pieces of a streamed answer.
    pub idle_timeout: Duration,
    /// Calls running at once.
    pub concurrency: u32,
    /// Calls waiting for one of those places; one more is answered 429.
    pub queue: u32,
    /// Bytes of a request's body.
    pub request_body: u64,
    /// Bytes of a response's body.
    pub response_body: u64,
    /// Bytes that a command may write to stdout where its output is buffered.
    pub output: u64,
    /// Bytes of log lines kept per call.
    pub logs: u64,
}

/// The value, and the least and the greatest, of one limit: what a manifest may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds<T> {
    /// Used where nothing is said.
    pub default: T,
    /// The smallest that is accepted.
    pub least: T,
    /// The greatest that is accepted.
    pub most: T,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// `limits.memory`, bytes. A 32-bit memory ends at 4 GiB.
pub const MEMORY: Bounds<u64> = Bounds { default: 128 * MIB, least: 64 * KIB, most: 4 * GIB };
/// `limits.cpuTime`.
pub const CPU_TIME: Bounds<Duration> = Bounds {
    default: Duration::from_secs(10),
    least: Duration::from_millis(1),
    most: Duration::from_secs(24 * 3600),
};
/// `limits.cpu`, thousandths of a core. Nothing said: no rate.
pub const CPU_MILLIS: Bounds<u32> = Bounds { default: 1000, least: 1, most: 1_024_000 };
/// `limits.timeout`.
pub const TIMEOUT: Bounds<Duration> = Bounds {
    default: Duration::from_secs(30),
    least: Duration::from_millis(1),
    most: Duration::from_secs(24 * 3600),
};
/// `limits.idleTimeout`.
pub const IDLE_TIMEOUT: Bounds<Duration> = TIMEOUT;
/// `limits.concurrency`, calls.
pub const CONCURRENCY: Bounds<u32> = Bounds { default: 100, least: 1, most: 10_000 };
/// `limits.queue`, calls.
pub const QUEUE: Bounds<u32> = Bounds { default: 100, least: 0, most: 100_000 };
/// `limits.requestBody` and `limits.responseBody`, bytes.
pub const BODY: Bounds<u64> = Bounds { default: 64 * MIB, least: 0, most: 1024 * GIB };
/// `limits.output`, bytes; it is held in memory, hence the lower ceiling.
pub const OUTPUT: Bounds<u64> = Bounds { default: 16 * MIB, least: 0, most: GIB };
/// `limits.logs`, bytes per call.
pub const LOGS: Bounds<u64> = Bounds { default: MIB, least: 0, most: GIB };
/// `reuse.calls`, calls that one instance answers.
pub const REUSE_CALLS: Bounds<u32> = Bounds { default: 1, least: 1, most: 1_000_000 };
/// `reuse.concurrent`, calls that one instance answers at the same time.
pub const REUSE_CONCURRENT: Bounds<u32> = Bounds { default: 1, least: 1, most: 1_000 };
/// `reuse.idle`.
pub const REUSE_IDLE: Bounds<Duration> = Bounds {
    default: Duration::from_secs(60),
    least: Duration::from_millis(1),
    most: Duration::from_secs(24 * 3600),
};
/// Bytes of all arguments and of all names and values of the environment together, each with the
/// one byte that ends it. Every call copies them into its guest.
pub const ARGS_AND_ENV: usize = 64 << 10;

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: MEMORY.default,
            cpu_time: CPU_TIME.default,
            cpu_millis: None,
            timeout: TIMEOUT.default,
            stream: false,
            idle_timeout: IDLE_TIMEOUT.default,
            concurrency: CONCURRENCY.default,
            queue: QUEUE.default,
            request_body: BODY.default,
            response_body: BODY.default,
            output: OUTPUT.default,
            logs: LOGS.default,
        }
    }
}
