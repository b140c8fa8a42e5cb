//! Draws leases and has them done: calls by whoever dispatches them, callbacks by
//! [`crate::callback`]. It has threads of its own, so that a call that computes holds up neither
//! the admin API nor the data port.

mod attempt;
mod room;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dhow_core::name::{FunctionName, Label};
use dhow_core::ports::{CallQueue, Dispatch};
use dhow_core::queue::{Lane, Lease, LeaseId, Note, Settle};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::{self, JoinError, JoinHandle, JoinSet};
use tokio::time::timeout;

pub(crate) use self::attempt::retry_after;
use self::room::Room;
use crate::callback::Callbacks;

/// The pause after work that broke off for a fault of ours.
const FAULT_PAUSE: Duration = Duration::from_secs(10);
/// How long leases may take to be given back at the end. Where the disk takes nothing they end with
/// the process.
const RELEASE: Duration = Duration::from_secs(2);

/// How much runs at once, and where.
#[derive(Debug, Clone)]
pub struct Config {
    /// Places of the queues that are named here.
    pub queues: BTreeMap<Label, u32>,
    /// Places of every other queue.
    pub others: u32,
    /// Callbacks at once.
    pub callbacks: u32,
    /// Threads that run calls.
    pub threads: usize,
    /// Bytes of an answer that are kept; of a larger one, only its head.
    pub answer: u64,
}

/// What came of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was done.
    Finished,
    /// It is tried again.
    Again,
    /// It found no place and is tried again.
    Deferred,
    /// It was given up.
    Dead,
}

/// Work that ended since the process began.
#[derive(Debug, Default)]
pub struct Counts {
    run: [AtomicU64; End::ALL.len()],
    callback: [AtomicU64; End::ALL.len()],
}

/// Runs until it is stopped.
pub struct Runner {
    /// Taken at the end.
    runtime: Option<Runtime>,
    draws: JoinHandle<()>,
    stop: watch::Sender<Option<Duration>>,
}

/// What every piece of work needs.
struct Shared {
    queue: Arc<dyn CallQueue>,
    dispatch: Arc<dyn Dispatch>,
    callbacks: Callbacks,
    answer: u64,
    counts: Arc<Counts>,
}

/// Work that is under way.
struct Holder {
    lease: LeaseId,
    lane: Lane,
    function: FunctionName,
}

impl Runner {
    /// Begins to draw from `queue`.
    ///
    /// # Errors
    /// When there are no threads to be had.
    pub fn start(
        config: Config,
        queue: Arc<dyn CallQueue>,
        dispatch: Arc<dyn Dispatch>,
        callbacks: Callbacks,
        counts: Arc<Counts>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.threads.max(1))
            .thread_name("dhow-runner")
            .enable_all()
            .build()?;
        let room = Room::new(config.queues, config.others, config.callbacks);
        let shared = Arc::new(Shared { queue, dispatch, callbacks, answer: config.answer, counts });
        let (stop, stopped) = watch::channel(None);
        let draws = runtime.spawn(draw(shared, room, stopped));
        Ok(Self { runtime: Some(runtime), draws, stop })
    }

    /// Draws nothing more, gives work that is under way this long to end, and gives back what is
    /// left then.
    pub async fn stop(mut self, drain: Duration) {
        self.stop.send_replace(Some(drain));
        if (&mut self.draws).await.is_err() {
            tracing::error!("the task that draws asynchronous calls had panicked");
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Work that is cut here has its lease run out, or its process end.
            runtime.shutdown_background();
        }
    }
}

