//! Layers as strangers may write them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use tar::{EntryType, Header};

use super::members::{Kind, Member};
use super::meter::{Ledger, Stop};
use super::rootfs::{Layer, look, take, unpacked};
use super::tree::{At, Found, Tree};
use crate::image::budget::Budget;
use crate::image::error::PullError;

const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// A tar archive, entry by entry and without the checks that a good writer has.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, kind: EntryType, path: &str, link: &str, bytes: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, path: &str, bytes: &[u8]) -> Self {
        self.entry(EntryType::Regular, path, "", bytes)
    }

    fn folder(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path, "", b"")
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, target, b"")
    }

    fn hardlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, target, b"")
    }

    fn pax(self, key: &str, value: &str) -> Self {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length += 1;
        }
        self.entry(EntryType::XHeader, "pax", "", format!("{length}{rest}").as_bytes())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

struct Layers {
    folder: tempfile::TempDir,
    layers: Vec<Layer>,
}

fn layers(of: impl IntoIterator<Item = Vec<u8>>) -> Layers {
    let folder = tempfile::tempdir().unwrap();
    let write = |(at, bytes): (usize, Vec<u8>)| {
        let path = folder.path().join(format!("layer-{at}"));
        fs::write(&path, bytes).unwrap();
        Layer { path, name: format!("layer {at}"), unpacked: None }
    };
    let layers = of.into_iter().enumerate().map(write).collect();
    Layers { folder, layers }
}

fn tree(of: impl IntoIterator<Item = Tar>) -> Result<Tree, PullError> {
    looked(&layers(of.into_iter().map(Tar::end)).layers, &Budget::default())
}

/// Looks through layers with a ledger of their own.
fn looked(layers: &[Layer], budget: &Budget) -> Result<Tree, PullError> {
    look(layers, &mut Ledger::open(budget, &Stop::default()))
}

fn refused(of: Tar) -> &'static str {
    tree([of]).unwrap_err().reason()
}

fn paths(tree: &Tree) -> Vec<String> {
    tree.files().unwrap().into_iter().map(|(path, _)| path.display().to_string()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    to.write_all(bytes).unwrap();
    to.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn a_file_is_taken_out_of_any_compression_and_nothing_else_is_written() {
    let plain = Tar::default().folder("./").file("./app/x.wasm", MODULE).file("other", b"x").end();
    // Several members and frames, as parallel compressors write them; and a skipped frame.
    let (head, tail) = plain.split_at(700);
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3], &zstd(head)[..], &zstd(tail)];
    for bytes in [
        plain.clone(),
        gzip(&plain),
        [gzip(head), gzip(tail)].concat(),
        zstd(&plain),
        skipped.concat(),
    ] {
        let of = layers([bytes]);
        let budget = Budget::default();
        let mut ledger = Ledger::open(&budget, &Stop::default());
        let tree = look(&of.layers, &mut ledger).unwrap();
        let Some(Found::File(file)) = tree.find(Path::new("/app/../app/x.wasm")) else {
            panic!("the module was not found");
        };
        assert!(file.wasm);
        let taken = take(&of.layers, &[file.at], of.folder.path(), &mut ledger).unwrap();
        assert_eq!(fs::read(&taken[0].path).unwrap(), MODULE);
        assert_eq!(fs::read_dir(of.folder.path()).unwrap().count(), 2);
    }
}

#[test]
fn absolute_paths_begin_at_the_images_root() {
    let of = Tar::default().folder("/").folder("/app/").file("/app/a.wasm", MODULE);
    assert_eq!(paths(&tree([of]).unwrap()), ["app/a.wasm"]);
}

#[test]
fn an_archive_may_end_with_its_last_byte_but_not_before() {
    let whole = Tar::default().file("a.wasm", MODULE).0;
    let at_the_end = 512 + MODULE.len();
    for (length, is_whole) in [
        (whole.len(), true),
        (at_the_end + 1, true),
        (at_the_end, true),
        (at_the_end - 1, false),
        (513, false),
        (100, false),
    ] {
        let of = layers([whole[..length].to_vec()]);
        let read = looked(&of.layers, &Budget::default());
        assert_eq!(read.is_ok(), is_whole, "{length} bytes: {read:?}");
    }
}

