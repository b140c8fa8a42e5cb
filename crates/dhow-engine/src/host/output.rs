//! Where a guest's standard output and error go.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use dhow_core::outcome::{Failure, Reason};
use dhow_core::ports::Stream;
use futures_util::SinkExt as _;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

use crate::call::Current;
use crate::flight::Flight;
use crate::meter::Stop;

/// What a guest may write at once.
const PERMIT: usize = 64 << 10;
/// A line longer than this is cut in two, bytes.
const LINE: usize = 16 << 10;

/// A sink that takes bytes at once, or refuses them.
trait Sink: Send + Sync + 'static {
    fn write(&self, bytes: &[u8]) -> Result<(), StreamError>;
}

/// Gives a [`Sink`] the shapes that WASI wants.
struct Handle<S>(Arc<S>);

/// Keeps everything, up to a limit; over it the call ends.
pub(crate) struct Capture {
    flight: Arc<Flight>,
    bytes: Mutex<BytesMut>,
}

impl Capture {
    pub(crate) fn new(flight: Arc<Flight>) -> Arc<Self> {
        Arc::new(Self { flight, bytes: Mutex::default() })
    }

    pub(crate) fn stream(self: &Arc<Self>) -> impl StdoutStream + 'static {
        Handle(self.clone())
    }

    pub(crate) fn take(&self) -> Bytes {
        std::mem::take(&mut *self.bytes.lock()).freeze()
    }
}

impl Sink for Capture {
    fn write(&self, bytes: &[u8]) -> Result<(), StreamError> {
        let mut kept = self.bytes.lock();
        let limit = self.flight.limits().output;
        if (kept.len() + bytes.len()) as u64 > limit {
            let message = format!("the guest wrote more than its {limit} bytes of output");
            let failure = self.flight.fail(Failure::new(Reason::BadResponse, message));
            return Err(StreamError::Trap(wasmtime::Error::new(Stop(failure))));
        }
        kept.extend_from_slice(bytes);
        Ok(())
    }
}

/// Cuts what is written into lines and hands them to the call's record, up to `limits.logs`.
pub(crate) struct Lines {
    writer: Writer,
    stream: Stream,
    /// What came since the last line's end.
    partial: Mutex<Vec<u8>>,
}

/// Whose lines they are.
#[derive(Clone)]
pub(crate) enum Writer {
    /// The call that the instance was made for.
    Call(Arc<Flight>),
    /// The call that the instance serves at the time.
    Current(Arc<Current>),
}

impl Writer {
    fn flight(&self) -> Option<Arc<Flight>> {
        match self {
            Self::Call(flight) => Some(flight.clone()),
            Self::Current(current) => current.get(),
        }
    }
}

impl Lines {
    pub(crate) fn new(writer: Writer, stream: Stream) -> Arc<Self> {
        Arc::new(Self { writer, stream, partial: Mutex::default() })
    }

    pub(crate) fn stream(self: &Arc<Self>) -> impl StdoutStream + 'static {
        Handle(self.clone())
    }

    /// A line of the platform's own.
    pub(crate) fn note(&self, line: &str) {
        self.line(line.as_bytes());
    }

    fn line(&self, line: &[u8]) {
        let Some(flight) = self.writer.flight() else { return };
        let limit = flight.limits().logs;
        match flight.logged(line.len() as u64 + 1) {
            logged if logged <= limit => flight.record().line(flight.id, self.stream, line),
            // The line that goes over says so; those after it are over, too.
            logged if logged - (line.len() as u64 + 1) <= limit => {
                let note = format!(
                    "[dhow] this call wrote more than its {limit} bytes of logs; the rest is dropped"
                );
                flight.record().line(flight.id, self.stream, note.as_bytes());
            }
            _ => {}
        }
    }
}

impl Sink for Lines {
    fn write(&self, bytes: &[u8]) -> Result<(), StreamError> {
        let mut partial = self.partial.lock();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            partial.extend_from_slice(piece);
            while partial.last() == Some(&b'\n') || partial.len() >= LINE {
                let end = partial.len().min(LINE);
                let rest = partial.split_off(end);
                let line = std::mem::replace(&mut *partial, rest);
                self.line(line.strip_suffix(b"\n").unwrap_or(&line));
            }
        }
        Ok(())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let partial = std::mem::take(self.partial.get_mut());
        if !partial.is_empty() {
            self.line(&partial);
        }
    }
}

impl<S: Sink> IsTerminal for Handle<S> {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl<S: Sink> StdoutStream for Handle<S> {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Self(self.0.clone()))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self(self.0.clone()))
    }
}

impl<S: Sink> OutputStream for Handle<S> {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.0.write(&bytes)
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(PERMIT)
    }
}

#[wasmtime_wasi::async_trait]
impl<S: Sink> Pollable for Handle<S> {
    async fn ready(&mut self) {}
}

impl<S: Sink> AsyncWrite for Handle<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.write(bytes).map(|()| bytes.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Pieces of output under way to a reader; a writer that is ahead waits.
const PIPE_PIECES: usize = 4;

/// A pipe from the guest's standard output to whoever reads the other end.
pub(crate) fn pipe() -> (impl StdoutStream + 'static, mpsc::Receiver<Bytes>) {
    let (sender, receiver) = mpsc::channel(PIPE_PIECES);
    (Pipe(sender), receiver)
}

#[derive(Clone)]
struct Pipe(mpsc::Sender<Bytes>);

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pipe {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio_util::io::SinkWriter::new(tokio_util::io::CopyToBytes::new(
            tokio_util::sync::PollSender::new(self.0.clone())
                .sink_map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe)),
        )))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Pipe {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.0.try_send(bytes).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(_) => StreamError::Closed,
            mpsc::error::TrySendError::Full(_) => StreamError::trap("wrote without a permit"),
        })
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        match self.0.capacity() {
            _ if self.0.is_closed() => Err(StreamError::Closed),
            0 => Ok(0),
            _ => Ok(PERMIT),
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Pipe {
    async fn ready(&mut self) {
        // Either there is room now, or the reader is gone; `check_write` tells which.
        drop(self.0.reserve().await);
    }
}