async fn draw(shared: Arc<Shared>, mut room: Room, mut stop: watch::Receiver<Option<Duration>>) {
    let mut work: JoinSet<()> = JoinSet::new();
    let mut holders: HashMap<task::Id, Holder> = HashMap::new();
    let drain = loop {
        tokio::select! {
            biased;
            drain = stopped(&mut stop) => break drain,
            Some(ended) = work.join_next_with_id() => {
                if let (Some(holder), _) = ended_work(&mut holders, ended) {
                    room.leave(&holder.lane, &holder.function);
                }
            }
            lease = next(&shared, &room) => {
                let (lane, function) = (lease.lane.clone(), lease.function.clone());
                room.enter(&lane, &function);
                let id = lease.id;
                let task = work.spawn(work_at(shared.clone(), lease));
                holders.insert(task.id(), Holder { lease: id, lane, function });
            }
        }
    };
    let drained = timeout(drain, async {
        while let Some(ended) = work.join_next_with_id().await {
            ended_work(&mut holders, ended);
        }
    });
    if drained.await.is_err() {
        tracing::warn!(calls = work.len(), "asynchronous calls go back to their queues");
        work.abort_all();
        let mut cut = Vec::new();
        while let Some(ended) = work.join_next_with_id().await {
            if let (Some(holder), true) = ended_work(&mut holders, ended) {
                cut.push(holder.lease);
            }
        }
        release(&shared, cut).await;
    }
}

/// Gives back leases whose work was cut.
async fn release(shared: &Shared, leases: Vec<LeaseId>) {
    let given = leases.into_iter().map(|lease| async move {
        if let Err(error) = shared.queue.settle(lease, Settle::Release).await {
            tracing::warn!(%error, "a lease is left to run out");
        }
    });
    if timeout(RELEASE, join_all(given)).await.is_err() {
        tracing::warn!("leases end with the process: the calls' file can't be written");
    }
}

async fn next(shared: &Shared, room: &Room) -> Lease {
    shared.queue.lease(&|lane, function| room.has(lane, function)).await
}

/// How long is left, once it is to end.
async fn stopped(stop: &mut watch::Receiver<Option<Duration>>) -> Duration {
    // An error says that whoever would stop it is gone: then at once.
    stop.wait_for(Option::is_some).await.map_or(None, |drain| *drain).unwrap_or_default()
}

/// Does the work of a lease; what panics is tried again later.
async fn work_at(shared: Arc<Shared>, lease: Lease) {
    let (id, function) = (lease.id, lease.function.clone());
    let worked = AssertUnwindSafe(attempt::attempt(&shared, lease)).catch_unwind().await;
    if worked.is_ok() {
        return;
    }
    tracing::error!(%function, "an asynchronous call panicked");
    let note = Note::new("internal", 0, "the attempt broke off for a fault of dhow's own");
    let settle = Settle::Again { after: FAULT_PAUSE, note, counted: true };
    if let Err(error) = shared.queue.settle(id, settle).await {
        tracing::warn!(%error, "a lease is left to run out");
    }
}

/// Who held the lease of work that has ended, and whether it was cut.
fn ended_work(
    holders: &mut HashMap<task::Id, Holder>,
    ended: Result<(task::Id, ()), JoinError>,
) -> (Option<Holder>, bool) {
    let (id, is_cut) = match ended {
        Ok((id, ())) => (id, false),
        Err(error) => (error.id(), true),
    };
    (holders.remove(&id), is_cut)
}

impl End {
    /// Every end.
    pub const ALL: [Self; 4] = [Self::Finished, Self::Again, Self::Deferred, Self::Dead];

    /// The stable short name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Again => "again",
            Self::Deferred => "deferred",
            Self::Dead => "dead",
        }
    }

    fn of(settle: &Settle) -> Option<Self> {
        match settle {
            Settle::Finished(_) => Some(Self::Finished),
            Settle::Again { counted: true, .. } => Some(Self::Again),
            Settle::Again { counted: false, .. } => Some(Self::Deferred),
            Settle::Dead(..) => Some(Self::Dead),
            Settle::Release => None,
        }
    }
}

impl Counts {
    /// What was counted: `run` or `callback`, how it ended, how often.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, End, u64)> + '_ {
        [("run", &self.run), ("callback", &self.callback)].into_iter().flat_map(|(work, counts)| {
            End::ALL
                .into_iter()
                .zip(counts)
                .map(move |(end, count)| (work, end, count.load(Relaxed)))
        })
    }

    fn add(&self, lane: &Lane, settle: &Settle) {
        let counts = match lane {
            Lane::Queue(_) => &self.run,
            Lane::Callbacks => &self.callback,
        };
        let end = End::of(settle).and_then(|end| End::ALL.iter().position(|one| *one == end));
        if let Some(end) = end {
            counts[end].fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
