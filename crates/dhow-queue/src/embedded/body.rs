//! Bodies on their way to the disk and back. Small ones are rows of the queue's file; large ones
//! are files of their own, so that they are written once and never held in memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use dhow_core::call::CallId;
use dhow_core::outcome::{Failure, Reason};
use dhow_core::queue::{CallBody, EnqueueError};
use dhow_disk::durable::Steps;
use dhow_disk::is_full;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use sha2::{Digest as _, Sha256};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncRead, AsyncWriteExt as _, ReadBuf};
use tokio::task::spawn_blocking;

use super::SPACE_USED;

/// Bytes of a body up to which it is a row. A file costs a sync of its own, which can't be shared;
/// a large row is held in memory, and every call of its transaction waits for it.
pub(super) const ROW: usize = 64 << 10;
/// Bytes that are read of a file at a time.
const PIECE: usize = 64 << 10;

/// A body that came whole.
pub(super) struct Spooled {
    pub(super) body: Kept,
    pub(super) length: u64,
    /// The sum that was asked for, with the body added.
    pub(super) sum: Option<[u8; 32]>,
}

/// Where a body is.
pub(super) enum Kept {
    Row(Bytes),
    File(BodyFile),
}

/// A body's file, durable but for its name. Removed when dropped, unless it is kept.
pub(super) struct BodyFile {
    path: PathBuf,
    kept: bool,
}

/// Where the file of a call's body is.
pub(super) fn path_of(folder: &Path, call: CallId) -> PathBuf {
    folder.join(call.to_string())
}

/// Takes a body of at most `most` bytes. A large one is a file in `folder` then. `has_space` is asked
/// for the bytes of all that has come, before they are kept.
pub(super) async fn spool(
    steps: &Arc<dyn Steps>,
    folder: &Path,
    call: CallId,
    mut body: CallBody,
    most: u64,
    mut sum: Option<Sha256>,
    mut has_space: impl FnMut(u64) -> bool,
) -> Result<Spooled, EnqueueError> {
    let least = body.size_hint().lower();
    if least > most {
        return Err(EnqueueError::TooLarge { most });
    }
    if !has_space(least) {
        return Err(EnqueueError::Full(SPACE_USED));
    }
    let (mut memory, mut file) = (BytesMut::new(), None);
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        // Trailers of a request are not kept.
        let Ok(data) = frame.map_err(EnqueueError::Body)?.into_data() else { continue };
        length += data.len() as u64;
        if length > most {
            return Err(EnqueueError::TooLarge { most });
        }
        if !has_space(length) {
            return Err(EnqueueError::Full(SPACE_USED));
        }
        if let Some(sum) = &mut sum {
            sum.update(&data);
        }
        match &mut file {
            Some((file, _)) => write(file, &data).await?,
            None if memory.len() + data.len() <= ROW => memory.extend_from_slice(&data),
            None => {
                let (mut begun, kept) = begin(path_of(folder, call)).await?;
                write(&mut begun, &memory).await?;
                write(&mut begun, &data).await?;
                memory = BytesMut::new();
                file = Some((begun, kept));
            }
        }
    }
    let body = match file {
        None => Kept::Row(memory.freeze()),
        Some((mut file, kept)) => {
            file.flush().await.map_err(storage)?;
            let (file, steps) = (file.into_std().await, steps.clone());
            let synced = spawn_blocking(move || {
                steps.sync(&kept.path, &file)?;
                Ok(kept)
            });
            let synced = synced.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            Kept::File(synced.map_err(storage)?)
        }
    };
    Ok(Spooled { body, length, sum: sum.map(|sum| sum.finalize().into()) })
}

async fn begin(path: PathBuf) -> Result<(File, BodyFile), EnqueueError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let file = options.open(&path).await.map_err(storage)?;
    Ok((file, BodyFile { path, kept: false }))
}

async fn write(file: &mut File, data: &[u8]) -> Result<(), EnqueueError> {
    file.write_all(data).await.map_err(storage)
}

/// A call that is not kept for what the disk says.
pub(super) fn storage(error: io::Error) -> EnqueueError {
    if is_full(&error) {
        EnqueueError::Full("the disk is full")
    } else {
        EnqueueError::Storage(error.to_string())
    }
}

