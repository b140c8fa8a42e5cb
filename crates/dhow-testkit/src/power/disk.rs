//! One file under redb. Knows bytes and their order; knows nothing of what they mean.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use fastrand::Rng;
use parking_lot::Mutex;
use redb::StorageBackend;

use super::Syncs;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// Images made at random of each cut, besides those that are made of all.
const RANDOM: usize = 3;

/// A disk of one file. Cheap to clone; every clone is the same disk.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Mutex<State>>);

struct State {
    /// The file as a process sees it.
    file: Vec<u8>,
    /// The file as it was when the record begins.
    first: Vec<u8>,
    events: Vec<Event>,
    syncs: Syncs,
}

enum Event {
    Write(usize, Vec<u8>),
    Length(usize),
    Sync,
    Acknowledged,
}

/// What a cut could have left.
#[derive(Debug)]
pub struct Image {
    /// The file.
    pub bytes: Vec<u8>,
    /// How often the test had acknowledged something before the cut.
    pub acknowledged: usize,
    /// Where the cut was and what of the unsynced writes is there, for whoever looks into a failure.
    pub cut: String,
}

/// An event since the last sync, and the parts of it that reached the disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Reached {
    Nothing,
    Whole,
    /// Sectors, counted from the first that is touched.
    Sectors(Vec<usize>),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, first, events, syncs } = self;
        f.debug_struct("State")
            .field("file", &file.len())
            .field("first", &first.len())
            .field("events", &events.len())
            .field("syncs", syncs)
            .finish()
    }
}

impl Disk {
    /// A disk whose file holds `first`, durably.
    pub fn new(first: Vec<u8>, syncs: Syncs) -> Self {
        let state = State { file: first.clone(), first, events: vec![], syncs };
        Self(Arc::new(Mutex::new(state)))
    }

    /// The file as a process sees it.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().file.clone()
    }

    /// Notes that the store has now promised one thing more.
    pub fn acknowledge(&self) {
        self.0.lock().events.push(Event::Acknowledged);
    }

    /// Gives `look` images of cuts after every single event: with all unsynced writes, with none,
    /// with one of them alone, with all but one, and with random sectors of random ones. How many
    /// those were. The same `seed` makes the same images.
    pub fn each_image(&self, seed: u64, mut look: impl FnMut(Image)) -> usize {
        let state = self.0.lock();
        let mut rng = Rng::with_seed(seed);
        let mut base = state.first.clone();
        let (mut synced, mut acknowledged, mut made) = (0, 0, 0);
        let mut seen = HashSet::new();
        for cut in 0..=state.events.len() {
            match cut.checked_sub(1).map(|last| &state.events[last]) {
                Some(Event::Sync) => {
                    for event in &state.events[synced..cut] {
                        event.apply(&mut base, &Reached::Whole);
                    }
                    synced = cut;
                    seen.clear();
                }
                Some(Event::Acknowledged) => acknowledged += 1,
                _ => {}
            }
            let unsynced = &state.events[synced..cut];
            let is_last = matches!(state.events.get(cut), None | Some(Event::Sync));
            for reached in choices(unsynced, is_last, &mut rng) {
                if !seen.insert((acknowledged, reached.clone())) {
                    continue;
                }
                let mut bytes = base.clone();
                for (event, reached) in unsynced.iter().zip(&reached) {
                    event.apply(&mut bytes, reached);
                }
                let cut = format!("after event {cut}, of those since {synced}: {reached:?}");
                look(Image { bytes, acknowledged, cut });
                made += 1;
            }
        }
        made
    }
}

/// What may have reached the disk of the events since the last sync.
fn choices(unsynced: &[Event], is_last: bool, rng: &mut Rng) -> Vec<Vec<Reached>> {
    let all = |reached: Reached| vec![reached; unsynced.len()];
    let mut choices = vec![all(Reached::Nothing), all(Reached::Whole)];
    // Every event is the last before some cut; one that is missing or alone needs them all.
    if is_last {
        for index in (0..unsynced.len()).filter(|index| unsynced[*index].is_written()) {
            for (others, this) in [
                (Reached::Nothing, Reached::Whole),
                (Reached::Whole, Reached::Nothing),
                (Reached::Whole, unsynced[index].torn(rng)),
            ] {
                let mut choice = all(others);
                choice[index] = this;
                choices.push(choice);
            }
        }
    }
    for _ in 0..RANDOM {
        let reached = |event: &Event| match rng.u8(..3) {
            0 => Reached::Nothing,
            1 => Reached::Whole,
            _ => event.torn(rng),
        };
        choices.push(unsynced.iter().map(reached).collect());
    }
    choices
}

