//! What one machine keeps in its data folder: the catalog of functions, the blobs of their code and
//! what they keep themselves; and copies of all of it. One process owns the folder; everything that was acknowledged is
//! on disk.
//!
//! Knows files and redb; knows nothing of HTTP, of engines or of who asks.
//! Start with [`folder::DataFolder`], which both stores need to be opened with.

pub mod backup;
pub mod blobs;
pub mod catalog;
pub mod folder;
pub mod key_value;
pub mod secret;

#[cfg(test)]
mod small_disk;
