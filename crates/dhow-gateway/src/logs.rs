//! Guests' log lines: one file of JSON lines per function, written by one thread, rotated within a
//! budget, read back and followed.
//!
//! Whoever writes never waits: when the thread falls behind, lines are dropped, counted, and the
//! log says so.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::SystemTime;

use dhow_core::call::CallId;
use dhow_core::name::FunctionName;
use dhow_core::ports::Stream;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, oneshot};

use crate::metrics::Metrics;

/// Lines that may wait for the writer.
const WAITING: usize = 8192;
/// Lines that a follower may be behind before it loses some.
const BEHIND: usize = 1024;

/// Where logs are and how much of them is kept.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder; made with mode 0700.
    pub folder: PathBuf,
    /// Bytes of a file before it is rotated.
    pub file: u64,
    /// Rotated files that are kept of each function.
    pub old_files: u32,
    /// Bytes of all files together; the oldest rotated ones go first.
    pub total: u64,
}

impl Config {
    /// 8 MiB a file, three old ones a function, 256 MiB in all.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, file: 8 << 20, old_files: 3, total: 256 << 20 }
    }
}

/// One line of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// Whose call it was.
    pub call: CallId,
    /// The revision that wrote it.
    pub revision: u64,
    /// Which of its outputs.
    pub stream: Stream,
    /// Without its end.
    pub line: String,
}

/// A line as it is on disk.
#[derive(Serialize, Deserialize)]
struct Stored {
    t: u64,
    call: String,
    rev: u64,
    err: bool,
    line: String,
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

/// The logs of all functions. Cheap to clone.
#[derive(Clone)]
pub struct Logs(Arc<Inner>);

struct Inner {
    config: Config,
    orders: SyncSender<Order>,
    dropped: AtomicU64,
    metrics: Metrics,
    live: Mutex<HashMap<FunctionName, broadcast::Sender<LogLine>>>,
}

enum Order {
    Line(FunctionName, LogLine),
    Flushed(oneshot::Sender<()>),
    Remove(FunctionName),
}

impl Logs {
    /// Starts the writer.
    ///
    /// # Errors
    /// When the folder or the thread can't be made.
    pub fn start(config: Config, metrics: &Metrics) -> io::Result<Self> {
        make_folder(&config.folder)?;
        let (orders, receiver) = sync_channel(WAITING);
        let inner = Arc::new(Inner {
            config: config.clone(),
            orders,
            dropped: AtomicU64::new(0),
            metrics: metrics.clone(),
            live: Mutex::default(),
        });
        let writer = Writer { config, total: 0, open: HashMap::new(), failed: 0 };
        let logs = Arc::downgrade(&inner);
        thread::Builder::new().name("dhow-logs".to_owned()).spawn(move || {
            writer.run(&receiver, || logs.upgrade().map_or(0, |l| l.take_dropped()))
        })?;
        Ok(Self(inner))
    }

    /// Writes a line, soon. Never waits.
    pub fn write(&self, function: &FunctionName, line: LogLine) {
        if let Some(live) = self.0.live.lock().get(function) {
            // Without a listener there is nobody to tell.
            drop(live.send(line.clone()));
        }
        match self.0.orders.try_send(Order::Line(function.clone(), line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.0.dropped.fetch_add(1, Relaxed);
                self.0.metrics.log_lines_dropped(1);
            }
        }
    }

    /// The lines that are kept, oldest first.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn read(&self, function: &FunctionName, query: &Query) -> io::Result<Vec<LogLine>> {
        let mut lines = std::collections::VecDeque::new();
        for index in (0..=self.0.config.old_files).rev() {
            let file = match File::open(path(&self.0.config.folder, function, index)) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for line in BufReader::new(file).split(b'\n') {
                // The last line may be half written.
                let Some(line) = parse(&line?) else { continue };
                let wanted = query.since_ms.is_none_or(|since| line.time_ms >= since)
                    && query.call.is_none_or(|call| line.call == call);
                if wanted {
                    lines.push_back(line);
                    if query.tail.is_some_and(|tail| lines.len() > tail) {
                        lines.pop_front();
                    }
                }
            }
        }
        Ok(lines.into())
    }

    /// The lines from now on.
    pub fn follow(&self, function: &FunctionName) -> broadcast::Receiver<LogLine> {
        let mut live = self.0.live.lock();
        live.retain(|_, sender| sender.receiver_count() > 0);
        live.entry(function.clone()).or_insert_with(|| broadcast::Sender::new(BEHIND)).subscribe()
    }

