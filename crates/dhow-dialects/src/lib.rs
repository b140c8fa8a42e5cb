//! Manifest formats, translated to and from [`dhow_core::function::Function`].
//!
//! Pure: text in, a Function or errors that name their fields out. Nothing here reads a file, a
//! clock or the environment, and nothing behind this crate knows which format a function came in.
//! [`document`] turns bytes into values under a budget, `fields` reads values and collects what
//! is wrong with them; [`native`] is dhow's own format, [`openfaas`] OpenFaaS', [`spin`] Spin's, and
//! [`manifest`] tells them apart.

pub mod document;
mod fields;
pub mod manifest;
pub mod meant;
pub mod native;
pub mod openfaas;
pub mod problem;
pub mod spin;
