//! For tests alone: the guests of `guests/` as bytes, and disks whose [`power`] goes.

pub mod power;

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
