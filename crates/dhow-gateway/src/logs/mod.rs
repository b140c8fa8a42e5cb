//! Guests' log lines: one file of JSON lines per function, written by one thread, rotated within a
//! budget, read back and followed.
//!
//! Whoever writes never waits: when the thread falls behind, lines are dropped, counted, and the
//! log says so.

mod files;
mod line;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;

use dhow_core::call::CallId;
use dhow_core::name::FunctionName;
use parking_lot::Mutex;
use tokio::sync::{broadcast, oneshot};

use self::files::Files;
pub use self::line::LogLine;
use self::writer::{Order, Shared, Writer};
use crate::metrics::Metrics;

/// Where logs are and how much of them is kept.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder; made with mode 0700.
    pub folder: PathBuf,
    /// Bytes of a file before it is rotated; never more than half of `total`.
    pub file: u64,
    /// Rotated files that are kept of each function.
    pub old_files: u32,
    /// Bytes of all files together: beyond it the oldest rotated ones go first, then those that
    /// were quiet for longest.
    pub total: u64,
    /// Bytes of lines that may wait for the writer; more are dropped.
    pub backlog: usize,
    /// Lines that a follower may be behind before it loses some.
    pub behind: usize,
}

impl Config {
    /// 8 MiB a file, three old ones a function, 256 MiB in all; 8 MiB may wait, and a follower
    /// may be 1024 lines behind.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            file: 8 << 20,
            old_files: 3,
            total: 256 << 20,
            backlog: 8 << 20,
            behind: 1024,
        }
    }
}

/// Which lines to read.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only so many, the newest.
    pub tail: Option<usize>,
    /// Only those from then on, milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Only those of one call.
    pub call: Option<CallId>,
}

/// The logs of all functions. Cheap to clone; the writer ends with the last clone.
#[derive(Clone)]
pub struct Logs(Arc<Inner>);

struct Inner {
    config: Config,
    /// Without a bound of its own: lines are bounded by [`Shared::admit`], the rest is rare.
    orders: Sender<Order>,
    shared: Arc<Shared>,
}

impl Logs {
    /// Starts the writer.
    ///
    /// # Errors
    /// When the folder can't be made or read, or the thread can't be started.
    pub fn start(config: Config, metrics: &Metrics) -> io::Result<Self> {
        let (logs, writer, orders) = Self::prepare(config, metrics)?;
        let thread = thread::Builder::new().name("dhow-logs".to_owned());
        thread.spawn(move || writer.run(&orders))?;
        Ok(logs)
    }

    fn prepare(config: Config, metrics: &Metrics) -> io::Result<(Self, Writer, Receiver<Order>)> {
        let (orders, receiver) = channel();
        let shared = Arc::new(Shared {
            backlog: config.backlog,
            waiting: AtomicUsize::new(0),
            dropped: Mutex::default(),
            live: Mutex::default(),
            metrics: metrics.clone(),
        });
        let writer = Writer::new(Files::open(config.clone())?, shared.clone());
        Ok((Self(Arc::new(Inner { config, orders, shared })), writer, receiver))
    }

    /// Writes a line, soon. Never waits.
    pub fn write(&self, function: &FunctionName, line: LogLine) {
        if !self.0.shared.admit(function, &line) {
            return;
        }
        if self.0.orders.send(Order::Line(function.clone(), line)).is_err() {
            self.0.shared.metrics.log_lines_dropped(1);
        }
    }

    /// The lines that are kept, oldest first. Reads files: not for a thread that must not wait.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn read(&self, function: &FunctionName, query: &Query) -> io::Result<Vec<LogLine>> {
        files::read(&self.0.config, function, query)
    }

    /// The lines from now on, in the order of the file, and perhaps some that are on their way
    /// there. Whoever then flushes and reads misses none.
    pub fn follow(&self, function: &FunctionName) -> broadcast::Receiver<LogLine> {
        let mut live = self.0.shared.live.lock();
        let behind = self.0.config.behind;
        live.entry(function.clone()).or_insert_with(|| broadcast::Sender::new(behind)).subscribe()
    }

    /// Removes what is kept of a function, and returns when it is gone. Waits for the writer.
    ///
    /// # Errors
    /// When a file can't be removed, or the writer has ended.
    pub fn remove(&self, function: &FunctionName) -> io::Result<()> {
        let (sender, removed) = sync_channel(1);
        self.0.orders.send(Order::Remove(function.clone(), sender)).map_err(io::Error::other)?;
        removed.recv().map_err(io::Error::other)?
    }

    /// Waits until everything written so far has been handed to the system.
    pub async fn flush(&self) {
        let (sender, flushed) = oneshot::channel();
        if self.0.orders.send(Order::Flushed(sender)).is_ok() {
            // An error means that the writer has ended: there is nothing to wait for.
            drop(flushed.await);
        }
    }
}

