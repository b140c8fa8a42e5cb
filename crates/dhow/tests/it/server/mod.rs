//! The real binary: `dhow up` with real clients.

mod rig;

mod access;
mod admin;
mod asynchronous;
mod at_least_once;
mod backup;
mod browser;
mod client;
mod data;
mod density;
mod doctor;
mod faults;
mod format;
mod guard;
mod images;
mod metrics;
mod protocol;
mod quota;
mod revisions;
mod service;
mod settings;
mod shells;
mod sink;
mod tls;
mod upgrade;
mod words;
