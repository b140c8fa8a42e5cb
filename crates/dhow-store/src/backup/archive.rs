//! The archive: a tar file under gzip, which stock tools read.
//!
//! First comes `dhow-backup.json` with the format and who made it; then the files below `data/`, as
//! they stand in the data folder; last `manifest.json` with the length and SHA-256 sum of each. An
//! archive without its manifest broke off and is none. The sums show damage, not forgery: whoever
//! can write the archive can write them.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::path::{Component, Path, PathBuf};

use dhow_core::digest::Digest;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, Entry, EntryType, Header};

/// The format of archives that is written and read.
pub const FORMAT: u64 = 1;

const HEAD: &str = "dhow-backup.json";
const FILES: &str = "data";
const MANIFEST: &str = "manifest.json";
/// Bytes of the head and of the manifest that are read. A file takes some 150 of them.
const MOST_TEXT: u64 = 256 << 20;

/// Where and when an archive was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The version of the dhow that made it.
    pub dhow: String,
    /// Milliseconds since 1970.
    pub made_ms: u64,
}

/// An archive that was written or read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Where and when it was made.
    pub head: Head,
    /// What is in it, by path in the data folder.
    pub files: BTreeMap<PathBuf, Sum>,
}

/// What a file's bytes are told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// How many they are.
    pub size: u64,
    /// Their SHA-256 sum.
    pub digest: Digest,
}

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is something else.
    #[error("it is no backup that dhow made: {0}")]
    Foreign(String),
    /// A later version wrote it.
    #[error(
        "it has format {found}, written by dhow {dhow}; this one knows formats up to {FORMAT}: use \
         that version"
    )]
    Newer {
        /// Its format.
        found: u64,
        /// Who wrote it.
        dhow: String,
    },
    /// It is not whole, or not what was written.
    #[error("it is damaged: {0}; use another backup")]
    Damaged(String),
    /// What is in it can't be kept.
    #[error(transparent)]
    Keep(io::Error),
}

/// Writes one archive.
pub(super) struct Writer<W: Write> {
    tar: Builder<GzEncoder<W>>,
    archive: Archive,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(to: W, made_ms: u64) -> io::Result<Self> {
        let head = Head { dhow: env!("CARGO_PKG_VERSION").to_owned(), made_ms };
        let mut tar = Builder::new(GzEncoder::new(to, Compression::fast()));
        let text = json!({"format": FORMAT, "dhow": head.dhow, "madeMs": made_ms}).to_string();
        append(&mut tar, HEAD, text.len() as u64, text.as_bytes())?;
        Ok(Self { tar, archive: Archive { head, files: BTreeMap::new() } })
    }

    /// Adds `size` bytes of `from` as the file at `path` of the data folder; what its sum is.
    pub(super) fn add(&mut self, path: &Path, size: u64, from: impl Read) -> io::Result<Sum> {
        let mut from = Summed::new(from);
        append(&mut self.tar, Path::new(FILES).join(path), size, (&mut from).take(size))?;
        let sum = from.sum();
        if sum.size != size {
            return Err(io::Error::other(format!("{} shrank while it was read", path.display())));
        }
        self.archive.files.insert(path.to_owned(), sum);
        Ok(sum)
    }

    /// Ends the archive, which is whole with it.
    pub(super) fn finish(mut self) -> io::Result<Archive> {
        let files: Vec<Value> = self
            .archive
            .files
            .iter()
            .map(|(path, sum)| {
                json!({"path": path, "size": sum.size, "digest": sum.digest.to_string()})
            })
            .collect();
        let text = json!({ "files": files }).to_string();
        append(&mut self.tar, MANIFEST, text.len() as u64, text.as_bytes())?;
        self.tar.into_inner()?.finish()?.flush()?;
        Ok(self.archive)
    }
}

fn append(
    tar: &mut Builder<impl Write>,
    path: impl AsRef<Path>,
    size: u64,
    from: impl Read,
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o600);
    tar.append_data(&mut header, path, from)
}

