//! Carries what was observed to an OpenTelemetry collector, over OTLP's `http/protobuf`: a span per
//! call ([`trace`]) and the metrics of the process ([`metrics`]).
//!
//! It is made only where somebody configured it ([`config`]): without it there is no thread, no
//! task and nothing on the request path. With it, a call costs one look at its headers, and its
//! end one push into a bounded queue; what the queue does not take is dropped and counted. Knows
//! the ports of `dhow-core` and no functions, routes or engines.

pub mod config;
mod context;
mod export;
mod metrics;
mod resource;
mod sampler;
mod send;
mod spans;
mod trace;

pub use export::{Exporter, Figures, StartError};
