//! The entries of a tar archive, with everything in them checked that could mislead.
//!
//! The `tar` crate finds the entries. Extended headers (GNU's long names, PAX records) are put
//! together here, because it would read one of any length into memory.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use dhow_core::digest::Digest;
use tar::{Archive, Entry, EntryType, PaxExtensions};

use super::meter::{Ledger, Metered};
use super::padded::Padded;
use crate::image::budget::{Budget, MOST_HEADER_BYTES};
use crate::image::classify::printable;
use crate::image::error::PullError;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it is: relative, of names alone. Empty for the root itself.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Where its bytes begin in the archive.
    pub offset: u64,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file of so many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// A symbolic link, as it is written.
    Symlink(PathBuf),
    /// Another name for what an earlier entry, or a lower layer, has under this path.
    Hardlink(PathBuf),
    /// A device, pipe or socket. It holds its place, and is none of ours.
    Special,
}

/// Hears of each entry; reads as much of a file as it likes.
pub type Visit<'v> = dyn FnMut(Member, &mut dyn Read) -> Result<(), PullError> + 'v;

/// What extended headers say of the next entry.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Gives each entry of `archive` to `visit`, and the digest of all of it. `what` is its name in
/// errors.
///
/// # Errors
/// What `visit` says; [`PullError::BadLayer`], [`PullError::UnsafePath`], [`PullError::TooLarge`].
pub fn walk(
    archive: impl Read,
    what: &str,
    ledger: &mut Ledger<'_>,
    visit: &mut Visit<'_>,
) -> Result<Digest, PullError> {
    let budget = ledger.budget();
    let entries = ledger.entries_left();
    let mut counted = 0;
    let mut tar = Archive::new(Padded::new(Metered::new(archive, ledger)));
    // Where the last entry's bytes end.
    let mut end = 0;
    let mut extended = Extended::default();
    for entry in tar.entries().map_err(PullError::reading(what))?.raw(true) {
        let mut entry = entry.map_err(PullError::reading(what))?;
        counted += 1;
        end = entry.raw_file_position().saturating_add(entry.size());
        if counted > entries {
            return Err(PullError::TooLarge {
                what: "the number of entries of its layers".to_owned(),
                most: budget.entries.to_string(),
            });
        }
        if extended.take(&mut entry, what)? {
            continue;
        }
        let member = member(&entry, std::mem::take(&mut extended), what, budget)?;
        visit(member, &mut entry)?;
    }
    let (metered, length) = tar.into_inner().into_inner();
    if end > length {
        return Err(bad(what, "it ends within its last file"));
    }
    metered.finish(counted).map_err(PullError::reading(what))
}

impl Extended {
    /// Takes `entry` in when it is an extended header, and says whether it was one.
    fn take(&mut self, entry: &mut Entry<'_, impl Read>, what: &str) -> Result<bool, PullError> {
        match entry.header().entry_type() {
            EntryType::GNULongName => self.path = Some(long_name(entry, what)?),
            EntryType::GNULongLink => self.link = Some(long_name(entry, what)?),
            EntryType::XHeader => self.pax(&small(entry, what)?, what)?,
            // What it could say of all entries is nothing that is read here.
            EntryType::XGlobalHeader => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn pax(&mut self, records: &[u8], what: &str) -> Result<(), PullError> {
        for record in PaxExtensions::new(records) {
            let record = record.map_err(PullError::reading(what))?;
            match record.key_bytes() {
                b"path" => self.path = Some(record.value_bytes().to_vec()),
                b"linkpath" => self.link = Some(record.value_bytes().to_vec()),
                b"size" => {
                    let size = record.value().ok().and_then(|size| size.parse().ok());
                    let size = size.ok_or_else(|| bad(what, "a PAX size is no number"))?;
                    self.size = Some(size);
                }
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(bad(what, "it has a sparse file, which layers don't have"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn long_name(entry: &mut Entry<'_, impl Read>, what: &str) -> Result<Vec<u8>, PullError> {
    let mut name = small(entry, what)?;
    // GNU ends it with a zero byte.
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

fn small(entry: &mut Entry<'_, impl Read>, what: &str) -> Result<Vec<u8>, PullError> {
    let mut bytes = Vec::new();
    entry.take(MOST_HEADER_BYTES + 1).read_to_end(&mut bytes).map_err(PullError::reading(what))?;
    if bytes.len() as u64 > MOST_HEADER_BYTES {
        return Err(PullError::TooLarge {
            what: format!("an extended header in {what}"),
            most: format!("{MOST_HEADER_BYTES} bytes"),
        });
    }
    Ok(bytes)
}

fn member(
    entry: &Entry<'_, impl Read>,
    extended: Extended,
    what: &str,
    budget: &Budget,
) -> Result<Member, PullError> {
    let header = entry.header();
    let size = header.entry_size().map_err(PullError::reading(what))?;
    // Readers differ in which of two sizes they believe, and so would the files they see.
    if extended.size.is_some_and(|stated| stated != size) {
        return Err(bad(what, "an entry states two different sizes"));
    }
    let path = extended.path.map_or_else(|| header.path_bytes(), Cow::Owned);
    let link = || -> Result<Cow<'_, [u8]>, PullError> {
        let link = match extended.link {
            Some(link) => Some(Cow::Owned(link)),
            None => header.link_name_bytes(),
        };
        link.filter(|link| !link.is_empty()).ok_or_else(|| bad(what, "a link leads nowhere"))
    };
    let kind = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous => Kind::File(size),
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink => {
            let target = link()?;
            plain(&target, budget)?;
            Kind::Symlink(PathBuf::from(OsString::from_vec(target.into_owned())))
        }
        // Some builders write it from the root; it means the image's either way.
        EntryType::Link => {
            let target = link()?;
            let relative = target.iter().position(|byte| *byte != b'/').unwrap_or(target.len());
            Kind::Hardlink(inside(&target[relative..], budget)?)
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Special,
        other => {
            let kind = char::from(other.as_byte()).escape_debug();
            return Err(bad(what, &format!("it has an entry of the unknown type `{kind}`")));
        }
    };
    Ok(Member { path: inside(&path, budget)?, kind, offset: entry.raw_file_position() })
}

/// `path` as names alone, or why not.
fn inside(path: &[u8], budget: &Budget) -> Result<PathBuf, PullError> {
    plain(path, budget)?;
    let mut names = PathBuf::new();
    let mut depth = 0;
    for component in Path::new(OsStr::from_bytes(path)).components() {
        match component {
            Component::Normal(name) => {
                depth += 1;
                names.push(name);
            }
            // From the image's root on, as every other tool reads it; umoci writes the root itself.
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir => return Err(refused(path, "it climbs with `..`")),
            Component::Prefix(_) => return Err(refused(path, "it begins with a drive")),
        }
    }
    if depth > budget.path_depth {
        return Err(refused(path, "it is too deep"));
    }
    Ok(names)
}

fn plain(path: &[u8], budget: &Budget) -> Result<(), PullError> {
    if path.len() > budget.path_bytes {
        return Err(refused(path, "it is too long"));
    }
    if path.contains(&0) {
        return Err(refused(path, "it has a zero byte"));
    }
    Ok(())
}

pub(super) fn refused(path: &[u8], why: &'static str) -> PullError {
    PullError::UnsafePath { path: printable(&String::from_utf8_lossy(path)), why }
}

fn bad(what: &str, why: &str) -> PullError {
    PullError::BadLayer { what: what.to_owned(), why: why.to_owned() }
}
