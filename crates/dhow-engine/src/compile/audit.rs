//! A look through a folder of compiled code, without an engine and beside one that uses it: what
//! is whole, what is damaged, what is not ours. Changes nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::cache;
use crate::settings;

/// How long code may be without its seal: while it is being kept, that is a moment.
const UNSEALED: Duration = Duration::from_secs(60);

/// What was found.
#[derive(Debug, Default)]
pub struct Audit {
    /// Entries that are what was compiled.
    pub sound: usize,
    /// Entries that are not.
    pub damaged: Vec<Entry>,
    /// Files that this dhow can't use, or did not write.
    pub foreign: Vec<Entry>,
}

/// Something that is wrong, with the files that it is made of.
#[derive(Debug)]
pub struct Entry {
    /// Its files.
    pub files: Vec<PathBuf>,
    /// What is wrong.
    pub why: String,
}

/// Looks through `folder`. Reads all the code in it, to compare it with its sums.
///
/// # Errors
/// When the folder can't be listed, or the compiler's settings can't be had.
pub fn audit(folder: &Path, now: SystemTime) -> io::Result<Audit> {
    let fingerprint = settings::fingerprint_of_all().map_err(io::Error::other)?;
    let me = rustix::process::geteuid().as_raw();
    let mut audit = Audit::default();
    let mut ours: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for file in fs::read_dir(folder)? {
        let file = file?;
        let path = file.path();
        let Ok(metadata) = file.metadata() else { continue };
        // A compilation that runs, or that was ended: the next start clears it.
        if path.extension().is_some_and(|extension| extension == "new") {
            continue;
        }
        let why = match cache::key_of(&file.file_name()) {
            _ if metadata.uid() != me => format!("it belongs to user {}", metadata.uid()),
            None => "it is no compiled code".to_owned(),
            Some((_, other)) if other != fingerprint => {
                "it was compiled by another dhow, or for another CPU".to_owned()
            }
            Some(_) => {
                ours.entry(path.with_extension("")).or_default().push(path);
                continue;
            }
        };
        audit.foreign.push(Entry { files: vec![path], why });
    }
    for (entry, files) in ours {
        match damage(&entry, now) {
            None => audit.sound += 1,
            Some(why) => audit.damaged.push(Entry { files, why: why.to_owned() }),
        }
    }
    Ok(audit)
}

/// What is wrong with the entry whose files have this name without their extension.
fn damage(entry: &Path, now: SystemTime) -> Option<&'static str> {
    let code = entry.with_extension("cwasm");
    match fs::read(entry.with_extension("seal")) {
        Ok(seal) => match cache::check(&code, &seal) {
            // The file's times say that it is what was compared; here that is not believed.
            Ok((seal, None)) => {
                match File::open(&code).and_then(|mut file| cache::sum(&mut file)) {
                    Ok((_, sum)) => (sum != seal.sum).then_some("the code has another sum"),
                    Err(_) => Some("the code is unreadable"),
                }
            }
            Ok((_, Some(_))) => None,
            Err(why) => Some(why),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let modified = fs::metadata(&code).and_then(|code| code.modified()).ok()?;
            let age = now.duration_since(modified).unwrap_or_default();
            (age > UNSEALED).then_some("the code has no seal")
        }
        Err(_) => Some("the seal is unreadable"),
    }
}

#[cfg(test)]
mod tests {
    use dhow_core::digest::Digest;

    use super::*;
    use crate::compile::cache::Cache;
    use crate::compile::cache::tests::look;

    #[test]
    fn each_kind_of_damage_and_each_stranger_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let fingerprint = settings::fingerprint_of_all().unwrap();
        let cache = Cache::open(folder.path(), fingerprint).unwrap();
        let keep = |cache: &Cache, nth: u8| {
            let new = cache.fresh();
            fs::write(&new, b"code").unwrap();
            cache.keep(&Digest::from_bytes([nth; 32]), &new, look()).unwrap().path
        };
        let (sound, cut, changed, unsealed) =
            (keep(&cache, 1), keep(&cache, 2), keep(&cache, 3), keep(&cache, 4));
        assert!(sound.exists());
        fs::write(&cut, b"cod").unwrap();
        fs::write(&changed, b"c0de").unwrap();
        fs::remove_file(unsealed.with_extension("seal")).unwrap();
        let other = Cache::open(folder.path(), "f".repeat(32)).unwrap();
        keep(&other, 5);
        fs::write(folder.path().join("notes.txt"), b"").unwrap();
        fs::write(cache.fresh(), b"half").unwrap();

        let now = SystemTime::now();
        let audit = |now| super::audit(folder.path(), now).unwrap();
        let young = audit(now);
        assert_eq!((young.sound, young.damaged.len()), (2, 2), "{young:?}");
        let old = audit(now + 2 * UNSEALED);
        assert_eq!((old.sound, old.foreign.len()), (1, 3), "{old:?}");
        let mut why: Vec<&str> = old.damaged.iter().map(|entry| entry.why.as_str()).collect();
        why.sort_unstable();
        let all =
            ["the code has another length", "the code has another sum", "the code has no seal"];
        assert_eq!(why, all);
    }
}
