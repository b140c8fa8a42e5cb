//! Runs guests: looks at modules, compiles and caches them, links what they were granted, and
//! answers calls within limits.
//!
//! Knows no sockets, no routes and no registries. It meets the rest of dhow at the ports
//! [`Intake`](dhow_core::ports::Intake) and [`Invoke`](dhow_core::ports::Invoke), both of which
//! [`Engine`] implements. Read [`engine`] first, then [`call`] for the life of one call.

pub mod compile;
pub mod config;
pub mod engine;

mod admission;
mod background;
mod body;
mod call;
mod flight;
mod host;
mod idlers;
mod load;
mod meter;
mod rate;
mod settings;
mod tenant;
mod ticker;
mod world;

pub use body::GuestBody;
pub use call::Target;
pub use config::{CompileBudget, Config};
pub use engine::{Engine, StartError, Stats};
pub use host::clear;
pub use world::{SecretsIn, World};
