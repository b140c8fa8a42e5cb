//! A layer as it comes; and one whose entries are as they come, but well-made, since no random
//! bytes have the checksums of tar's headers. It is laid over itself, so that whiteouts hide.
#![no_main]

use std::io::Read;
use std::path::Component;
use std::time::Duration;

use dhow_oci::image::budget::Budget;
use dhow_oci::image::error::PullError;
use dhow_oci::image::layers::decode::decode;
use dhow_oci::image::layers::members::{Kind, walk};
use dhow_oci::image::layers::meter::{Ledger, Stop};
use dhow_oci::image::layers::tree::{At, Found, Tree};
use libfuzzer_sys::fuzz_target;
use tar::{EntryType, Header};

const BUDGET: Budget = Budget {
    stored: 0,
    unpacked: 1 << 20,
    module: 1 << 20,
    entries: 100,
    names: 4096,
    path_bytes: 200,
    path_depth: 12,
    unpack_time: Duration::from_secs(5),
};

fuzz_target!(|data: &[u8]| {
    let made;
    let layer = match data.split_first() {
        Some((b'!', entries)) => {
            made = make(entries);
            &made
        }
        _ => data,
    };
    let mut tree = Tree::new(&BUDGET);
    let mut ledger = Ledger::open(&BUDGET, &Stop::default());
    for number in 0..2 {
        if let Err(error) = lay(&mut tree, layer, number, &mut ledger) {
            assert!(!error.reason().is_empty() && !error.to_string().is_empty());
            break;
        }
    }
    look(&tree);
});

fn lay(tree: &mut Tree, layer: &[u8], number: usize, ledger: &mut Ledger) -> Result<(), PullError> {
    let Ok(bytes) = decode(layer) else { return Ok(()) };
    let mut entry = 0;
    walk(bytes, "a layer", ledger, &mut |member, bytes| {
        assert!(member.path.components().all(|name| matches!(name, Component::Normal(_))));
        assert!(member.path.components().count() <= BUDGET.path_depth);
        let mut head = Vec::new();
        let read = bytes.take(4).read_to_end(&mut head);
        let wasm = read.is_ok() && matches!(member.kind, Kind::File(_)) && head == b"\0asm";
        tree.apply(&member, At { layer: number, entry }, wasm)?;
        entry += 1;
        Ok(())
    })?;
    assert!(entry as u64 <= BUDGET.entries);
    Ok(())
}

fn look(tree: &Tree) {
    // Links may make longer paths of the names than may be listed.
    let Ok(files) = tree.files() else { return };
    assert!(files.iter().map(|(path, _)| path.as_os_str().len()).sum::<usize>() <= BUDGET.names);
    assert!(files.iter().all(|(path, _)| path.as_os_str().len() <= BUDGET.path_bytes));
    assert!(files.len() as u64 <= BUDGET.entries);
    assert!(files.is_sorted_by(|(a, _), (b, _)| a < b));
    for (path, file) in files {
        assert!(path.components().all(|name| matches!(name, Component::Normal(_))));
        assert_eq!(tree.find(&path), Some(Found::File(file)));
        #[cfg(feature = "planted")]
        planted(&path, file.wasm);
    }
}

/// A layer of entries: for each one byte of kind, and path, link and bytes behind their lengths.
fn make(mut data: &[u8]) -> Vec<u8> {
    let mut layer = Vec::new();
    while let Some((kind, rest)) = data.split_first() {
        data = rest;
        let mut part = |most: usize| {
            let length = data.first().map_or(0, |length| usize::from(*length).min(most));
            let (part, rest) =
                data.get(1..).unwrap_or_default().split_at_checked(length).unwrap_or_default();
            data = rest;
            part
        };
        let (path, link, bytes) = (part(100), part(100), part(255));
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path);
        old.linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(EntryType::new(*kind));
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        layer.extend_from_slice(header.as_bytes());
        layer.extend_from_slice(bytes);
        layer.resize(layer.len().next_multiple_of(512), 0);
    }
    layer.resize(layer.len() + 1024, 0);
    layer
}

/// Wrongly holds that no module lies in a folder within a folder.
#[cfg(feature = "planted")]
fn planted(path: &std::path::Path, wasm: bool) {
    assert!(!wasm || path.components().count() != 3, "planted");
}
