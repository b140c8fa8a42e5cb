//! A request's body: bounded in size, and in how long it may pause.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dhow_core::outcome::{Failure, Reason};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep};

/// Bytes that are read of a body which was given up before its end. One that is longer costs its
/// connection.
const DISCARD: usize = 64 << 10;

/// A body as it comes in. What its reader leaves is read in the background, if it is little: else
/// hyper would close the connection under the client's next request, which is then lost.
pub struct RequestBody {
    /// `None` once it has ended, or is left.
    body: Option<Incoming>,
    cap: u64,
    left: u64,
    stall: Duration,
    /// Made at the first wait: most bodies are there already.
    timer: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    /// A body of at most `cap` bytes that never pauses for longer than `stall`.
    ///
    /// # Errors
    /// `payload-too-large`, when its length is declared and over the cap.
    pub fn new(body: Incoming, cap: u64, stall: Duration) -> Result<Self, Failure> {
        // With a declared length this is that length; without one it is what is there, 0.
        if body.size_hint().lower() > cap {
            return Err(too_large(cap));
        }
        Ok(Self { body: Some(body), cap, left: cap, stall, timer: None })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.timer = None;
                if !matches!(frame, Some(Ok(_))) {
                    this.body = None;
                }
                Poll::Ready(frame.map(|frame| match frame {
                    Ok(frame) => {
                        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                        this.left =
                            this.left.checked_sub(length).ok_or_else(|| too_large(this.cap))?;
                        Ok(frame)
                    }
                    Err(error) => Err(broken(&error)),
                }))
            }
            Poll::Pending => {
                let stall = this.stall;
                let timer = this.timer.get_or_insert_with(|| {
                    Box::pin(tokio::time::sleep_until(Instant::now() + stall))
                });
                timer.as_mut().poll(cx).map(|()| {
                    let message = format!("the request's body paused for longer than {stall:?}");
                    Some(Err(Failure::new(Reason::RequestTimeout, message)))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let left = self.body.take().filter(|body| !body.is_end_stream());
        let Some(body) = left.filter(|body| body.size_hint().lower() <= DISCARD as u64) else {
            return;
        };
        if let Ok(runtime) = Handle::try_current() {
            // Ended or not: the connection goes on, or is closed by hyper.
            runtime.spawn(tokio::time::timeout(self.stall, discard(body)));
        }
    }
}

/// Reads the rest of a small body. Dropping it before its end closes its connection.
async fn discard(mut body: Incoming) {
    let mut read = 0;
    while read <= DISCARD
        && let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}

fn too_large(cap: u64) -> Failure {
    Failure::new(Reason::PayloadTooLarge, format!("the request's body is larger than {cap} bytes"))
}

/// What was sent is malformed, or the client went away in the middle of it.
fn broken(error: &hyper::Error) -> Failure {
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    let is_malformed = io.is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
    });
    let reason = if is_malformed { Reason::BadRequest } else { Reason::Cancelled };
    Failure::new(reason, format!("the request's body broke off: {error}"))
}
