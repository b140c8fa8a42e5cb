//! Bytes, entries and time that layers cost.

use std::io::{self, Read};
use std::time::Instant;

use dhow_core::digest::Digest;
use sha2::{Digest as _, Sha256};

use crate::image::budget::Budget;
use crate::image::error::PullError;

/// What has been spent on one image's layers.
#[derive(Debug)]
pub struct Ledger<'b> {
    budget: &'b Budget,
    until: Instant,
    unpacked: u64,
    entries: u64,
}

impl<'b> Ledger<'b> {
    /// Nothing spent yet; the time runs from now.
    pub fn open(budget: &'b Budget) -> Self {
        Self { budget, until: Instant::now() + budget.unpack_time, unpacked: 0, entries: 0 }
    }

    /// The budget.
    pub fn budget(&self) -> &'b Budget {
        self.budget
    }

    /// How many entries may still come.
    pub fn entries_left(&self) -> u64 {
        self.budget.entries - self.entries
    }

    fn unpacked(&mut self, bytes: usize) -> Result<(), PullError> {
        self.unpacked += bytes as u64;
        if self.unpacked > self.budget.unpacked {
            let most = format!("{} bytes", self.budget.unpacked);
            return Err(over("what its layers unpack to", &most));
        }
        if Instant::now() > self.until {
            let most = format!("{} s", self.budget.unpack_time.as_secs());
            return Err(over("the time to unpack its layers", &most));
        }
        Ok(())
    }
}

fn over(what: &str, most: &str) -> PullError {
    PullError::TooLarge { what: what.to_owned(), most: most.to_owned() }
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