impl BodyFile {
    /// Moves it to where bodies are, which is not durable yet.
    pub(super) fn place(&mut self, steps: &dyn Steps, bodies: &Path) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default();
        let place = bodies.join(name);
        steps.rename(&self.path, &place)?;
        self.path = place;
        Ok(())
    }

    /// It belongs to a call from now on.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for BodyFile {
    fn drop(&mut self) {
        if !self.kept {
            remove(&self.path);
        }
    }
}

/// Removes the file of a body that nobody needs. One that stays is removed at the next start.
pub(super) fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "a body is left over"),
    }
}

/// A body that was a row.
pub(super) fn of_row(row: Bytes) -> CallBody {
    Box::pin(Full::new(row).map_err(|never| match never {}))
}

/// A body that is a file of `length` bytes.
///
/// # Errors
/// When it is not there, or has another length.
pub(super) async fn of_file(path: &Path, length: u64) -> io::Result<CallBody> {
    let file = File::open(path).await?;
    let found = file.metadata().await?.len();
    if found != length {
        let message = format!("the body's file has {found} bytes in place of {length}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(Box::pin(FileBody { file, left: length, buffer: vec![0; PIECE] }))
}

struct FileBody {
    file: File,
    left: u64,
    buffer: Vec<u8>,
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = ReadBuf::new(&mut this.buffer);
        let read = ready!(Pin::new(&mut this.file).poll_read(cx, &mut piece));
        let broken = |why: String| {
            Failure::new(Reason::NotReady, format!("the kept body can't be read: {why}"))
        };
        let piece = piece.filled();
        Poll::Ready(Some(match read {
            Err(error) => Err(broken(error.to_string())),
            Ok(()) if piece.is_empty() => Err(broken("it is cut".to_owned())),
            Ok(()) => {
                this.left = this.left.saturating_sub(piece.len() as u64);
                Ok(Frame::data(Bytes::copy_from_slice(piece)))
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use dhow_disk::durable::System;

    use super::*;

    fn system() -> Arc<dyn Steps> {
        Arc::new(System)
    }

    async fn spooled(folder: &Path, body: Vec<u8>, most: u64) -> Result<Spooled, EnqueueError> {
        let (body, sum) = (of_row(body.into()), Some(Sha256::new()));
        spool(&system(), folder, CallId(7), body, most, sum, |_| true).await
    }

    #[tokio::test]
    async fn a_small_body_is_a_row_and_a_large_one_a_file() {
        let folder = tempfile::tempdir().unwrap();
        for (length, is_row) in [(0, true), (ROW, true), (ROW + 1, false), (300_000, false)] {
            let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let spooled = spooled(folder.path(), bytes.clone(), 1 << 20).await.unwrap();
            assert_eq!(spooled.length, length as u64);
            assert_eq!(spooled.sum, Some(Sha256::digest(&bytes).into()));
            let body = match spooled.body {
                Kept::Row(row) => {
                    assert!(is_row);
                    of_row(row)
                }
                Kept::File(file) => {
                    assert!(!is_row);
                    let body = of_file(&file.path, spooled.length).await.unwrap();
                    assert!(of_file(&file.path, spooled.length + 1).await.is_err());
                    body
                }
            };
            assert_eq!(body.size_hint().exact(), Some(length as u64));
            assert_eq!(body.collect().await.unwrap().to_bytes(), bytes);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a dropped file is removed");
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_or_breaks_off_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let refused = spooled(folder.path(), vec![0; 200_001], 200_000).await.err();
        assert_eq!(refused, Some(EnqueueError::TooLarge { most: 200_000 }));
        let failure = Failure::new(Reason::Cancelled, "gone");
        let frames = vec![Ok(Frame::data(Bytes::from(vec![1; 100_000]))), Err(failure.clone())];
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
        let (steps, body) = (system(), Box::pin(body));
        let broken = spool(&steps, folder.path(), CallId(8), body, 1 << 20, None, |_| true).await;
        let broken = broken.err();
        assert_eq!(broken, Some(EnqueueError::Body(failure)));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
