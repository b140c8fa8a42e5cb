//! The API over real connections, on fakes of the ports.

mod access;
mod artifacts;
mod backup;
mod deploy;
mod description;
mod fake_calls;
mod functions;
mod images;
mod observed;
mod queue;
mod revisions;
mod rig;
mod secrets;
mod server;
