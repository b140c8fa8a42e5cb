//! The API over real connections, on fakes of the ports.

mod access;
mod artifacts;
mod backup;
mod deploy;
mod description;
mod functions;
mod observed;
mod rig;
mod server;