    /// Removes what is kept of a function.
    ///
    /// # Errors
    /// When the writer has ended.
    pub fn remove(&self, function: &FunctionName) -> io::Result<()> {
        self.0.orders.send(Order::Remove(function.clone())).map_err(io::Error::other)
    }

    /// Waits until everything written so far is on its way to disk.
    pub async fn flush(&self) {
        let (sender, flushed) = oneshot::channel();
        if self.0.orders.try_send(Order::Flushed(sender)).is_ok() {
            // An error means that the writer has ended, and with it everything is written.
            drop(flushed.await);
        }
    }
}

impl Inner {
    fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Relaxed)
    }
}

/// The thread that writes.
struct Writer {
    config: Config,
    /// Bytes written since the budget was last looked at.
    total: u64,
    open: HashMap<FunctionName, (File, u64)>,
    /// Writes that failed since the last complaint.
    failed: u64,
}

/// Files that are kept open.
const OPEN: usize = 256;

impl Writer {
    fn run(mut self, orders: &Receiver<Order>, dropped: impl Fn() -> u64) {
        let mut complained: Option<SystemTime> = None;
        while let Ok(order) = orders.recv() {
            match order {
                Order::Line(function, line) => {
                    let lost = dropped();
                    if lost > 0 {
                        let note =
                            format!("[dhow] {lost} lines of this server's guests were dropped");
                        let note = LogLine { line: note, ..line.clone() };
                        self.count(&function, &note);
                    }
                    self.count(&function, &line);
                }
                Order::Flushed(done) => drop(done.send(())),
                Order::Remove(function) => self.remove(&function),
            }
            let due = complained.is_none_or(|at| at.elapsed().is_ok_and(|e| e.as_secs() >= 60));
            if self.failed > 0 && due {
                tracing::error!(lines = self.failed, "guests' log lines can't be written");
                self.failed = 0;
                complained = Some(SystemTime::now());
            }
        }
    }

    fn count(&mut self, function: &FunctionName, line: &LogLine) {
        if let Err(error) = self.append(function, line) {
            tracing::debug!(%function, %error, "a log line can't be written");
            self.failed += 1;
            self.open.remove(function);
        }
    }

