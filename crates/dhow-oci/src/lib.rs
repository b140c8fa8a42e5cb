//! Images and artifacts in every format that WebAssembly comes in.
//!
//! A [`source::Source`] gives manifests and blobs; [`image`] has what is read out of them, under
//! budgets. This crate knows no engine and no store: what was pulled lies in a folder of the
//! caller's, by digest.

pub mod archive;
pub mod credentials;
pub mod image;
pub mod layout;
pub mod reference;
pub mod registry;
pub mod source;
