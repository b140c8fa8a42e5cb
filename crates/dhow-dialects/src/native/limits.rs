//! `spec.limits` and `spec.reuse`. Their bounds and defaults are [`dhow_core::limits`]'.

use dhow_core::function::Reuse;
use dhow_core::limits::{self, Limits};

use crate::fields::{Known, Object};
use crate::problem::FieldError;

const LIMITS: Known = Known {
    fields: &[
        "memory",
        "cpuTime",
        "cpu",
        "timeout",
        "stream",
        "idleTimeout",
        "concurrency",
        "queue",
        "requestBody",
        "responseBody",
        "output",
        "logs",
    ],
    unsupported: &[],
};

const REUSE: Known = Known { fields: &["calls", "concurrent", "idle"], unsupported: &[] };

/// The limits of a function; a field that is absent or wrong has its default.
pub(super) fn limits(spec: &Object<'_>, problems: &mut Vec<FieldError>) -> Limits {
    let default = Limits::default();
    let Some(said) = spec.object("limits", &LIMITS, problems) else { return default };
    let size = |name, bounds, otherwise, problems: &mut _| {
        said.size(name, bounds, problems).unwrap_or(otherwise)
    };
    let duration = |name, bounds, otherwise, problems: &mut _| {
        said.duration(name, bounds, problems).unwrap_or(otherwise)
    };
    let count = |name, bounds, otherwise, problems: &mut _| {
        said.count(name, bounds, problems).unwrap_or(otherwise)
    };
    Limits {
        memory: size("memory", limits::MEMORY, default.memory, problems),
        cpu_time: duration("cpuTime", limits::CPU_TIME, default.cpu_time, problems),
        cpu_millis: said.rate("cpu", limits::CPU_MILLIS, problems).or(default.cpu_millis),
        timeout: duration("timeout", limits::TIMEOUT, default.timeout, problems),
        stream: said.flag("stream", problems).unwrap_or(default.stream),
        idle_timeout: duration("idleTimeout", limits::IDLE_TIMEOUT, default.idle_timeout, problems),
        concurrency: count("concurrency", limits::CONCURRENCY, default.concurrency, problems),
        queue: count("queue", limits::QUEUE, default.queue, problems),
        request_body: size("requestBody", limits::BODY, default.request_body, problems),
        response_body: size("responseBody", limits::BODY, default.response_body, problems),
        output: size("output", limits::OUTPUT, default.output, problems),
        logs: size("logs", limits::LOGS, default.logs, problems),
    }
}

/// The reuse of a function's instances; a field that is absent or wrong has its default.
pub(super) fn reuse(spec: &Object<'_>, problems: &mut Vec<FieldError>) -> Reuse {
    let default = Reuse::default();
    let Some(said) = spec.object("reuse", &REUSE, problems) else { return default };
    Reuse {
        calls: said.count("calls", limits::REUSE_CALLS, problems).unwrap_or(default.calls),
        concurrent: said
            .count("concurrent", limits::REUSE_CONCURRENT, problems)
            .unwrap_or(default.concurrent),
        idle: said.duration("idle", limits::REUSE_IDLE, problems).unwrap_or(default.idle),
    }
}
