//! The real binary: `dhow up` with real clients.

mod rig;

mod access;
mod admin;
mod asynchronous;
mod at_least_once;
mod audit;
mod backup;
mod board;
mod browser;
mod client;
mod data;
mod density;
mod doctor;
mod faults;
mod format;
mod given;
mod guard;
mod images;
mod log;
mod metrics;
mod openfaas;
mod outbound;
mod protocol;
mod quota;
mod revisions;
mod service;
mod settings;
mod shells;
mod sink;
mod tls;
mod top;
mod traces;
mod upgrade;
mod words;
