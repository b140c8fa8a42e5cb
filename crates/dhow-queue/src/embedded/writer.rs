//! The one thread that changes the queue's file. What comes in while it waits for the disk goes
//! into its next transaction together: many calls share one sync. The ledger follows what is on
//! disk, and whoever waits hears of it then.
//!
//! A new call that can't be written is refused. Every other change stays and is tried again until
//! it is written: what was acknowledged is never forgotten for want of space.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dhow_core::call::CallId;
use dhow_core::queue::{Accepted, EnqueueError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Shared;
use super::body::{self, Kept, storage};
use super::disk::Row;
use super::ledger::{Entry, KeyHash, KeyUse};
use super::space::Reserved;
use super::state::{Place, State};

/// How long changes may wait that nobody waits for.
const LAZY: Duration = Duration::from_millis(50);
/// The pause before changes are tried again that could not be written.
const PAUSE: Duration = Duration::from_millis(500);
/// How often leases and ages are looked at.
const TIDY: Duration = Duration::from_secs(1);
/// Calls and keys that are forgotten at a time by their age.
const FORGOTTEN: usize = 1000;

/// A change that is asked for.
pub(super) enum Ask {
    /// Keep a new call.
    Take(Box<Take>),
    /// A call stands elsewhere.
    Set { number: u64, state: Box<State>, bytes: Vec<u8>, answer: Option<NewAnswer>, done: Done },
    /// Forget a call.
    Forget { number: u64, done: Done },
    /// Somebody has a call.
    Lent { number: u64, interruptions: u32 },
    /// Forget a key.
    ForgetKey { hash: KeyHash },
    /// Write what came before, and work no more.
    End,
}

/// An answer that is to be kept.
pub(super) struct NewAnswer {
    pub(super) head: Vec<u8>,
    pub(super) body: Bytes,
    /// Bytes that it counts for.
    pub(super) cost: u64,
    pub(super) _reserved: Reserved,
}

/// Told when a change is durable; `None` where nobody waits.
pub(super) type Done = Option<oneshot::Sender<()>>;

/// Where a new call is acknowledged or refused.
pub(super) type Reply = oneshot::Sender<Result<Accepted, EnqueueError>>;

/// A new call, its body taken.
pub(super) struct Take {
    pub(super) entry: Entry,
    pub(super) head: Vec<u8>,
    pub(super) state: Vec<u8>,
    pub(super) body: Kept,
    pub(super) key: Option<(KeyHash, KeyUse)>,
    pub(super) reply: Reply,
    /// Its share of the memory for bodies on their way.
    pub(super) _memory: OwnedSemaphorePermit,
    /// All that it counts for.
    pub(super) _reserved: Reserved,
}

/// A call that is to be written, under its number.
struct Taking {
    number: u64,
    take: Take,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    bodies: PathBuf,
    inbox: Receiver<Ask>,
    next_number: u64,
    /// What is still to be written.
    kept: Vec<Ask>,
    /// The last transaction failed.
    fails: bool,
    tidied: Instant,
}

/// What became of the inbox.
#[derive(PartialEq, Eq)]
enum Inbox {
    Open,
    Closed,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, inbox: Receiver<Ask>, next_number: u64) -> Self {
        let bodies = shared.bodies.clone();
        Self {
            shared,
            bodies,
            inbox,
            next_number,
            kept: vec![],
            fails: false,
            tidied: Instant::now(),
        }
    }

    /// Works until it is told to end.
    pub(super) fn run(mut self) {
        loop {
            let (asks, inbox) = self.gather();
            self.commit(asks);
            if inbox == Inbox::Closed {
                if !self.kept.is_empty() {
                    // Their calls are as they were before, and will be run again.
                    tracing::warn!(changes = self.kept.len(), "changes of calls are not kept");
                }
                return;
            }
            if self.tidied.elapsed() >= TIDY {
                self.tidied = Instant::now();
                self.tidy();
            }
        }
    }

    /// What is to be written next: at most a batch of it.
    fn gather(&mut self) -> (Vec<Ask>, Inbox) {
        let mut asks = std::mem::take(&mut self.kept);
        let mut bytes: u64 = asks.iter().map(Ask::bytes).sum();
        let wait = match (self.fails, asks.is_empty()) {
            (true, _) => PAUSE,
            (false, true) => TIDY,
            (false, false) => Duration::ZERO,
        };
        if self.fails && bytes >= self.shared.config.batch {
            std::thread::sleep(PAUSE);
        }
        let mut until = Instant::now() + wait;
        // Where somebody waits nothing is waited for: the time of one sync is what gathers more.
        while bytes < self.shared.config.batch {
            match self.inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Ask::End) => return (asks, Inbox::Closed),
                Ok(ask) => {
                    let wait = if ask.is_awaited() { Duration::ZERO } else { LAZY };
                    until = until.min(Instant::now() + wait);
                    bytes += ask.bytes();
                    asks.push(ask);
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return (asks, Inbox::Closed),
            }
        }
        (asks, Inbox::Open)
    }

    /// Writes all of it, or refuses the new calls and keeps the rest for later.
    fn commit(&mut self, asks: Vec<Ask>) {
        let shared = self.shared.clone();
        let _writing = shared.writing.lock();
        let mut takes = Vec::new();
        let mut rest = Vec::new();
        for ask in asks {
            match ask {
                Ask::Take(take) => takes.push(*take),
                ask => rest.push(ask),
            }
        }
        let (mut takes, repeats) = self.judge(takes);
        let rest = self.still_there(rest);
        // A repeat of a call that is on disk needs no other transaction.
        let written = match takes.is_empty() && rest.is_empty() {
            true => Ok(()),
            false => self.place(&mut takes).and_then(|()| {
                let mut rows: Vec<Row> = takes.iter_mut().map(Taking::row).collect();
                rows.extend(rows_of(&rest));
                self.write(&rows)
            }),
        };
        self.fails = written.is_err();
        match written {
            Ok(()) => {
                let replies = self.follow(takes, rest);
                for (reply, accepted) in replies.into_iter().chain(repeats) {
                    // Who asked may have gone; the call is kept all the same.
                    drop(reply.send(Ok(accepted)));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the calls' file can't be written");
                self.kept = rest;
                for Taking { take, .. } in takes {
                    drop(take.reply.send(Err(error.clone())));
                }
                for (reply, _) in repeats {
                    drop(reply.send(Err(error.clone())));
                }
            }
        }
    }

    /// Refuses the new calls whose key was used for something else, and numbers the others. Repeats of a key of this very batch are answered with it.
    fn judge(&mut self, takes: Vec<Take>) -> (Vec<Taking>, Vec<(Reply, Accepted)>) {
        let now_ms = self.shared.clock.now_ms();
        let ledger = self.shared.ledger.lock();
        let mut keys: HashMap<KeyHash, KeyUse> = HashMap::new();
        let (mut taken, mut repeats) = (Vec::new(), Vec::new());
        for take in takes {
            if let Some((hash, wanted)) = &take.key {
                let earlier = ledger.key(hash, now_ms);
                match earlier.or_else(|| keys.get(hash).copied()) {
                    Some(used) if used.request == wanted.request => {
                        let accepted = Accepted { call: used.call, is_repeat: true };
                        repeats.push((take.reply, accepted));
                        continue;
                    }
                    Some(_) => {
                        drop(take.reply.send(Err(EnqueueError::KeyReused)));
                        continue;
                    }
                    None => {}
                }
            }
            keys.extend(take.key);
            taken.push(Taking { number: self.next_number, take });
            self.next_number += 1;
        }
        (taken, repeats)
    }

    /// Changes of calls that are there. A call may have been cancelled while its end was on its
    /// way here; half a record of it must not be written.
    fn still_there(&self, asks: Vec<Ask>) -> Vec<Ask> {
        let ledger = self.shared.ledger.lock();
        let mut gone = HashSet::new();
        let mut left = Vec::with_capacity(asks.len());
        for ask in asks {
            match &ask {
                Ask::Set { number, .. } | Ask::Lent { number, .. } | Ask::Forget { number, .. }
                    if gone.contains(number) || ledger.get(*number).is_none() =>
                {
                    ask.done();
                    continue;
                }
                Ask::Forget { number, .. } => drop(gone.insert(*number)),
                _ => {}
            }
            left.push(ask);
        }
        left
    }

    /// Puts the files of bodies in their place, durably.
    fn place(&self, takes: &mut [Taking]) -> Result<(), EnqueueError> {
        let placed = || {
            let mut any = false;
            for taking in takes {
                if let Kept::File(file) = &mut taking.take.body {
                    file.place(&*self.shared.steps, &self.bodies)?;
                    any = true;
                }
            }
            if any { self.shared.steps.sync_folder(&self.bodies) } else { Ok(()) }
        };
        placed().map_err(storage)
    }

    fn write(&self, rows: &[Row]) -> Result<(), EnqueueError> {
        self.shared.disk.write(rows).map_err(|error| match error {
            redb::Error::Io(error) => storage(error),
            error => EnqueueError::Storage(error.to_string()),
        })?;
        self.shared.commits.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Makes the ledger what the disk is. Who is to be told.
    fn follow(&self, takes: Vec<Taking>, rest: Vec<Ask>) -> Vec<(Reply, Accepted)> {
        let mut replies = Vec::with_capacity(takes.len());
        let mut done = Vec::new();
        let mut unused = Vec::new();
        let mut ledger = self.shared.ledger.lock();
        for Taking { number, take } in takes {
            let Take { entry, body, key, reply, .. } = take;
            if let Kept::File(file) = body {
                file.keep();
            }
            replies.push((reply, Accepted { call: entry.call, is_repeat: false }));
            ledger.insert(number, entry);
            if let Some((hash, used)) = key {
                ledger.insert_key(hash, used);
            }
        }
        let taken = replies.len() as u64;
        for ask in rest {
            match ask {
                Ask::Set { number, state, answer, done: waits, .. } => {
                    let forgotten = forgets_answer(&state).then_some(0);
                    let cost = answer.as_ref().map(|answer| answer.cost).or(forgotten);
                    ledger.change(number, &state, cost);
                    done.extend(waits);
                }
                Ask::Forget { number, done: waits } => {
                    let entry = ledger.forget(number);
                    unused.extend(entry.filter(|entry| entry.in_file).map(|entry| entry.call));
                    done.extend(waits);
                }
                Ask::ForgetKey { hash } => ledger.forget_key(&hash),
                Ask::Lent { .. } | Ask::Take(_) | Ask::End => {}
            }
        }
        drop(ledger);
        self.shared.enqueued.fetch_add(taken, Relaxed);
        self.shared.changed();
        done.into_iter().for_each(tell);
        unused
            .into_iter()
            .for_each(|call: CallId| body::remove(&body::path_of(&self.bodies, call)));
        replies
    }

    /// Gives back leases that ran out, and asks for what is too old to be forgotten.
    fn tidy(&mut self) {
        let now_ms = self.shared.clock.now_ms();
        let mut ledger = self.shared.ledger.lock();
        let overdue = ledger.overdue(self.shared.clock.passed_ms());
        overdue.iter().for_each(|lease| ledger.give_back(*lease));
        // Else what is asked for already would be asked for again.
        if self.kept.is_empty() {
            let ended = ledger.ended(now_ms, FORGOTTEN).into_iter();
            self.kept.extend(ended.map(|number| Ask::Forget { number, done: None }));
            let keys = ledger.ended_keys(now_ms, FORGOTTEN).into_iter();
            self.kept.extend(keys.map(|hash| Ask::ForgetKey { hash }));
        }
        drop(ledger);
        if !overdue.is_empty() {
            tracing::warn!(leases = overdue.len(), "leases ran out and were given back");
            self.shared.changed();
        }
    }
}

impl Taking {
    /// Its row; the records are moved there.
    fn row(&mut self) -> Row {
        let Self { number, take } = self;
        Row::Take {
            number: *number,
            head: std::mem::take(&mut take.head),
            state: std::mem::take(&mut take.state),
            body: match &take.body {
                Kept::Row(body) => Some(body.clone()),
                Kept::File(_) => None,
            },
            key: take.key,
        }
    }
}

impl Ask {
    /// Bytes that it adds to a transaction.
    fn bytes(&self) -> u64 {
        match self {
            Self::Take(take) => {
                let body = match &take.body {
                    Kept::Row(body) => body.len(),
                    Kept::File(_) => 0,
                };
                (take.head.len() + take.state.len() + body) as u64
            }
            Self::Set { bytes, answer, .. } => {
                let answer = answer.as_ref().map_or(0, |one| one.head.len() + one.body.len());
                (bytes.len() + answer) as u64
            }
            Self::Forget { .. } | Self::Lent { .. } | Self::ForgetKey { .. } | Self::End => 64,
        }
    }

    /// Tells whoever waits.
    fn done(self) {
        if let Self::Set { done: Some(done), .. } | Self::Forget { done: Some(done), .. } = self {
            tell(done);
        }
    }

    fn is_awaited(&self) -> bool {
        match self {
            Self::Take(_) => true,
            Self::Set { done, .. } | Self::Forget { done, .. } => done.is_some(),
            Self::Lent { .. } | Self::ForgetKey { .. } | Self::End => false,
        }
    }
}

/// Tells whoever waits for a change; they may have gone.
fn tell(done: oneshot::Sender<()>) {
    let _gone = done.send(());
}

/// A call that is to be run has no answer yet; one of an earlier run is not its.
fn forgets_answer(state: &State) -> bool {
    state.place == Place::Run
}

/// The rows of changes to calls that are there. A lease that ends in the same batch is not noted.
fn rows_of(asks: &[Ask]) -> Vec<Row> {
    let ended: HashSet<u64> = asks
        .iter()
        .filter_map(|ask| match ask {
            Ask::Set { number, .. } | Ask::Forget { number, .. } => Some(*number),
            _ => None,
        })
        .collect();
    let row = |ask: &Ask| match ask {
        Ask::Set { number, state, bytes, answer, .. } => Some(Row::Set {
            number: *number,
            state: bytes.clone(),
            answer: answer.as_ref().map(|one| (one.head.clone(), one.body.clone())),
            forgets_answer: forgets_answer(state),
        }),
        Ask::Forget { number, .. } => Some(Row::Forget { number: *number }),
        Ask::Lent { number, .. } if ended.contains(number) => None,
        Ask::Lent { number, interruptions } => {
            Some(Row::Lent { number: *number, interruptions: *interruptions })
        }
        Ask::ForgetKey { hash } => Some(Row::ForgetKey { hash: *hash }),
        Ask::Take(_) | Ask::End => None,
    };
    asks.iter().filter_map(row).collect()
}