/// Reads an archive to its end and holds every file against the manifest. Each is given to `keep`
/// before that is done: what was kept counts only once this returns.
///
/// # Errors
/// When it is not an archive, or not whole, or `keep` fails.
pub fn read(
    from: impl BufRead,
    mut keep: impl FnMut(&Path, &mut dyn Read) -> io::Result<()>,
) -> Result<Archive, ArchiveError> {
    let mut tar = tar::Archive::new(GzDecoder::new(from));
    let mut entries = tar.entries().map_err(damaged)?;
    let head = match entries.next() {
        Some(Ok(mut entry)) if is(&entry, HEAD) => read_head(&text(&mut entry)?)?,
        Some(Ok(_)) => return Err(ArchiveError::Foreign(format!("it does not begin with {HEAD}"))),
        Some(Err(error)) => return Err(ArchiveError::Foreign(error.to_string())),
        None => return Err(ArchiveError::Foreign("it is empty".to_owned())),
    };
    let mut found = BTreeMap::new();
    let mut listed = None;
    for entry in entries {
        let mut entry = entry.map_err(damaged)?;
        if listed.is_some() {
            return Err(ArchiveError::Damaged("something follows its manifest".to_owned()));
        }
        if is(&entry, MANIFEST) {
            listed = Some(read_manifest(&text(&mut entry)?)?);
            continue;
        }
        let path = place(&entry)?;
        let mut file = Summed::new(Watched::new(&mut entry));
        let kept = keep(&path, &mut file).and_then(|()| io::copy(&mut file, &mut io::sink()));
        // A file that can't be read is the archive's fault, one that can't be kept is not.
        if let Err(error) = kept {
            let is_ours = !file.from.failed;
            return Err(if is_ours { ArchiveError::Keep(error) } else { damaged(error) });
        }
        found.insert(path, file.sum());
    }
    end(tar.into_inner())?;
    let listed = listed.ok_or_else(|| ArchiveError::Damaged("it broke off".to_owned()))?;
    if let Some(path) = differs(&found, &listed) {
        let what = format!("{} is not what its manifest says", path.display());
        return Err(ArchiveError::Damaged(what));
    }
    Ok(Archive { head, files: found })
}

/// Reads what follows the last entry: gzip's own sum is there, and after it nothing.
fn end<R: BufRead>(mut rest: GzDecoder<R>) -> Result<(), ArchiveError> {
    io::copy(&mut rest, &mut io::sink()).map_err(damaged)?;
    match rest.into_inner().fill_buf() {
        Ok([]) => Ok(()),
        Ok(_) => Err(ArchiveError::Damaged("something follows its end".to_owned())),
        Err(error) => Err(damaged(error)),
    }
}

/// A path that is in one of the two alone, or has another sum there.
fn differs(found: &BTreeMap<PathBuf, Sum>, listed: &BTreeMap<PathBuf, Sum>) -> Option<PathBuf> {
    let mut paths = found.keys().chain(listed.keys());
    paths.find(|path| found.get(*path) != listed.get(*path)).cloned()
}

fn is<R: Read>(entry: &Entry<'_, R>, name: &str) -> bool {
    entry.path_bytes() == name.as_bytes()
}

/// Where a file belongs in the data folder, and nowhere else.
fn place<R: Read>(entry: &Entry<'_, R>) -> Result<PathBuf, ArchiveError> {
    let path = entry.path().map_err(damaged)?;
    let strange = || ArchiveError::Damaged(format!("`{}` has no place in it", path.display()));
    let below = path.strip_prefix(FILES).map_err(|_| strange())?;
    let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    let is_file = entry.header().entry_type() == EntryType::Regular;
    match is_plain && is_file && below.components().next().is_some() {
        true => Ok(below.to_owned()),
        false => Err(strange()),
    }
}

fn text<R: Read>(entry: &mut Entry<'_, R>) -> Result<Value, ArchiveError> {
    let mut text = Vec::new();
    entry.take(MOST_TEXT).read_to_end(&mut text).map_err(damaged)?;
    serde_json::from_slice(&text).map_err(damaged)
}

fn read_head(text: &Value) -> Result<Head, ArchiveError> {
    let lacks = |what: &str| ArchiveError::Foreign(format!("its head lacks `{what}`"));
    let found = text["format"].as_u64().ok_or_else(|| lacks("format"))?;
    let dhow = text["dhow"].as_str().ok_or_else(|| lacks("dhow"))?.to_owned();
    if found > FORMAT {
        return Err(ArchiveError::Newer { found, dhow });
    }
    let made_ms = text["madeMs"].as_u64().ok_or_else(|| lacks("madeMs"))?;
    Ok(Head { dhow, made_ms })
}

fn read_manifest(text: &Value) -> Result<BTreeMap<PathBuf, Sum>, ArchiveError> {
    let files = text["files"].as_array().map(|files| {
        let file = |file: &Value| {
            let digest = file["digest"].as_str()?.parse().ok()?;
            let sum = Sum { size: file["size"].as_u64()?, digest };
            Some((PathBuf::from(file["path"].as_str()?), sum))
        };
        files.iter().map(file).collect::<Option<BTreeMap<_, _>>>()
    });
    files.flatten().ok_or_else(|| ArchiveError::Damaged("its manifest is unreadable".to_owned()))
}

