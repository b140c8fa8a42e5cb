//! Nothing that the queue acknowledged goes with the power, wherever it is cut.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use dhow_core::queue::CallState;
use dhow_testkit::power::Syncs;
use dhow_testkit::power::disk;
use redb::Database;

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
    EmbeddedQueue::open_with(folder, Config::default(), open)
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
        let views = queue.list(CallFilter::default(), None, 99).await.unwrap();
        let mut kept = Kept::default();
        kept.calls.extend(views.iter().map(|view| (view.call.0, view.state)));
        let used =
            queue.0.shared.ledger.lock().key(
                &key_hash(&FunctionName::parse("f").unwrap(), "k"),
                queue.0.shared.clock.now_ms(),
            );
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
