//! Layers, looked through and read from.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use dhow_core::digest::Digest;

use super::decode::decode;
use super::members::{Kind, Member, walk};
use super::meter::Ledger;
use super::tree::{At, Tree};
use crate::image::error::PullError;
use crate::image::staged::{Staged, Unnamed};

/// What every module begins with.
pub const WASM_MAGIC: &[u8; 4] = b"\0asm";

/// One layer as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The file.
    pub path: PathBuf,
    /// What it is called in errors.
    pub name: String,
    /// The digest that it has unpacked, where that is known.
    pub unpacked: Option<Digest>,
}

/// Looks through `layers`, lowest first.
///
/// # Errors
/// [`PullError::BadLayer`], [`PullError::UnsafePath`], [`PullError::TooLarge`],
/// [`PullError::WrongDigest`].
pub fn look(layers: &[Layer], ledger: &mut Ledger<'_>) -> Result<Tree, PullError> {
    let mut tree = Tree::new(ledger.budget());
    for (layer, from) in layers.iter().enumerate() {
        let found = members(from, ledger, &mut |entry, member, bytes| {
            let wasm = matches!(member.kind, Kind::File(_)) && begins_as_wasm(&from.name, bytes)?;
            tree.apply(&member, At { layer, entry }, wasm)
        })?;
        match from.unpacked {
            Some(expected) if expected != found => {
                let what = format!("{}, unpacked,", from.name);
                return Err(PullError::WrongDigest { what, expected, found });
            }
            _ => {}
        }
    }
    Ok(tree)
}

/// Writes the files at `wanted` into `folder`, in the order of `wanted`. The layers are those that
/// [`look`] has been through with the same ledger.
///
/// # Errors
/// As [`look`], and when the disk refuses.
pub fn take(
    layers: &[Layer],
    wanted: &[At],
    folder: &Path,
    ledger: &mut Ledger<'_>,
) -> Result<Vec<Staged>, PullError> {
    ledger.again();
    let (places, within): (HashSet<At>, HashSet<usize>) =
        wanted.iter().map(|at| (*at, at.layer)).unzip();
    let mut taken: HashMap<At, Staged> = HashMap::new();
    for (layer, from) in layers.iter().enumerate() {
        if !within.contains(&layer) {
            continue;
        }
        members(from, ledger, &mut |entry, _, bytes| {
            let at = At { layer, entry };
            if places.contains(&at) {
                let file = Unnamed::write(folder, &from.name, bytes)?.name(folder)?;
                taken.insert(at, file);
            }
            Ok(())
        })?;
    }
    wanted
        .iter()
        .map(|at| {
            taken.get(at).cloned().ok_or_else(|| PullError::BadLayer {
                what: layers[at.layer].name.clone(),
                why: "it changed while it was read".to_owned(),
            })
        })
        .collect()
}

/// Writes those files of the archive into `folder` whose digests `wanted` is true of, whatever
/// their paths are.
///
/// # Errors
/// As [`look`], and when the disk refuses.
pub fn take_by_digest(
    archive: &Layer,
    wanted: &dyn Fn(&Digest) -> bool,
    folder: &Path,
    ledger: &mut Ledger<'_>,
) -> Result<Vec<Staged>, PullError> {
    let mut taken = Vec::new();
    members(archive, ledger, &mut |_, member, bytes| {
        if matches!(member.kind, Kind::File(_)) {
            let file = Unnamed::write(folder, &archive.name, bytes)?;
            if wanted(&file.digest()) {
                taken.push(file.name(folder)?);
            }
        }
        Ok(())
    })?;
    Ok(taken)
}

/// Hears of each entry with its number in the layer.
type VisitNumbered<'v> = dyn FnMut(usize, Member, &mut dyn Read) -> Result<(), PullError> + 'v;

/// Gives each entry of `layer` with its number to `visit`, and the digest of the layer unpacked.
fn members(
    layer: &Layer,
    ledger: &mut Ledger<'_>,
    visit: &mut VisitNumbered<'_>,
) -> Result<Digest, PullError> {
    let file = fs::File::open(&layer.path).map_err(PullError::io("a layer can't be opened"))?;
    let bytes = unpacked(file, ledger).map_err(PullError::reading(&layer.name))?;
    let mut entry = 0;
    let walked = walk(bytes, &layer.name, ledger, &mut |member, bytes| {
        visit(entry, member, bytes)?;
        entry += 1;
        Ok(())
    });
    if walked.is_err() {
        // A decoder tells in words of its own that it was given nothing any more.
        ledger.check()?;
    }
    walked
}

/// `from` without its compression, for as long as the ledger has time.
pub(crate) fn unpacked<'r>(
    from: impl Read + 'r,
    ledger: &Ledger<'_>,
) -> io::Result<Box<dyn Read + 'r>> {
    decode(BufReader::with_capacity(64 << 10, ledger.watched(from)))
}

fn begins_as_wasm(what: &str, bytes: &mut dyn Read) -> Result<bool, PullError> {
    let mut head = Vec::with_capacity(4);
    bytes.take(4).read_to_end(&mut head).map_err(PullError::reading(what))?;
    Ok(head == WASM_MAGIC)
}