#[test]
fn what_climbs_out_is_refused() {
    for path in ["../x", "a/../../x", "/../x", "a/..", ".."] {
        assert_eq!(refused(Tar::default().file(path, b"")), "unsafe-path", "{path}");
        assert_eq!(refused(Tar::default().pax("path", path).file("x", b"")), "unsafe-path");
    }
    assert_eq!(refused(Tar::default().file("x", b"").hardlink("y", "../x")), "unsafe-path");
    assert_eq!(refused(Tar::default().hardlink("y", "/etc/passwd")), "unsafe-path");
    assert_eq!(refused(Tar::default().file(".wh...", b"")), "unsafe-path");
    assert_eq!(refused(Tar::default().file("a/.wh.", b"")), "unsafe-path");
    assert_eq!(refused(Tar::default().pax("path", "a\0b").file("x", b"")), "unsafe-path");
    let long = "x/".repeat(200);
    assert_eq!(refused(Tar::default().pax("path", &long).file("x", b"")), "unsafe-path");
    let long = "x".repeat(5000);
    assert_eq!(refused(Tar::default().pax("path", &long).file("x", b"")), "unsafe-path");
}

#[test]
fn links_stay_within_the_image() {
    let tree = tree([Tar::default()
        .file("etc/passwd", MODULE)
        .symlink("out", "../../../../etc")
        .symlink("absolute", "/etc/passwd")
        .symlink("round", "round")
        .symlink("nowhere", "/not/here")
        .hardlink("again", "etc/passwd")
        .hardlink("link", "absolute")
        .file("out/new", b"in etc")])
    .unwrap();
    for path in ["out/passwd", "absolute", "again", "link", "/../out/../etc/passwd"] {
        assert!(matches!(tree.find(Path::new(path)), Some(Found::File(f)) if f.wasm), "{path}");
    }
    assert!(matches!(tree.find(Path::new("etc/new")), Some(Found::File(_))));
    assert_eq!(tree.find(Path::new("round")), None);
    assert_eq!(tree.find(Path::new("nowhere")), None);
    assert_eq!(
        refused(Tar::default().symlink("a", "b").symlink("b", "a").file("a/x", b"")),
        "unsafe-path"
    );
    assert_eq!(refused(Tar::default().file("a", b"").file("a/x", b"")), "unsafe-path");
    assert_eq!(refused(Tar::default().symlink("a", "")), "bad-layer");
}

#[test]
fn depth_does_not_grow_through_links() {
    let mut tar = Tar::default();
    let step = "d/".repeat(40);
    for at in 0..6 {
        let from = if at == 0 { String::new() } else { format!("s{}/", at - 1) };
        tar = tar.folder(&format!("{from}{step}"));
        tar = tar.symlink(&format!("s{at}"), &format!("{from}{step}"));
    }
    assert_eq!(refused(tar), "unsafe-path");
}

#[test]
fn nothing_comes_twice_in_a_layer() {
    assert_eq!(refused(Tar::default().file("x", b"1").file("./x", b"2")), "unsafe-path");
    assert_eq!(refused(Tar::default().folder("x").file("x", b"2")), "unsafe-path");
    assert_eq!(refused(Tar::default().file("x", b"2").folder("x")), "unsafe-path");
    assert_eq!(
        paths(&tree([Tar::default().folder("x").folder("x").file("x/y", b"")]).unwrap()),
        ["x/y"]
    );
}

#[test]
fn whiteouts_hide_lower_layers_and_their_own_never() {
    let lower = || Tar::default().file("a/1", b"").file("a/2", b"").file("b/1", b"").file("c", b"");
    let hidden = tree([lower(), Tar::default().file("a/.wh.1", b"").file(".wh.b", b"")]).unwrap();
    assert_eq!(paths(&hidden), ["a/2", "c"]);
    let upper = Tar::default().file("b/2", b"").file("b/.wh..wh..opq", b"").file("b/3", b"");
    assert_eq!(paths(&tree([lower(), upper]).unwrap()), ["a/1", "a/2", "b/2", "b/3", "c"]);
    let upper = Tar::default().file("c", b"new").file(".wh.c", b"").file("x/.wh.y", b"");
    assert_eq!(paths(&tree([lower(), upper]).unwrap()), ["a/1", "a/2", "b/1", "c"]);
    let upper = Tar::default().file("a", b"").folder("c").file("c/x", b"");
    assert_eq!(paths(&tree([lower(), upper]).unwrap()), ["a", "b/1", "c/x"]);
}

