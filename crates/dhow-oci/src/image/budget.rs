//! What an image may cost.

use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The most bytes of a configuration or of a locked application: they are read into memory.
pub const MOST_CONFIG_BYTES: u64 = 8 * MIB;
/// The most layers of a manifest. Spin puts files into archives from 500 layers on.
pub const MOST_LAYERS: usize = 1000;
/// The most entries of an index.
pub const MOST_INDEX_ENTRIES: usize = 1000;
/// The most indexes within each other.
pub const MOST_INDEX_DEPTH: usize = 4;
/// The most bytes of a tar entry's extended header (a long name, or PAX records).
pub const MOST_HEADER_BYTES: u64 = 64 * KIB;
/// The most symbolic links that are followed for one path, as Linux has it.
pub const MOST_LINKS: usize = 40;
/// The most bytes that a zstd frame may ask to be held for its window.
pub const MOST_ZSTD_WINDOW: u64 = 64 * MIB;

/// What one image may cost. Reached, it is refused with the budget's name.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Bytes of all blobs together, as they are stored.
    pub stored: u64,
    /// Bytes of all layers together, unpacked; and of all files of an application together, each
    /// as often as it is named.
    pub unpacked: u64,
    /// Bytes of one module.
    pub module: u64,
    /// Entries of all layers together, and files and folders that they make; and files of an
    /// application.
    pub entries: u64,
    /// Bytes of all names and links in the layers together, and of the paths of files where they
    /// are listed; both are held in memory.
    pub names: usize,
    /// Bytes of a path in a layer, as written and with its links followed.
    pub path_bytes: usize,
    /// Names in a path in a layer, likewise.
    pub path_depth: usize,
    /// Time to look through the layers and to take out of them. Downloads are not in it.
    pub unpack_time: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            stored: 2 * GIB,
            unpacked: 8 * GIB,
            module: 2 * GIB,
            entries: 500_000,
            names: 64 << 20,
            path_bytes: 4096,
            path_depth: 128,
            unpack_time: Duration::from_secs(300),
        }
    }
}
