//! Bytes, entries and time that layers cost.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dhow_core::digest::Digest;
use sha2::{Digest as _, Sha256};

use crate::image::budget::Budget;
use crate::image::error::PullError;

/// Tells work in the background that nobody waits for it any more.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Tells it.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// When work on layers ends at the latest.
#[derive(Debug, Clone)]
struct Watch {
    until: Instant,
    limit: Duration,
    stop: Stop,
}

impl Watch {
    fn check(&self) -> Result<(), PullError> {
        if self.stop.0.load(Ordering::Relaxed) {
            return Err(PullError::Stopped);
        }
        if Instant::now() > self.until {
            let most = format!("{} s", self.limit.as_secs());
            return Err(over("the time to unpack its layers", &most));
        }
        Ok(())
    }
}

/// What has been spent on one image's layers.
#[derive(Debug)]
pub struct Ledger<'b> {
    budget: &'b Budget,
    watch: Watch,
    unpacked: u64,
    entries: u64,
}

impl<'b> Ledger<'b> {
    /// Nothing spent yet; the time runs from now, or until `stop` tells.
    pub fn open(budget: &'b Budget, stop: &Stop) -> Self {
        let limit = budget.unpack_time;
        let watch = Watch { until: Instant::now() + limit, limit, stop: stop.clone() };
        Self { budget, watch, unpacked: 0, entries: 0 }
    }

    /// The budget.
    pub fn budget(&self) -> &'b Budget {
        self.budget
    }

    /// How many entries may still come.
    pub fn entries_left(&self) -> u64 {
        self.budget.entries - self.entries
    }

    /// Begins to read the same layers once more: their bytes and entries are counted anew. The
    /// time is not.
    pub fn again(&mut self) {
        (self.unpacked, self.entries) = (0, 0);
    }

    /// Whether there is time left, and somebody who waits.
    ///
    /// # Errors
    /// [`PullError::TooLarge`], [`PullError::Stopped`].
    pub fn check(&self) -> Result<(), PullError> {
        self.watch.check()
    }

    /// `from`, read no longer than there is time.
    pub fn watched<R: Read>(&self, from: R) -> Watched<R> {
        Watched { from, watch: self.watch.clone() }
    }

    fn unpacked(&mut self, bytes: usize) -> Result<(), PullError> {
        self.unpacked += bytes as u64;
        if self.unpacked > self.budget.unpacked {
            let most = format!("{} bytes", self.budget.unpacked);
            return Err(over("what its layers unpack to", &most));
        }
        self.check()
    }
}

fn over(what: &str, most: &str) -> PullError {
    PullError::TooLarge { what: what.to_owned(), most: most.to_owned() }
}

/// Bytes on their way into a decoder. A decoder may read any number of them before it gives one,
/// so that a look at what it gives would come too late.
#[derive(Debug)]
pub struct Watched<R> {
    from: R,
    watch: Watch,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.watch.check().map_err(io::Error::other)?;
        self.from.read(buffer)
    }
}

/// Unpacked bytes on their way, counted and hashed.
pub struct Metered<'l, 'b, R> {
    from: R,
    ledger: &'l mut Ledger<'b>,
    hash: Sha256,
}

impl<'l, 'b, R: Read> Metered<'l, 'b, R> {
    /// Counts what `from` gives in `ledger`.
    pub fn new(from: R, ledger: &'l mut Ledger<'b>) -> Self {
        Self { from, ledger, hash: Sha256::new() }
    }

    /// Reads what is left and gives the digest of everything. It had `entries` entries, no more
    /// than there were left.
    ///
    /// # Errors
    /// As reading has them.
    pub fn finish(mut self, entries: u64) -> io::Result<Digest> {
        io::copy(&mut self, &mut io::sink())?;
        self.ledger.entries += entries;
        Ok(Digest::from_bytes(self.hash.finalize().into()))
    }
}

impl<R: Read> Read for Metered<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.ledger.unpacked(read).map_err(io::Error::other)?;
        Ok(read)
    }
}