#[test]
fn devices_hold_their_place_and_what_is_unknown_is_refused() {
    let device = Tar::default().entry(EntryType::Char, "dev/null", "", b"");
    let device = device.entry(EntryType::Fifo, "pipe", "", b"");
    let tree = tree([Tar::default().file("pipe", b""), device]).unwrap();
    assert_eq!(tree.find(Path::new("dev/null")), Some(Found::Special));
    assert_eq!(paths(&tree), [""; 0]);
    assert_eq!(refused(Tar::default().entry(EntryType::new(b'Z'), "x", "", b"")), "bad-layer");
    assert_eq!(refused(Tar::default().entry(EntryType::GNUSparse, "x", "", b"")), "bad-layer");
    assert_eq!(refused(Tar::default().pax("GNU.sparse.major", "1").file("x", b"")), "bad-layer");
    assert_eq!(refused(Tar::default().pax("size", "9").file("x", b"12")), "bad-layer");
}

#[test]
fn bombs_end_at_their_budget() {
    let reason = |bytes: Vec<u8>, budget: &Budget| {
        looked(&layers([bytes]).layers, budget).unwrap_err().reason()
    };
    let small = Budget { unpacked: 1 << 20, ..Budget::default() };
    let zeros = Tar::default().file("x", &vec![0; 2 << 20]).end();
    assert_eq!(reason(gzip(&zeros), &small), "too-large");
    assert_eq!(reason(zstd(&zeros), &small), "too-large");
    // Behind the end of the archive, where nothing is an entry.
    let behind = [Tar::default().end(), vec![0; 2 << 20]].concat();
    assert_eq!(reason(gzip(&behind), &small), "too-large");
    let header = Tar::default().entry(EntryType::GNULongName, "l", "", &[b'x'; 70 << 10]).end();
    assert_eq!(reason(header, &Budget::default()), "too-large");
    let few = Budget { entries: 3, ..Budget::default() };
    let many = (0..4).fold(Tar::default(), |tar, at| tar.file(&format!("{at}"), b""));
    assert_eq!(reason(many.end(), &few), "too-large");
    // One entry makes four folders by the way.
    assert_eq!(reason(Tar::default().file("a/b/c/d/e", b"").end(), &few), "too-large");
    let short = Budget { names: 20, ..Budget::default() };
    assert_eq!(
        reason(Tar::default().symlink("a", "a-target-that-is-long").end(), &short),
        "too-large"
    );
    let no_time = Budget { unpack_time: Duration::ZERO, ..Budget::default() };
    assert_eq!(reason(Tar::default().file("x", b"").end(), &no_time), "too-large");
    // A frame that asks for a window of 3.75 TiB.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0, 0, 0];
    assert_eq!(reason(window.to_vec(), &Budget::default()), "bad-layer");
}

/// Bytes again and again, without end.
struct Endless {
    bytes: Vec<u8>,
    at: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in buffer.iter_mut() {
            *byte = self.bytes[self.at];
            self.at = (self.at + 1) % self.bytes.len();
        }
        Ok(buffer.len())
    }
}

#[test]
fn what_unpacks_to_nothing_for_ever_ends_with_its_time() {
    let budget = Budget { unpack_time: Duration::from_millis(50), ..Budget::default() };
    // An empty frame: no checksum, a window of 2 MiB, one last raw block of no bytes.
    let frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x01, 0x00, 0x00];
    let skipped = vec![0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
    for bytes in [gzip(b""), frame, skipped] {
        let ledger = Ledger::open(&budget, &Stop::default());
        let mut of = unpacked(Endless { bytes, at: 0 }, &ledger).unwrap();
        assert!(of.read(&mut [0; 10]).is_err());
        assert_eq!(ledger.check().unwrap_err().reason(), "too-large");
    }
    let (budget, stop) = (Budget::default(), Stop::default());
    let ledger = Ledger::open(&budget, &stop);
    let mut of = unpacked(Endless { bytes: vec![0], at: 0 }, &ledger).unwrap();
    stop.stop();
    assert!(io::copy(&mut of, &mut io::sink()).is_err());
    assert_eq!(ledger.check().unwrap_err().reason(), "stopped");
}