fn damaged(error: impl std::fmt::Display) -> ArchiveError {
    ArchiveError::Damaged(error.to_string())
}

/// Sums what is read through it.
struct Summed<R> {
    from: R,
    hash: Sha256,
    size: u64,
}

impl<R> Summed<R> {
    fn new(from: R) -> Self {
        Self { from, hash: Sha256::new(), size: 0 }
    }

    fn sum(self) -> Sum {
        Sum { size: self.size, digest: Digest::from_bytes(self.hash.finalize().into()) }
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.size += read as u64;
        Ok(read)
    }
}

/// Remembers whether reading failed.
struct Watched<R> {
    from: R,
    failed: bool,
}

impl<R> Watched<R> {
    fn new(from: R) -> Self {
        Self { from, failed: false }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer);
        self.failed |= read.is_err();
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (Vec<u8>, Archive) {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, 7).unwrap();
        writer.add(Path::new("catalog.redb"), 5, &b"tree!"[..]).unwrap();
        writer.add(Path::new("blobs/sha256/aa"), 4, &b"code"[..]).unwrap();
        let archive = writer.finish().unwrap();
        (bytes, archive)
    }

    fn sum_up(bytes: &[u8]) -> Result<Archive, ArchiveError> {
        read(bytes, |_, _| Ok(()))
    }

    /// An archive of these entries, without anything else.
    fn with(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, text) in entries {
            let mut header = Header::new_gnu();
            // `append_data` refuses what is to be refused here.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(EntryType::Regular);
            header.set_size(text.len() as u64);
            header.set_cksum();
            tar.append(&header, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let (bytes, archive) = written();
        let mut kept = BTreeMap::new();
        let read = read(&bytes[..], |path, file| {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            kept.insert(path.to_owned(), text);
            Ok(())
        });
        assert_eq!(read.unwrap(), archive);
        assert_eq!(kept[Path::new("catalog.redb")], "tree!");
        assert_eq!(kept[Path::new("blobs/sha256/aa")], "code");
        assert_eq!(sum_up(&bytes).unwrap(), archive);
    }

    #[test]
    fn no_archive_with_a_wrong_byte_or_without_its_end_is_taken() {
        let (bytes, archive) = written();
        for length in 0..bytes.len() {
            assert!(sum_up(&bytes[..length]).is_err(), "cut at {length}");
        }
        let mut taken = 0;
        for place in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[place] ^= 1;
            // gzip has bits that mean nothing, such as a time and what fills up a byte.
            if let Ok(read) = sum_up(&wrong) {
                assert_eq!(read, archive, "byte {place}");
                taken += 1;
            }
        }
        assert!(taken < 20, "{taken} of {}", bytes.len());
        assert!(sum_up(&[&bytes[..], b"more"].concat()).is_err());
    }

    #[test]
    fn only_files_of_the_data_folder_are_taken() {
        let head = (HEAD, r#"{"format": 1, "dhow": "0.1.0", "madeMs": 1}"#);
        let manifest = (MANIFEST, r#"{"files": []}"#);
        assert!(sum_up(&with(&[head, manifest])).is_ok());
        for path in ["/etc/passwd", "data/../../x", "other/x", "data", "../x", "data/./../x"] {
            let error = sum_up(&with(&[head, (path, "x"), manifest])).unwrap_err();
            assert!(matches!(&error, ArchiveError::Damaged(_)), "{path}: {error}");
        }
        let error = sum_up(&with(&[head, manifest, ("data/x", "x")])).unwrap_err();
        assert!(error.to_string().contains("follows its manifest"), "{error}");
        let error = sum_up(&with(&[head, ("data/x", "x"), manifest])).unwrap_err();
        assert!(error.to_string().contains("not what its manifest says"), "{error}");
    }

    #[test]
    fn what_is_no_backup_or_a_newer_one_is_told() {
        for foreign in [&b""[..], b"text", &with(&[("README", "hello")])] {
            assert!(matches!(sum_up(foreign), Err(ArchiveError::Foreign(_))));
        }
        let newer = (HEAD, r#"{"format": 2, "dhow": "9.1.0", "other": 1}"#);
        let error = sum_up(&with(&[newer])).unwrap_err();
        assert!(error.to_string().contains("format 2, written by dhow 9.1.0"), "{error}");
    }

    #[test]
    fn what_cannot_be_kept_is_not_the_archives_fault() {
        let (bytes, _) = written();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let error = read(&bytes[..], |_, _| Err(full())).unwrap_err();
        assert!(matches!(error, ArchiveError::Keep(error) if error.kind() == full().kind()));
    }
}
