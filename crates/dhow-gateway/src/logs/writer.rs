//! The thread that keeps lines and tells followers of them, one after the other: the files and
//! every follower have the same order.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use dhow_core::name::FunctionName;
use dhow_core::ports::Stream;
use parking_lot::Mutex;
use tokio::sync::{broadcast, oneshot};

use super::files::Files;
use super::line::LogLine;
use crate::metrics::Metrics;

/// How often at most it is said that lines can't be written.
const COMPLAINT: Duration = Duration::from_secs(60);

/// What the writer is asked for.
pub(super) enum Order {
    /// To keep a line, which [`Shared::admit`] let in.
    Line(FunctionName, LogLine),
    /// To say when it is here.
    Flushed(oneshot::Sender<()>),
    /// To remove what is kept of a function.
    Remove(FunctionName, SyncSender<io::Result<()>>),
}

/// What the writer shares with whoever writes and follows.
pub(super) struct Shared {
    /// Bytes that may wait.
    pub(super) backlog: usize,
    pub(super) waiting: AtomicUsize,
    pub(super) dropped: Mutex<HashMap<FunctionName, Dropped>>,
    pub(super) live: Mutex<HashMap<FunctionName, broadcast::Sender<LogLine>>>,
    pub(super) metrics: Metrics,
}

/// Lines of one function that were not let in.
pub(super) struct Dropped {
    /// The first of them, without its text.
    first: LogLine,
    lines: u64,
}

impl Shared {
    /// Whether there is room for a line; if so, it is taken. Never waits.
    pub(super) fn admit(&self, function: &FunctionName, line: &LogLine) -> bool {
        let cost = cost(line);
        if self.waiting.fetch_add(cost, Relaxed) + cost <= self.backlog {
            return true;
        }
        self.waiting.fetch_sub(cost, Relaxed);
        self.metrics.log_lines_dropped(1);
        let mut dropped = self.dropped.lock();
        let of = dropped.entry(function.clone()).or_insert_with(|| Dropped {
            first: LogLine { line: String::new(), stream: Stream::Stderr, ..line.clone() },
            lines: 0,
        });
        of.lines += 1;
        false
    }
}

/// The bytes that a line takes while it waits.
fn cost(line: &LogLine) -> usize {
    size_of::<Order>() + line.line.len()
}

/// The thread's own.
pub(super) struct Writer {
    files: Files,
    shared: Arc<Shared>,
    /// Failures since the last complaint: how many, and the newest.
    failed: Option<(u64, io::Error)>,
    complained: Option<Instant>,
}

impl Writer {
    pub(super) fn new(files: Files, shared: Arc<Shared>) -> Self {
        Self { files, shared, failed: None, complained: None }
    }

    /// Works until nobody can ask any more.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            match orders.recv_timeout(COMPLAINT) {
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.tell_dropped();
            if self.complained.is_none_or(|at| at.elapsed() >= COMPLAINT) {
                self.complain();
            }
        }
        self.complain();
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Line(function, line) => {
                self.shared.waiting.fetch_sub(cost(&line), Relaxed);
                self.keep(&function, line);
            }
            Order::Flushed(done) => {
                self.tell_dropped();
                // Whoever no longer waits need not hear.
                _ = done.send(());
            }
            Order::Remove(function, done) => {
                self.shared.dropped.lock().remove(&function);
                drop(done.send(self.files.remove(&function)));
            }
        }
    }

    fn keep(&mut self, function: &FunctionName, line: LogLine) {
        if let Err(error) = self.files.append(function, &line) {
            self.shared.metrics.log_lines_dropped(1);
            let lines = self.failed.as_ref().map_or(0, |(lines, _)| *lines);
            self.failed = Some((lines + 1, error));
        }
        let mut live = self.shared.live.lock();
        if let Some(followers) = live.get(function)
            && followers.send(line).is_err()
        {
            // The last follower has left.
            live.remove(function);
        }
    }

    /// Writes to each log how many of its lines are missing.
    fn tell_dropped(&mut self) {
        let dropped = std::mem::take(&mut *self.shared.dropped.lock());
        for (function, Dropped { first, lines }) in dropped {
            let line = format!("[dhow] {lines} lines were dropped: they came too fast to be kept");
            self.keep(&function, LogLine { line, ..first });
        }
    }

    fn complain(&mut self) {
        if let Some((lines, error)) = self.failed.take() {
            tracing::error!(lines, %error, "guests' log lines can't be kept");
            self.complained = Some(Instant::now());
        }
    }
}