#[test]
fn one_images_time_is_for_all_that_is_done_with_its_layers() {
    let of = layers([Tar::default().file("a", MODULE).end()]);
    let budget = Budget { unpack_time: Duration::from_millis(50), ..Budget::default() };
    let mut ledger = Ledger::open(&budget, &Stop::default());
    std::thread::sleep(Duration::from_millis(60));
    let taken = take(&of.layers, &[At { layer: 0, entry: 0 }], of.folder.path(), &mut ledger);
    assert_eq!(taken.unwrap_err().reason(), "too-large");
}

#[test]
fn links_make_no_path_longer_than_a_path_may_be() {
    // Each link leads 8 names of 100 bytes further; forty of them would make 32,000 bytes.
    let far = format!("{}/", "d".repeat(99)).repeat(8);
    let budget = Budget { path_bytes: 4096, path_depth: 1000, ..Budget::default() };
    let mut tree = Tree::new(&budget);
    let mut apply = |path: &str, kind: Kind| {
        let member = Member { path: path.into(), kind, offset: 0 };
        tree.apply(&member, At { layer: 0, entry: 0 }, true)
    };
    let mut made = 0;
    let refused = (0..20).find_map(|at| {
        let from = if at == 0 { String::new() } else { format!("s{}/", at - 1) };
        made = at;
        apply(&format!("{from}{far}x"), Kind::File(1))
            .and_then(|()| apply(&format!("s{at}"), Kind::Symlink(format!("{from}{far}").into())))
            .err()
    });
    assert_eq!((refused.unwrap().reason(), made), ("unsafe-path", 5));
    let longest = tree.files().unwrap().iter().map(|(path, _)| path.as_os_str().len()).max();
    assert_eq!(longest, Some(5 * 800 + 1));
}

#[test]
fn the_paths_of_files_are_listed_within_the_budget_for_names() {
    let budget = Budget { names: 1000, ..Budget::default() };
    let mut tree = Tree::new(&budget);
    let mut apply = |path: String| {
        let member = Member { path: path.into(), kind: Kind::File(1), offset: 0 };
        tree.apply(&member, At { layer: 0, entry: 0 }, true)
    };
    // Names of 310 bytes, paths of 3,060.
    for at in 0..10 {
        apply(format!("{}/{}/{at}", "a".repeat(150), "b".repeat(150))).unwrap();
    }
    assert_eq!(tree.files().unwrap_err().reason(), "too-large");
    let modules = tree.modules().unwrap();
    assert_eq!((modules.count, modules.first.0.ends_with("0")), (10, true));
}

#[test]
fn half_an_archive_is_none() {
    let whole = gzip(&Tar::default().file("x", &[7; 4000]).end());
    let half = whole[..whole.len() / 2].to_vec();
    assert_eq!(
        looked(&layers([half]).layers, &Budget::default()).unwrap_err().reason(),
        "bad-layer"
    );
    let junk = layers([vec![b'x'; 2048]]);
    assert_eq!(looked(&junk.layers, &Budget::default()).unwrap_err().reason(), "bad-layer");
}

#[test]
fn a_layer_that_unpacks_to_something_else_is_refused() {
    let mut of = layers([Tar::default().file("x", b"").end()]);
    of.layers[0].unpacked = Some(dhow_core::digest::Digest::from_bytes([1; 32]));
    assert_eq!(looked(&of.layers, &Budget::default()).unwrap_err().reason(), "wrong-digest");
}

