//! How far a transfer of several blobs is: a bar, bytes, a rate. Knows neither terminals nor
//! clocks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::units::mebibytes;

/// Characters of the bar.
const WIDTH: u64 = 20;
/// How often it changes, so that it can be read.
const EVERY: Duration = Duration::from_millis(100);

/// The state of a transfer.
#[derive(Debug)]
pub(crate) struct Bar {
    began: Instant,
    shown: Option<Instant>,
    blobs: BTreeMap<String, Blob>,
}

#[derive(Debug)]
struct Blob {
    /// Bytes that were there before this transfer began; they say nothing about its rate.
    before: u64,
    received: u64,
    size: u64,
}

impl Bar {
    pub(crate) fn new(now: Instant) -> Self {
        Self { began: now, shown: None, blobs: BTreeMap::new() }
    }

    /// Takes what is told of one blob; the text to show, when it is time for one.
    pub(crate) fn hear(
        &mut self,
        blob: &str,
        received: u64,
        size: u64,
        now: Instant,
    ) -> Option<String> {
        // What is heard first of a blob was there before; what begins anew was for nothing.
        let new = Blob { before: received, received, size };
        let entry = self.blobs.entry(blob.to_owned()).or_insert(new);
        (entry.received, entry.size) = (received, size);
        entry.before = entry.before.min(received);
        let is_over = self.blobs.values().all(|blob| blob.received >= blob.size);
        let is_due = self.shown.is_none_or(|shown| now.duration_since(shown) >= EVERY);
        if !is_due && !is_over {
            return None;
        }
        self.shown = Some(now);
        Some(self.text(now))
    }

    fn text(&self, now: Instant) -> String {
        let sum = |of: fn(&Blob) -> u64| self.blobs.values().map(of).sum::<u64>();
        let (received, size) = (sum(|blob| blob.received), sum(|blob| blob.size));
        let filled = received.saturating_mul(WIDTH).checked_div(size).unwrap_or(WIDTH).min(WIDTH);
        let bar: String = (0..WIDTH).map(|at| if at < filled { '=' } else { ' ' }).collect();
        let new = received.saturating_sub(sum(|blob| blob.before));
        let millis = now.duration_since(self.began).as_millis().max(1);
        let rate = u64::try_from(u128::from(new) * 1000 / millis).unwrap_or(u64::MAX);
        format!(" [{bar}] {} of {}, {}/s", mebibytes(received), mebibytes(size), mebibytes(rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn blobs_are_one_bar_with_the_rate_of_what_is_new() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut bar = Bar::new(began);
        let first = bar.hear("a", 2 * MIB, 4 * MIB, at(0)).unwrap();
        assert_eq!(first, " [==========          ] 2.0 MiB of 4.0 MiB, 0.0 MiB/s");
        assert_eq!(bar.hear("a", 3 * MIB, 4 * MIB, at(50)), None);
        bar.hear("b", 0, 4 * MIB, at(60));
        let later = bar.hear("b", MIB, 4 * MIB, at(1000)).unwrap();
        assert_eq!(later, " [==========          ] 4.0 MiB of 8.0 MiB, 2.0 MiB/s");
        bar.hear("a", 4 * MIB, 4 * MIB, at(1010));
        let end = bar.hear("b", 4 * MIB, 4 * MIB, at(2000)).unwrap();
        assert_eq!(end, " [====================] 8.0 MiB of 8.0 MiB, 3.0 MiB/s");
    }

    #[test]
    fn what_was_there_before_of_any_blob_is_in_no_rate() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut bar = Bar::new(began);
        bar.hear("config", 0, MIB, at(0));
        bar.hear("config", MIB, MIB, at(10));
        bar.hear("whole", 8 * MIB, 8 * MIB, at(20));
        bar.hear("part", 6 * MIB, 8 * MIB, at(30));
        let end = bar.hear("part", 8 * MIB, 8 * MIB, at(1000)).unwrap();
        assert_eq!(end, " [====================] 17.0 MiB of 17.0 MiB, 3.0 MiB/s");
    }

    #[test]
    fn an_empty_blob_is_whole() {
        let mut bar = Bar::new(Instant::now());
        let text = bar.hear("a", 0, 0, Instant::now()).unwrap();
        assert!(text.starts_with(" [====================] 0.0 MiB"), "{text}");
    }
}
