//! An archive whose end is filled up to a whole block: some tools (umoci) end one right behind the
//! last file's bytes, and others read it.

use std::io::{self, Read};

/// Bytes of a tar block.
const BLOCK: u64 = 512;

/// A reader with zeros behind its end, up to a whole block.
pub(super) struct Padded<R> {
    archive: R,
    /// Bytes that the archive has itself, so far.
    real: u64,
    /// Zeros that are to come; known once the archive has ended.
    rest: Option<u64>,
}

impl<R: Read> Padded<R> {
    pub(super) fn new(archive: R) -> Self {
        Self { archive, real: 0, rest: None }
    }

    /// The archive, and how many of its own bytes were read.
    pub(super) fn into_inner(self) -> (R, u64) {
        (self.archive, self.real)
    }
}

impl<R: Read> Read for Padded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_none() {
            let read = self.archive.read(buffer)?;
            self.real += read as u64;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
        }
        let real = self.real;
        let rest = self.rest.get_or_insert_with(|| real.next_multiple_of(BLOCK) - real);
        let filled = usize::try_from(*rest).unwrap_or(usize::MAX).min(buffer.len());
        buffer[..filled].fill(0);
        *rest -= filled as u64;
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_filled_and_nothing_else() {
        for (length, whole) in [(0, 0), (1, 512), (511, 512), (512, 512), (513, 1024)] {
            let bytes = vec![7; length];
            let (mut padded, mut read) = (Padded::new(&bytes[..]), Vec::new());
            padded.read_to_end(&mut read).unwrap();
            assert_eq!((read.len(), padded.into_inner().1), (whole, length as u64));
            assert!(read.starts_with(&bytes) && read[length..].iter().all(|byte| *byte == 0));
        }
    }
}