#[cfg(test)]
mod tests {
    use dhow_core::ports::Stream;
    use tokio::sync::broadcast::error::RecvError;

    use super::*;

    fn line(call: u128, text: &str) -> LogLine {
        LogLine {
            time_ms: 7,
            call: CallId(call),
            revision: 1,
            stream: Stream::Stderr,
            line: text.to_owned(),
        }
    }

    fn texts(logs: &Logs, function: &FunctionName) -> Vec<String> {
        let lines = logs.read(function, &Query::default()).unwrap();
        lines.into_iter().map(|line| line.line).collect()
    }

    fn name(text: &str) -> FunctionName {
        FunctionName::parse(text).unwrap()
    }

    #[tokio::test]
    async fn what_is_written_is_read_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::start(Config::new(folder.path().join("logs")), &Metrics::new()).unwrap();
        for text in ["one", "two"] {
            logs.write(&name("f"), line(1, text));
        }
        logs.flush().await;
        assert_eq!(texts(&logs, &name("f")), ["one", "two"]);
        logs.remove(&name("f")).unwrap();
        assert!(texts(&logs, &name("f")).is_empty());
    }

    #[tokio::test]
    async fn lines_without_room_are_counted_and_said_where_they_are_missing() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::new();
        let backlog = 2 * (size_of::<Order>() + "one".len());
        let config = Config { backlog, ..Config::new(folder.path().join("logs")) };
        let (logs, writer, orders) = Logs::prepare(config, &metrics).unwrap();
        for text in ["one", "two", "3rd", "4th"] {
            logs.write(&name("f"), line(1, text));
        }
        logs.write(&name("g"), line(2, "5th"));
        assert!(metrics.render().contains("dhow_log_lines_dropped_total 3"));
        thread::spawn(move || writer.run(&orders));
        logs.flush().await;
        let note =
            |lines| format!("[dhow] {lines} lines were dropped: they came too fast to be kept");
        let mut kept = texts(&logs, &name("f"));
        kept.sort();
        assert_eq!(kept, [note(2), "one".to_owned(), "two".to_owned()]);
        assert_eq!(texts(&logs, &name("g")), [note(1)]);
        // There is room again.
        logs.write(&name("f"), line(1, "6th"));
        logs.flush().await;
        assert_eq!(texts(&logs, &name("f")).last().unwrap(), "6th");
    }

    #[tokio::test]
    async fn a_follower_hears_what_comes_and_how_much_it_missed() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { behind: 2, ..Config::new(folder.path().join("logs")) };
        let logs = Logs::start(config, &Metrics::new()).unwrap();
        logs.write(&name("f"), line(1, "before"));
        logs.flush().await;
        let mut live = logs.follow(&name("f"));
        logs.write(&name("g"), line(1, "another's"));
        logs.write(&name("f"), line(1, "after"));
        assert_eq!(live.recv().await.unwrap().line, "after");
        for text in ["a", "b", "c", "d"] {
            logs.write(&name("f"), line(1, text));
        }
        logs.flush().await;
        assert_eq!(live.recv().await, Err(RecvError::Lagged(2)));
        assert_eq!(live.recv().await.unwrap().line, "c");
        drop(live);
        logs.write(&name("f"), line(1, "unheard"));
        logs.flush().await;
        assert!(logs.0.shared.live.lock().is_empty());
    }

    #[tokio::test]
    async fn a_line_that_cannot_be_written_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::new();
        let logs = Logs::start(Config::new(folder.path().join("logs")), &metrics).unwrap();
        // A file where the namespace's folder would be.
        std::fs::write(folder.path().join("logs/default"), "").unwrap();
        logs.write(&name("f"), line(1, "one"));
        logs.flush().await;
        assert!(metrics.render().contains("dhow_log_lines_dropped_total 1"));
    }
}
