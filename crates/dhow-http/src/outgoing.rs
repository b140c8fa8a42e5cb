//! An answer's body on its way out.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dhow_core::outcome::Failure;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::link::InFlight;

/// Bytes of an HTTP/2 answer that a client must take within the write stall.
const PIECE: usize = 64 << 10;

thread_local! {
    /// Whether the body that was polled last handed something out.
    static OFFERED: Cell<Option<bool>> = const { Cell::new(None) };
}

/// A service's body, counted as a call in flight until it is dropped.
pub(crate) struct Outgoing<B> {
    body: B,
    /// The answer is to HEAD: HTTP/2 has no one else who leaves the body out.
    bodiless: bool,
    /// In HTTP/2, what is left of the last piece of data; large ones go out in parts, so that
    /// progress is seen.
    rest: Option<Bytes>,
    is_h2: bool,
    _call: InFlight,
}

impl<B> Outgoing<B> {
    pub(crate) fn new(body: B, call: InFlight, is_h2: bool, bodiless: bool) -> Self {
        Self { body, bodiless, rest: None, is_h2, _call: call }
    }
}

impl<B> Body for Outgoing<B>
where
    B: Body<Data = Bytes, Error = Failure> + Unpin,
{
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        if this.bodiless {
            return Poll::Ready(None);
        }
        if !this.is_h2 {
            return Pin::new(&mut this.body).poll_frame(cx);
        }
        let frame = match this.rest.take() {
            Some(rest) => Poll::Ready(Some(Ok(Frame::data(rest)))),
            None => Pin::new(&mut this.body).poll_frame(cx),
        };
        OFFERED.set(Some(frame.is_ready()));
        frame.map(|frame| {
            let frame = match frame?.map(Frame::into_data) {
                Ok(Ok(mut data)) => {
                    if data.len() > PIECE {
                        this.rest = Some(data.split_off(PIECE));
                    }
                    Ok(Frame::data(data))
                }
                Ok(Err(frame)) => Ok(frame),
                Err(failure) => Err(failure),
            };
            Some(frame)
        })
    }

    fn is_end_stream(&self) -> bool {
        self.bodiless || (self.rest.is_none() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.as_ref().map_or(0, |rest| rest.len() as u64);
        if rest > 0 {
            let upper = hint.upper();
            hint.set_lower(hint.lower() + rest);
            if let Some(upper) = upper {
                hint.set_upper(upper + rest);
            }
        }
        hint
    }
}

/// Runs the streams of HTTP/2 connections, and drops one whose client takes nothing of its answer
/// for `limit`. The connection and its other streams go on.
#[derive(Debug, Clone)]
pub(crate) struct Streams {
    pub(crate) limit: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let limit = self.limit;
        tokio::spawn(async move {
            let mut stream = pin!(stream);
            // Runs while a piece waits to be taken; a body that has nothing waits for its guest.
            let mut timer: Option<Pin<Box<Sleep>>> = None;
            poll_fn(|cx| {
                OFFERED.set(None);
                if stream.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                match OFFERED.take() {
                    Some(true) => timer = Some(Box::pin(tokio::time::sleep(limit))),
                    Some(false) => timer = None,
                    None => {}
                }
                timer.as_mut().map_or(Poll::Pending, |timer| timer.as_mut().poll(cx))
            })
            .await;
        });
    }
}