/// A layer's entry in the naive model.
#[derive(Debug, Clone)]
enum Act {
    File(&'static str),
    Folder(&'static str),
    Hide(&'static str),
    Opaque(&'static str),
}

fn act() -> impl Strategy<Value = Act> {
    let path =
        || prop::sample::select(vec!["a", "b", "a/a", "a/b", "b/a", "a/a/a", "a/a/b", "b/a/a"]);
    prop_oneof![
        3 => path().prop_map(Act::File),
        1 => path().prop_map(Act::Folder),
        2 => path().prop_map(Act::Hide),
        1 => path().prop_map(Act::Opaque),
    ]
}

/// What a file system of layers is, said as plainly as can be: all paths, each with the layer that
/// wrote it last and whether it is a folder. `None`: the layer contradicts itself.
fn naive(layers: &[Vec<Act>]) -> Option<BTreeMap<String, (usize, bool)>> {
    let mut all: BTreeMap<String, (usize, bool)> = BTreeMap::new();
    for (layer, acts) in layers.iter().enumerate() {
        for act in acts {
            let below = |path: &str, other: &str| other.starts_with(&format!("{path}/"));
            let (path, folder) = match act {
                Act::File(path) => (*path, false),
                Act::Folder(path) => (*path, true),
                Act::Hide(hidden) | Act::Opaque(hidden) => {
                    let itself = matches!(act, Act::Hide(_));
                    let doomed = |all: &BTreeMap<String, (usize, bool)>, path: &String| {
                        let within = below(hidden, path) || itself && path == hidden;
                        let mine = |other: &String| all[other].0 == layer;
                        within && !all.keys().any(|o| (o == path || below(path, o)) && mine(o))
                    };
                    let gone: Vec<_> = all.keys().filter(|p| doomed(&all, p)).cloned().collect();
                    gone.iter().for_each(|path| {
                        all.remove(path);
                    });
                    continue;
                }
            };
            for (at, _) in path.match_indices('/') {
                let above = all.entry(path[..at].to_owned()).or_insert((layer, true));
                if !above.1 {
                    return None;
                }
            }
            match all.get(path) {
                Some((_, true)) if folder => {}
                Some((before, _)) if *before == layer => return None,
                _ => all.retain(|other, _| !below(path, other)),
            }
            all.insert(path.to_owned(), (layer, folder));
        }
    }
    Some(all)
}

fn laid(layers: &[Vec<Act>]) -> Option<Vec<PathBuf>> {
    let mut tree = Tree::new(&Budget::default());
    for (layer, acts) in layers.iter().enumerate() {
        for (entry, act) in acts.iter().enumerate() {
            let (path, kind) = match act {
                Act::File(path) => (PathBuf::from(path), Kind::File(0)),
                Act::Folder(path) => (PathBuf::from(path), Kind::Folder),
                Act::Hide(path) => {
                    let path = Path::new(path);
                    let name = path.file_name().unwrap().to_str().unwrap();
                    (path.with_file_name(format!(".wh.{name}")), Kind::File(0))
                }
                Act::Opaque(path) => (Path::new(path).join(".wh..wh..opq"), Kind::File(0)),
            };
            tree.apply(&Member { path, kind, offset: 0 }, At { layer, entry }, false).ok()?;
        }
    }
    Some(tree.files().unwrap().into_iter().map(|(path, _)| path).collect())
}

proptest! {
    #[test]
    fn layers_lie_over_each_other_as_the_naive_model_has_them(
        layers in prop::collection::vec(prop::collection::vec(act(), 0..6), 1..4)
    ) {
        let naive = naive(&layers).map(|all| {
            let files = all.into_iter().filter(|(_, (_, folder))| !folder);
            let mut files: Vec<_> = files.map(|(path, _)| PathBuf::from(path)).collect();
            files.sort();
            files
        });
        prop_assert_eq!(laid(&layers), naive);
    }

    #[test]
    fn bytes_of_any_kind_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let plain = Tar::default().file("x", &bytes).end();
        let cut = plain.len() - bytes.len() / 2;
        let of = layers([plain[..cut].to_vec()]);
        if let Ok(tree) = looked(&of.layers, &Budget::default()) {
            prop_assert!(paths(&tree).len() <= 1);
        }
    }
}
