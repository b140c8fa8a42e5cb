//! A copy that is archived while it is sent.

use std::io::{self, BufWriter, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dhow_core::ports::{ArchiveBody, Backup, BackupError, BoxFuture};
use http_body::{Body, Frame};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::copy::{Copier, Copy, CopyError};
use crate::folder::OpenError;

/// Bytes of a piece.
const PIECE: usize = 64 << 10;
/// Pieces that wait to be sent.
const AHEAD: usize = 8;
/// How long a reader may take none of them; then the archive breaks off, and blobs may be collected
/// again.
const STALL: Duration = Duration::from_secs(60);

impl Backup for Copier {
    fn begin(&self, now_ms: u64) -> BoxFuture<'_, Result<ArchiveBody, BackupError>> {
        Box::pin(async move {
            let turn = self.turn().ok_or(BackupError::Busy)?;
            let copier = self.clone();
            let copied = spawn_blocking(move || copier.copy()).await;
            let copy = copied.map_err(|error| BackupError::Failed(error.to_string()))??;
            let (sender, pieces) = mpsc::channel(AHEAD);
            spawn_blocking(move || {
                send(copy, sender, now_ms);
                drop(turn);
            });
            Ok(Box::pin(Pieces { pieces, has_ended: false }) as ArchiveBody)
        })
    }
}

impl From<CopyError> for BackupError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Open(OpenError::Full { .. }) => Self::Full,
            error => Self::Failed(error.to_string()),
        }
    }
}

/// Archives `copy` into the channel. On a thread that may wait.
fn send(copy: Copy, pieces: mpsc::Sender<Piece>, now_ms: u64) {
    let sender = Sender { pieces, runtime: Handle::current() };
    let mut to = BufWriter::with_capacity(PIECE, &sender);
    let written = copy.write(&mut to, now_ms).and_then(|_| to.flush().map_err(CopyError::Write));
    let last = match written {
        Ok(()) => Piece::End,
        Err(error) => {
            tracing::error!(%error, "a backup broke off");
            Piece::Broken(io::Error::other(error))
        }
    };
    // One who no longer reads need not hear.
    drop(sender.send(last));
}

enum Piece {
    Data(Bytes),
    End,
    Broken(io::Error),
}

/// Hands on what is written to it, and waits where there is no room.
struct Sender {
    pieces: mpsc::Sender<Piece>,
    runtime: Handle,
}

impl Sender {
    fn send(&self, piece: Piece) -> io::Result<()> {
        // Within the runtime, which the timer needs.
        let sent = self.runtime.block_on(async { timeout(STALL, self.pieces.send(piece)).await });
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Write for &Sender {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.send(Piece::Data(Bytes::copy_from_slice(piece)))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is received. It ends well only with [`Piece::End`].
struct Pieces {
    pieces: mpsc::Receiver<Piece>,
    has_ended: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        self.pieces.poll_recv(context).map(|piece| match piece {
            Some(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            ended => {
                self.has_ended = true;
                match ended {
                    Some(Piece::End) => None,
                    Some(Piece::Broken(error)) => Some(Err(error)),
                    _ => Some(Err(io::ErrorKind::UnexpectedEof.into())),
                }
            }
        })
    }
}
