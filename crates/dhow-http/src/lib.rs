//! The front of one service: takes connections, reads requests within caps, gives answers, ends
//! politely. Knows no routes and no functions; whoever uses it implements [`Service`].
//!
//! Connections are spread over worker threads, each with a runtime of its own: a request is read,
//! answered and written by one thread, without a hop ([`server`]).

pub mod answer;
pub mod body;
pub mod config;
pub mod id;
pub mod server;
pub mod tls;

mod connection;
mod link;
mod outgoing;
mod stall;

pub use answer::PlatformBody;
pub use body::RequestBody;
pub use config::Config;
pub use server::{Connection, Server, Service};
