//! What is in an image or an artifact, and what is made of it.

pub mod descriptor;
pub mod error;
pub mod incoming;
