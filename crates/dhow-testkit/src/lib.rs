//! For tests alone: the guests of `guests/` as bytes, disks whose [`power`] goes, real servers of
//! other projects, and the admin API's description as a [`contract`] that every answer is held
//! against.

pub mod contract;
pub mod power;
pub mod registry;
pub mod relay;

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// The bytes of a committed guest.
///
/// # Panics
/// When there is no such guest.
pub fn guest(name: &str) -> &'static [u8] {
    GUESTS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, bytes)| *bytes)
        .unwrap_or_else(|| panic!("there is no guest `{name}` in guests/"))
}
