//! Layers of files: decompressed ([`decode`]) and counted ([`meter`]), read as tar entries
//! ([`members`]) and laid over each other in memory ([`tree`]).
//!
//! Nothing is unpacked where an entry says. A layer is read once to know what is in it and, where
//! something of it is needed, a second time; a file that is needed is written under its digest.
//! So no path or link of a layer ever meets the host's file system.

pub mod decode;
pub mod members;
pub mod meter;
mod padded;
pub mod rootfs;
pub mod tree;

#[cfg(test)]
mod tests;
