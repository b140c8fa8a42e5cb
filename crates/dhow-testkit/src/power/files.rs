//! Files that are written beside their place, synced, renamed, and whose folder is synced. A file's
//! bytes and its name reach the disk apart from each other.
//!
//! The store does its work on real files and tells [`Files`] of each step; a cut's image is written
//! to another folder, for a store to be opened there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dhow_disk::durable::{Steps, System};
use parking_lot::Mutex;

use super::Syncs;

/// The record of one folder. Cheap to clone; every clone is the same record.
#[derive(Debug, Clone)]
pub struct Files(Arc<Mutex<State>>);

/// Takes the steps, and records them.
#[derive(Debug, Clone)]
pub struct Recorded(pub Files);

impl Steps for Recorded {
    fn sync(&self, path: &Path, file: &File) -> io::Result<()> {
        System.sync(path, file)?;
        self.0.synced(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        System.rename(from, to)?;
        self.0.renamed(from, to);
        Ok(())
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        System.make_folder(folder)?;
        self.0.made(folder);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        System.sync_folder(folder)?;
        self.0.folder_synced(folder);
        Ok(())
    }
}

#[derive(Debug)]
struct State {
    root: PathBuf,
    events: Vec<Event>,
    syncs: Syncs,
}

#[derive(Debug)]
enum Event {
    /// A file's bytes are on the disk, whatever its name is.
    Synced(PathBuf, Vec<u8>),
    /// What had the first name has the second.
    Renamed(PathBuf, PathBuf),
    /// A folder was made.
    Made(PathBuf),
    /// The names in a folder are on the disk.
    FolderSynced(PathBuf),
    Acknowledged,
}

/// What a cut could have left.
#[derive(Debug)]
pub struct Image {
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// How often the test had acknowledged something before the cut.
    pub acknowledged: usize,
    /// Where the cut was, for whoever looks into a failure.
    pub cut: String,
}

impl Files {
    /// A record of what happens below `root`. What is there already is not part of it.
    pub fn new(root: &Path, syncs: Syncs) -> Self {
        let state = State { root: root.to_owned(), events: vec![], syncs };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A file was synced while it held what it holds now.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn synced(&self, file: &Path) -> io::Result<()> {
        let bytes = fs::read(file)?;
        self.sync(|path| Event::Synced(path, bytes), file);
        Ok(())
    }

    /// A file or folder was renamed.
    pub fn renamed(&self, from: &Path, to: &Path) {
        let mut state = self.0.lock();
        let (from, to) = (state.below(from), state.below(to));
        state.events.push(Event::Renamed(from, to));
    }

    /// A folder was made.
    pub fn made(&self, folder: &Path) {
        let mut state = self.0.lock();
        let folder = state.below(folder);
        state.events.push(Event::Made(folder));
    }

    /// A folder was synced.
    pub fn folder_synced(&self, folder: &Path) {
        self.sync(Event::FolderSynced, folder);
    }

    /// Notes that the store has now promised one thing more.
    pub fn acknowledge(&self) {
        self.0.lock().events.push(Event::Acknowledged);
    }

    /// The images of cuts after every single event: with all names that were not synced, with none,
    /// and with one of them alone.
    pub fn images(&self) -> Vec<Image> {
        let state = self.0.lock();
        let mut images = Vec::new();
        for cut in 0..=state.events.len() {
            let events = &state.events[..cut];
            let unsynced: Vec<_> = (0..cut).filter(|index| !is_durable(events, *index)).collect();
            let mut choices = vec![vec![], unsynced.clone()];
            choices.extend(unsynced.iter().map(|alone| vec![*alone]));
            let acknowledged =
                events.iter().filter(|event| matches!(event, Event::Acknowledged)).count();
            images.extend(choices.into_iter().map(|chosen| Image {
                files: files(events, &chosen),
                acknowledged,
                cut: format!("after event {cut}, of the names that were not synced: {chosen:?}"),
            }));
        }
        images
    }

    fn sync(&self, event: impl FnOnce(PathBuf) -> Event, path: &Path) {
        let mut state = self.0.lock();
        if state.syncs == Syncs::Kept {
            let path = state.below(path);
            state.events.push(event(path));
        }
    }
}

impl State {
    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap_or(path).to_owned()
    }
}

impl Image {
    /// Writes the image into an empty folder.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        for (path, bytes) in &self.files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(path, bytes)?;
        }
        Ok(())
    }
}

/// Whether the name that `events[index]` gave is on the disk: its folder was synced since.
fn is_durable(events: &[Event], index: usize) -> bool {
    let (Event::Renamed(_, name) | Event::Made(name)) = &events[index] else { return true };
    events[index..].iter().any(
        |event| matches!(event, Event::FolderSynced(folder) if Some(&**folder) == name.parent()),
    )
}

/// The files that have reached the disk, with the names in `chosen` besides those that are durable.
/// The bytes of one that was never synced have not: it is empty.
fn files(events: &[Event], chosen: &[usize]) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut contents: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    let mut named: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    let mut missing_folders = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let has_reached = is_durable(events, index) || chosen.contains(&index);
        match event {
            Event::Synced(path, bytes) => {
                if let Some(file) = named.get_mut(path) {
                    file.clone_from(bytes);
                }
                contents.insert(path.clone(), bytes.clone());
            }
            Event::Renamed(from, to) => {
                let bytes = contents.remove(from).unwrap_or_default();
                contents.insert(to.clone(), bytes.clone());
                if has_reached {
                    named.remove(from);
                    named.insert(to.clone(), bytes);
                }
            }
            Event::Made(folder) if !has_reached => missing_folders.push(folder.clone()),
            Event::Made(_) | Event::FolderSynced(_) | Event::Acknowledged => {}
        }
    }
    named.retain(|path, _| !missing_folders.iter().any(|folder| path.starts_with(folder)));
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a store leaves at `place` that does `steps` and then acknowledges: the bytes in every
    /// image that counts the acknowledgement, `None` where there is no file.
    fn after(steps: &[&str]) -> Vec<Option<Vec<u8>>> {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path(), Syncs::Kept);
        let (new, place) = (folder.path().join("new"), folder.path().join("sub/place"));
        fs::write(&new, "whole").unwrap();
        for step in steps {
            match *step {
                "make" => files.made(place.parent().unwrap()),
                "sync" => files.synced(&new).unwrap(),
                "rename" => files.renamed(&new, &place),
                "sync root" => files.folder_synced(folder.path()),
                "sync folder" => files.folder_synced(place.parent().unwrap()),
                step => panic!("{step}"),
            }
        }
        files.acknowledge();
        let images = files.images().into_iter().filter(|image| image.acknowledged == 1);
        images.map(|image| image.files.get(Path::new("sub/place")).cloned()).collect()
    }

    #[test]
    fn only_all_the_steps_together_keep_a_file() {
        let steps = ["make", "sync root", "sync", "rename", "sync folder"];
        let whole = Some(b"whole".to_vec());
        assert!(after(&steps).iter().all(|found| *found == whole));
        for (without, found) in [("sync root", None), ("sync", Some(vec![])), ("sync folder", None)]
        {
            let left: Vec<_> = steps.into_iter().filter(|step| *step != without).collect();
            assert!(after(&left).contains(&found), "without {without}");
        }
    }
}
