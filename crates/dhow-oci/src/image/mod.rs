//! What is in an image or an artifact, and what is made of it.
//!
//! [`pull::pull`] reads top to bottom what happens: a manifest is chosen ([`platform`]), told apart
//! ([`classify`]), its blobs are fetched and checked ([`incoming`]), its layers looked through
//! ([`layers`]), and what runs is named ([`command`], [`spin`]). [`pack`] is the way back.

pub mod budget;
pub mod classify;
pub mod command;
pub mod config;
pub mod descriptor;
pub mod error;
pub mod incoming;
pub mod layers;
pub mod manifest;
pub mod media;
pub mod pack;
pub mod platform;
pub mod pull;
pub mod pulled;
pub mod spin;
pub mod staged;
