//! A request's body: bounded in size, and in how long it may pause.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dhow_core::outcome::{Failure, Reason};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

/// A body as it comes in.
pub struct RequestBody {
    body: Incoming,
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
        Ok(Self { body, cap, left: cap, stall, timer: None })
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
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.timer = None;
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
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
