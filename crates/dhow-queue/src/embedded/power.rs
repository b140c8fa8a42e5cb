//! Nothing that the queue acknowledged goes with the power, wherever it is cut.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use dhow_core::queue::{CallState, Work};
use dhow_testkit::power::Syncs;
use dhow_testkit::power::disk;
use dhow_testkit::power::files::{Files, Recorded as RecordedSteps};
use http_body_util::BodyExt as _;
use redb::{Database, StorageBackend};

use super::take::key_hash;
use super::tests::{answer, body, keyed, lease, new_call, note};
use super::*;

/// What is due is drawn at once; this long is waited for what is not there.
const DRAWN: Duration = Duration::from_secs(5);

/// Where each call stands that is kept, by its number; and whether its key counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Kept {
    calls: BTreeMap<u128, CallState>,
    keys: BTreeSet<u128>,
}

/// A queue of one recorded disk.
struct Recorded {
    disk: disk::Disk,
    queue: Option<EmbeddedQueue>,
    now: Kept,
    /// After each acknowledgement, and at the beginning.
    states: Vec<Kept>,
    folder: tempfile::TempDir,
}

fn open_on(folder: &Path, disk: &disk::Disk) -> Result<EmbeddedQueue, OpenError> {
    let disk = disk.clone();
    let open: OpenDatabase =
        Box::new(move || Ok(Database::builder().create_with_backend(disk.clone())?));
    EmbeddedQueue::open_with(folder, Config::default(), open, Arc::new(System))
}

impl Recorded {
    /// An empty queue. The record begins after it was made: until then the file has another name.
    fn new(syncs: Syncs) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let empty = disk::Disk::new(vec![], Syncs::Kept);
        drop(open_on(folder.path(), &empty).unwrap());
        let disk = disk::Disk::new(empty.bytes(), syncs);
        let queue = Some(open_on(folder.path(), &disk).unwrap());
        let states = vec![Kept::default()];
        Self { disk, queue, now: Kept::default(), states, folder }
    }

    fn queue(&self) -> &EmbeddedQueue {
        self.queue.as_ref().unwrap()
    }

    fn acknowledge(&mut self) {
        self.disk.acknowledge();
        self.states.push(self.now.clone());
    }

    async fn take(&mut self, call: NewCall, bytes: usize) {
        let id = call.id.0;
        if call.idempotency_key.is_some() {
            self.now.keys.insert(id);
        }
        self.queue().enqueue(call, body(vec![7; bytes])).await.unwrap();
        self.now.calls.insert(id, CallState::Waiting);
        self.acknowledge();
    }

    /// Draws the next lease and settles it; `None` is a call that is forgotten.
    async fn settle(&mut self, settle: Settle, then: Option<CallState>) {
        let lease = lease(self.queue()).await;
        self.queue().settle(lease.id, settle).await.unwrap();
        match then {
            Some(state) => drop(self.now.calls.insert(lease.call.0, state)),
            None => drop(self.now.calls.remove(&lease.call.0)),
        }
        self.acknowledge();
    }

    /// All that a day may bring.
    async fn a_day(&mut self) {
        self.take(new_call(1, "f"), 10).await;
        self.take(NewCall { keep_result: Duration::from_secs(60), ..keyed(2, "k") }, 5000).await;
        self.settle(Settle::Finished(None), None).await;
        self.settle(Settle::Finished(Some(answer("kept"))), Some(CallState::Done)).await;
        // Bodies of rows that take many pages.
        self.take(new_call(3, "f"), 60_000).await;
        self.take(new_call(4, "g"), 0).await;
        self.settle(Settle::Dead(note(), None), Some(CallState::Dead)).await;
        // A process that ends with a lease.
        let _held = lease(self.queue()).await;
        self.queue = None;
        self.queue = Some(open_on(self.folder.path(), &self.disk).unwrap());
        let again = Settle::Again { after: Duration::ZERO, note: note(), counted: true };
        self.settle(again, Some(CallState::Waiting)).await;
        self.queue().cancel(CallId(2)).await.unwrap();
        self.now.calls.remove(&2);
        self.acknowledge();
        self.queue().retry(CallId(3)).await.unwrap();
        self.now.calls.insert(3, CallState::Waiting);
        self.acknowledge();
        self.queue = None;
    }

    /// Opens every image: how many there were, and which had lost something.
    fn lost(&self) -> (usize, Vec<String>) {
        let mut lost = Vec::new();
        let images = self.disk.each_image(11, |image| {
            let left = disk::Disk::new(image.bytes, Syncs::Kept);
            // redb may give up on what no order of synced writes can leave.
            let opened = catch_unwind(AssertUnwindSafe(|| {
                open_on(self.folder.path(), &left).map(|queue| kept(&queue))
            }));
            let Ok(found) = opened else {
                lost.push(format!("the file can't be read at all: {}", image.cut));
                return;
            };
            // What was on its way when the power went may have arrived.
            let mut may_be = self.states[image.acknowledged..].iter().take(2);
            match found {
                Ok(found) if may_be.any(|state| *state == found) => {}
                Ok(found) => lost.push(format!("only {found:?} is left: {}", image.cut)),
                Err(error) => lost.push(format!("{error}: {}", image.cut)),
            }
        });
        (images, lost)
    }
}

