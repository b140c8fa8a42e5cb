//! The audit log: who had what done to what, when, and how it ended. One JSON object a line, in
//! files that are only appended to and rotated within a budget.
//!
//! A record is on the disk (`fdatasync`) before the call that it is of is answered; so of a call
//! that was answered there is a record, unless the disk refused it, which is logged and counted.
//! After a power cut there may be a change without a record: its caller got no answer. Knows no
//! HTTP; the admin API says what to keep, and never a body, a query or a header.

mod files;
mod record;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::spawn_blocking;

use self::files::Files;
pub use self::record::{Record, Who};
use crate::metrics::Metrics;

/// Where the log is and how much of it is kept.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder; made with mode 0700.
    pub folder: PathBuf,
    /// Bytes of a file before it is rotated.
    pub file: u64,
    /// Rotated files that are kept; with the one in use they are the budget.
    pub old_files: u32,
}

impl Config {
    /// 8 MiB a file and seven old ones: 64 MiB, some hundred thousand records.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, file: 8 << 20, old_files: 7 }
    }
}

/// The log. Cheap to clone.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    config: Config,
    files: Mutex<Files>,
    metrics: Metrics,
}

impl Audit {
    /// Opens the log. A record that a crash left half is ended, so that the next one stands alone.
    ///
    /// # Errors
    /// When the folder or the file can't be made or read.
    pub fn open(config: Config, metrics: &Metrics) -> io::Result<Self> {
        let files = Mutex::new(Files::open(config.clone())?);
        Ok(Self(Arc::new(Inner { config, files, metrics: metrics.clone() })))
    }

    /// Keeps a record, and returns when it is on the disk. One that can't be kept is logged and
    /// counted, and control goes on: on a full disk deleting is what helps.
    pub async fn keep(&self, record: Record) {
        let inner = self.0.clone();
        let line = record.encode();
        let kept = spawn_blocking(move || inner.files.lock().append(&line)).await;
        if let Err(error) = kept.unwrap_or_else(|error| Err(io::Error::other(error))) {
            self.0.metrics.audit_failed();
            tracing::error!(%error, "a record of the audit log can't be kept");
        }
    }

    /// The newest records of those from `since_ms` on, oldest first, at most `most`. What a crash
    /// left half is passed over. Reads files: not for a thread that must not wait.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn read(&self, most: usize, since_ms: Option<u64>) -> io::Result<Vec<Record>> {
        files::read(&self.0.config, most, since_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(object: &str) -> Record {
        Record {
            time_ms: 1_000,
            who: Who::Loopback,
            peer: None,
            action: "deployFunction".to_owned(),
            object: object.to_owned(),
            detail: None,
            status: 200,
            reason: None,
            unrecorded: 0,
        }
    }

    #[tokio::test]
    async fn what_is_kept_is_read_in_its_order_after_a_restart_too() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new(folder.path().join("audit"));
        let audit = Audit::open(config.clone(), &Metrics::new()).unwrap();
        audit.keep(record("one")).await;
        audit.keep(record("two")).await;
        drop(audit);
        let audit = Audit::open(config, &Metrics::new()).unwrap();
        audit.keep(record("three")).await;
        let objects = |most| -> Vec<_> {
            let records = audit.read(most, None).unwrap();
            records.into_iter().map(|record| record.object).collect()
        };
        assert_eq!(objects(9), ["one", "two", "three"]);
        assert_eq!(objects(2), ["two", "three"]);
        assert_eq!(audit.read(9, Some(1_001)).unwrap(), []);
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_kept_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::new();
        let config = Config { file: 1, ..Config::new(folder.path().join("audit")) };
        let audit = Audit::open(config, &metrics).unwrap();
        audit.keep(record("one")).await;
        // The next one rotates, into a folder that is gone.
        std::fs::remove_dir_all(folder.path().join("audit")).unwrap();
        audit.keep(record("two")).await;
        assert!(metrics.render().contains("dhow_audit_failed_total 1"));
    }
}