    fn append(&mut self, function: &FunctionName, line: &LogLine) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(&Stored {
            t: line.time_ms,
            call: line.call.to_string(),
            rev: line.revision,
            err: line.stream == Stream::Stderr,
            line: line.line.clone(),
        })?;
        bytes.push(b'\n');
        let length = bytes.len() as u64;
        let full = self.file(function)?.1 + length > self.config.file;
        if full {
            self.rotate(function)?;
        }
        let (file, size) = self.file(function)?;
        file.write_all(&bytes)?;
        *size += length;
        self.total += length;
        if self.total >= self.config.file.min(self.config.total) / 2 {
            self.total = 0;
            self.keep_to_budget()?;
        }
        Ok(())
    }

    fn file(&mut self, function: &FunctionName) -> io::Result<&mut (File, u64)> {
        if self.open.len() >= OPEN && !self.open.contains_key(function) {
            self.open.clear();
        }
        match self.open.entry(function.clone()) {
            std::collections::hash_map::Entry::Occupied(open) => Ok(open.into_mut()),
            std::collections::hash_map::Entry::Vacant(place) => {
                let path = path(&self.config.folder, function, 0);
                if let Some(folder) = path.parent() {
                    make_folder(folder)?;
                }
                let mut options = OpenOptions::new();
                let file = options.create(true).append(true).mode(0o600).open(&path)?;
                let size = file.metadata()?.len();
                Ok(place.insert((file, size)))
            }
        }
    }

    /// Makes the file in use the newest of the old ones.
    fn rotate(&mut self, function: &FunctionName) -> io::Result<()> {
        self.open.remove(function);
        for index in (0..self.config.old_files).rev() {
            let from = path(&self.config.folder, function, index);
            match fs::rename(from, path(&self.config.folder, function, index + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.config.old_files == 0 {
            fs::remove_file(path(&self.config.folder, function, 0))?;
        }
        Ok(())
    }

    /// Removes the oldest rotated files until the rest is within the budget. Files in use stay.
    fn keep_to_budget(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for namespace in fs::read_dir(&self.config.folder)? {
            for file in fs::read_dir(namespace?.path())? {
                let file = file?;
                let metadata = file.metadata()?;
                files.push((metadata.modified()?, metadata.len(), file.path()));
            }
        }
        let mut total: u64 = files.iter().map(|(_, length, _)| length).sum();
        files.retain(|(_, _, path)| path.extension().is_none_or(|extension| extension != "log"));
        files.sort();
        for (_, length, path) in files {
            if total <= self.config.total {
                break;
            }
            fs::remove_file(path)?;
            total -= length;
        }
        Ok(())
    }

    fn remove(&mut self, function: &FunctionName) {
        self.open.remove(function);
        for index in 0..=self.config.old_files {
            match fs::remove_file(path(&self.config.folder, function, index)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%function, %error, "a log can't be removed");
                }
                _ => {}
            }
        }
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The file in use (0), or an old one.
fn path(folder: &Path, function: &FunctionName, index: u32) -> PathBuf {
    let name = match index {
        0 => format!("{}.log", function.name),
        index => format!("{}.log.{index}", function.name),
    };
    folder.join(function.namespace.as_str()).join(name)
}

fn parse(line: &[u8]) -> Option<LogLine> {
    let stored: Stored = serde_json::from_slice(line).ok()?;
    Some(LogLine {
        time_ms: stored.t,
        call: CallId::parse(&stored.call)?,
        revision: stored.rev,
        stream: if stored.err { Stream::Stderr } else { Stream::Stdout },
        line: stored.line,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(call: u128, text: &str) -> LogLine {
        let line = text.to_owned();
        LogLine {
            time_ms: call as u64,
            call: CallId(call),
            revision: 1,
            stream: Stream::Stderr,
            line,
        }
    }

    fn logs(settle: impl FnOnce(&mut Config)) -> (tempfile::TempDir, Logs, FunctionName) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path().join("logs"));
        settle(&mut config);
        let logs = Logs::start(config, &Metrics::new()).unwrap();
        (folder, logs, FunctionName::parse("f").unwrap())
    }

    #[tokio::test]
    async fn lines_are_read_as_they_were_written() {
        let (_folder, logs, name) = logs(|_| ());
        for call in 1..=5 {
            logs.write(&name, line(call, &format!("line \"{call}\"")));
        }
        logs.flush().await;
        let read = |query| logs.read(&name, &query).unwrap();
        assert_eq!(read(Query::default()).len(), 5);
        assert_eq!(read(Query::default())[0], line(1, "line \"1\""));
        assert_eq!(read(Query { tail: Some(2), ..Query::default() })[0].call, CallId(4));
        assert_eq!(read(Query { since_ms: Some(3), ..Query::default() }).len(), 3);
        assert_eq!(read(Query { call: Some(CallId(2)), ..Query::default() }).len(), 1);
        logs.remove(&name).unwrap();
        logs.flush().await;
        assert!(read(Query::default()).is_empty());
    }

    #[tokio::test]
    async fn files_are_rotated_and_kept_to_the_budget() {
        let (folder, logs, name) = logs(|config| {
            config.file = 2000;
            config.total = 5000;
        });
        for call in 1..=500 {
            logs.write(&name, line(call, "some text to fill the file"));
        }
        logs.flush().await;
        let files = fs::read_dir(folder.path().join("logs/default")).unwrap();
        let sizes: Vec<_> = files.map(|file| file.unwrap().metadata().unwrap().len()).collect();
        assert!(sizes.iter().all(|size| *size <= 2000), "{sizes:?}");
        assert!(sizes.len() > 1 && sizes.iter().sum::<u64>() <= 7000, "{sizes:?}");
        let kept = logs.read(&name, &Query::default()).unwrap();
        assert_eq!(kept.last().unwrap().call, CallId(500));
        assert!(kept.is_sorted_by_key(|line| line.time_ms));
    }

    #[tokio::test]
    async fn a_follower_hears_what_comes() {
        let (_folder, logs, name) = logs(|_| ());
        logs.write(&name, line(1, "before"));
        let mut live = logs.follow(&name);
        logs.write(&name, line(2, "after"));
        assert_eq!(live.recv().await.unwrap().line, "after");
    }

    #[tokio::test]
    async fn a_writer_that_falls_behind_drops_and_says_so() {
        let (_folder, logs, name) = logs(|_| ());
        for call in 0..(WAITING as u128 * 20) {
            logs.write(&name, line(call, "x"));
        }
        // At the latest the next line finds room and brings the note along.
        loop {
            logs.flush().await;
            logs.write(&name, line(1, "last"));
            logs.flush().await;
            let kept = logs.read(&name, &Query::default()).unwrap();
            if kept.iter().any(|line| line.line.contains("were dropped"))
                || logs.0.dropped.load(Relaxed) == 0 && kept.len() > WAITING * 19
            {
                break;
            }
        }
    }
}