/// What a queue has on its disk.
fn kept(queue: &EmbeddedQueue) -> Kept {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let views = queue.list(CallFilter::default(), None, 99).await.unwrap().views;
        let mut kept = Kept::default();
        kept.calls.extend(views.iter().map(|view| (view.call.0, view.state)));
        let used = queue
            .0
            .shared
            .ledger
            .lock()
            .key(&key_hash(&keyed(2, "k"), "k"), queue.0.shared.clock.now_ms());
        kept.keys.extend(used.map(|used| used.call.0));
        // Each can be run, with its whole body.
        let waiting = kept.calls.values().filter(|state| **state == CallState::Waiting).count();
        for _ in 0..waiting {
            let drawn = tokio::time::timeout(DRAWN, queue.lease(&|_, _| true)).await;
            if drawn.is_err() {
                return Kept::default();
            }
        }
        kept
    })
}

#[test]
fn nothing_acknowledged_goes_with_the_power() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut recorded = Recorded::new(Syncs::Kept);
    runtime.block_on(recorded.a_day());
    let (images, lost) = recorded.lost();
    assert!(images > 500, "{images} images are too few to tell");
    assert!(lost.is_empty(), "{} of {images}: {:#?}", lost.len(), lost.first());
}

#[test]
fn without_syncs_calls_go_with_the_power() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut recorded = Recorded::new(Syncs::Ignored);
    runtime.block_on(async {
        recorded.take(new_call(1, "f"), 10).await;
        recorded.take(new_call(2, "f"), 10).await;
        recorded.settle(Settle::Finished(None), None).await;
        recorded.queue = None;
    });
    let (_, lost) = recorded.lost();
    assert!(lost.iter().any(|found| found.starts_with("only")), "{lost:?}");
}

/// The file of the queue, which notes in the record of the bodies when it is synced, and what it is
/// then.
#[derive(Debug, Clone)]
struct Synced {
    disk: disk::Disk,
    bodies: Files,
    /// The file after each sync.
    files: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl StorageBackend for Synced {
    fn len(&self) -> std::io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, length: u64) -> std::io::Result<()> {
        self.disk.set_len(length)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.disk.sync_data()?;
        self.files.lock().push(self.disk.bytes());
        self.bodies.acknowledge();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.disk.write(offset, data)
    }
}

/// A body that is a file.
fn large(id: u128) -> Vec<u8> {
    vec![u8::try_from(id).unwrap(); body::ROW + 10]
}

/// Takes calls with large bodies, and opens all that a cut may have left: the bodies as they had
/// reached the disk, the queue's file as it was at its last sync before. How many there were, and
/// which of them lacked something.
fn lost_bodies(syncs: Syncs) -> (usize, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bodies = Files::new(folder.path(), syncs);
    let disk = disk::Disk::new(vec![], Syncs::Kept);
    let synced = Synced { disk, bodies: bodies.clone(), files: Arc::default() };
    let open = synced.clone();
    let open: OpenDatabase =
        Box::new(move || Ok(Database::builder().create_with_backend(open.clone())?));
    let steps = Arc::new(RecordedSteps(bodies.clone()));
    let queue = EmbeddedQueue::open_with(folder.path(), Config::default(), open, steps).unwrap();
    // Of each call, how often the file had been synced when it was acknowledged.
    let mut acknowledged = Vec::new();
    for id in 1..=4 {
        runtime.block_on(queue.enqueue(new_call(id, "f"), body(large(id)))).unwrap();
        acknowledged.push((id, synced.files.lock().len()));
    }
    drop(queue);
    let mut lost = Vec::new();
    let files = synced.files.lock();
    let images = bodies.images();
    let count = images.len();
    for image in images {
        let Some(last) = image.acknowledged.checked_sub(1) else { continue };
        let left = tempfile::tempdir().unwrap();
        image.write(left.path()).unwrap();
        let disk = disk::Disk::new(files[last].clone(), Syncs::Kept);
        // What was cut before the file was one at all has no calls.
        let Ok(queue) = open_on(left.path(), &disk) else { continue };
        let least = acknowledged.iter().filter(|one| one.1 <= image.acknowledged).count();
        let found = runtime.block_on(whole_bodies(&queue));
        let damaged = queue.figures().depths.len();
        if found < least || damaged > 0 {
            lost.push(format!("{found} of {least}, some damaged: {}", image.cut));
        }
    }
    (count, lost)
}

/// How many calls can be run with their body. They are forgotten then; the others are dead letters.
async fn whole_bodies(queue: &EmbeddedQueue) -> usize {
    let mut whole = 0;
    while queue.figures().depths.iter().any(|row| row.1 == CallState::Waiting) {
        // One that can't be read is set aside, and nothing may be left then.
        let mut next = queue.lease(&|_, _| true);
        let drawn = loop {
            tokio::select! {
                lease = &mut next => break Some(lease),
                () = tokio::time::sleep(Duration::from_millis(5)) => {
                    let depths = queue.figures().depths;
                    if depths.iter().all(|row| row.1 == CallState::Dead) {
                        break None;
                    }
                }
            }
        };
        let Some(Lease { id, call, work: Work::Run { body, .. }, .. }) = drawn else { break };
        whole += usize::from(body.collect().await.unwrap().to_bytes() == large(call.0));
        queue.settle(id, Settle::Finished(None)).await.unwrap();
    }
    whole
}

#[test]
fn no_large_body_goes_with_the_power_nor_the_folder_that_it_is_in() {
    let (images, lost) = lost_bodies(Syncs::Kept);
    assert!(images > 30, "{images} images are too few to tell");
    assert!(lost.is_empty(), "{} of {images}: {:#?}", lost.len(), lost.first());
    let (_, lost) = lost_bodies(Syncs::Ignored);
    assert!(!lost.is_empty(), "without syncs nothing is lost, either");
}
