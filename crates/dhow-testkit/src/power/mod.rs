//! Disks whose power goes, for tests of whatever keeps something.
//!
//! A disk records every write and every sync, and afterwards makes the images that a cut of the
//! power could have left: what was synced is there; what was written since may be there, in part
//! or not at all, in any order. The test calls `acknowledge` whenever the store has promised
//! something, opens the store on each image, and asks whether all that the image counts as
//! acknowledged is there.
//!
//! [`disk::Disk`] is one file under redb; [`files::Files`] is a folder of files that are written
//! beside their place and renamed. With [`Syncs::Ignored`] a disk takes syncs and forgets them: a
//! test that then finds nothing lost would find nothing lost ever.

pub mod disk;
pub mod files;

/// Whether a sync reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncs {
    /// As it should be.
    Kept,
    /// It is answered and forgotten.
    Ignored,
}
