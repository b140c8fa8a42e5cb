//! A connection that notices when its client takes nothing, and when it does not begin.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::link::Link;
use crate::tls::Transport;

/// How every HTTP/2 connection begins (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a client that is still writing may take to see the answer, at the end.
const LINGER: Duration = Duration::from_secs(2);

/// Fails a write that makes no progress for `limit`, and a connection that does not show within
/// `begin` which HTTP it speaks: the protocols' own timeouts run only from then on.
pub(crate) struct Stall {
    stream: Transport,
    limit: Duration,
    /// Runs while a write waits.
    timer: Option<Pin<Box<Sleep>>>,
    /// Runs while all that came, so many bytes, may still become the preface.
    begin: Option<(Pin<Box<Sleep>>, usize)>,
    link: Arc<Link>,
    /// Runs from the end of writing.
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    pub(crate) fn new(
        stream: Transport,
        link: Arc<Link>,
        limit: Duration,
        begin: Duration,
    ) -> Self {
        let begin = Some((Box::pin(tokio::time::sleep(begin)), 0));
        Self { stream, limit, timer: None, begin, link, lingering: None }
    }

    /// Looks at what just came, while the protocol is not known.
    fn saw(&mut self, bytes: &[u8]) {
        if let Some((_, seen)) = &mut self.begin {
            let rest = &PREFACE[*seen..];
            *seen += bytes.len();
            if bytes.len() >= rest.len() || !rest.starts_with(bytes) {
                self.begin = None;
            }
        }
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.timer = None;
            self.link.active();
            return written;
        }
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Stall {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        match (&read, &mut self.begin) {
            (Poll::Pending, Some((timer, _))) => {
                timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
            (_, Some(_)) => {
                self.saw(&buffer.filled()[before..]);
                read
            }
            (_, None) => read,
        }
    }
}

impl AsyncWrite for Stall {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.link.lingers() {
                return Poll::Ready(Ok(()));
            }
        }
        // A socket that is closed with bytes unread resets the connection, and the answer may be
        // lost on its way: what comes is read and forgotten until the client closes.
        let timer = this.lingering.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        let mut forgotten = [0; 8 << 10];
        while timer.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut forgotten);
            let read = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