impl Event {
    fn is_written(&self) -> bool {
        matches!(self, Self::Write(..) | Self::Length(_))
    }

    /// A part of a write, by sectors; of what has no parts, all or nothing.
    fn torn(&self, rng: &mut Rng) -> Reached {
        match self {
            Self::Write(at, bytes) if !bytes.is_empty() => {
                let sectors = (at + bytes.len()).div_ceil(SECTOR) - at / SECTOR;
                Reached::Sectors((0..sectors).filter(|_| rng.bool()).collect())
            }
            _ if rng.bool() => Reached::Whole,
            _ => Reached::Nothing,
        }
    }

    fn apply(&self, file: &mut Vec<u8>, reached: &Reached) {
        match (self, reached) {
            (Self::Write(at, bytes), Reached::Whole) => write(file, *at, bytes),
            (Self::Write(at, bytes), Reached::Sectors(sectors)) => {
                let first = at / SECTOR;
                for sector in sectors {
                    let begin = ((first + sector) * SECTOR).max(*at);
                    let end = ((first + sector + 1) * SECTOR).min(at + bytes.len());
                    write(file, begin, &bytes[begin - at..end - at]);
                }
            }
            (Self::Length(length), Reached::Whole) => file.resize(*length, 0),
            _ => {}
        }
    }
}

/// Writes as a file system does: beyond the end, the file grows and what lies between is zeros.
fn write(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().file.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let state = self.0.lock();
        let at = place(offset)?;
        let bytes = state.file.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut state = self.0.lock();
        let length = place(len)?;
        state.file.resize(length, 0);
        state.events.push(Event::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut state = self.0.lock();
        if state.syncs == Syncs::Kept {
            state.events.push(Event::Sync);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut state = self.0.lock();
        let at = place(offset)?;
        write(&mut state.file, at, data);
        state.events.push(Event::Write(at, data.to_vec()));
        Ok(())
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(disk: &Disk) -> HashSet<(usize, Vec<u8>)> {
        let mut images = HashSet::new();
        disk.each_image(1, |image| {
            images.insert((image.acknowledged, image.bytes));
        });
        images
    }

    #[test]
    fn what_was_synced_is_in_every_image_and_what_was_not_in_some() {
        let disk = Disk::new(b"ab".to_vec(), Syncs::Kept);
        disk.write(0, b"A").unwrap();
        disk.sync_data().unwrap();
        disk.acknowledge();
        disk.write(1, b"B").unwrap();
        assert_eq!(disk.bytes(), b"AB");
        let of = |acknowledged, bytes: &[u8]| (acknowledged, bytes.to_vec());
        let expected = [of(0, b"ab"), of(0, b"Ab"), of(1, b"Ab"), of(1, b"AB")];
        assert_eq!(images(&disk), HashSet::from(expected));
    }

    #[test]
    fn writes_are_reordered_and_torn_by_sectors() {
        let disk = Disk::new(vec![0; 2 * SECTOR], Syncs::Kept);
        disk.write(0, &[1; 2 * SECTOR]).unwrap();
        disk.write(SECTOR as u64 / 2, &[2]).unwrap();
        disk.sync_data().unwrap();
        let images = images(&disk);
        let has = |first: u8, middle: u8, last: u8| {
            images.iter().any(|(_, file)| {
                [file[0], file[SECTOR / 2], file[2 * SECTOR - 1]] == [first, middle, last]
            })
        };
        assert!(has(0, 2, 0), "the second alone");
        assert!(has(1, 1, 1), "the first alone");
        assert!(has(1, 2, 0) || has(0, 2, 1), "half of the first, and the second");
    }

    #[test]
    fn a_disk_that_ignores_syncs_may_lose_all() {
        let disk = Disk::new(vec![], Syncs::Ignored);
        disk.set_len(1).unwrap();
        disk.write(0, b"A").unwrap();
        disk.sync_data().unwrap();
        disk.acknowledge();
        assert!(images(&disk).contains(&(1, vec![])));
    }
}
