//! Bodies with bounds: so many bytes, so long a pause, and what the body holds on to.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use dhow_core::outbound::{BODY, OutboundBody, OutboundError};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};

use crate::failure;

/// The body of a request, up to so many bytes.
pub(crate) struct Sent {
    inner: OutboundBody,
    left: u64,
}

/// The body of an answer, up to so many bytes, with no longer pause than the guest has patience
/// for. Holds the request's place until it is dropped.
pub(crate) struct Received {
    inner: Incoming,
    left: u64,
    pause: Duration,
    until: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Sent {
    pub(crate) fn new(inner: OutboundBody) -> Self {
        Self { inner, left: BODY }
    }
}

impl Received {
    pub(crate) fn new(inner: Incoming, pause: Duration, place: OwnedSemaphorePermit) -> Self {
        Self { inner, left: BODY, pause, until: None, _place: place }
    }
}

/// Takes a frame's bytes off what is left; false when that is not enough.
fn takes(left: &mut u64, frame: &Frame<Bytes>) -> bool {
    let length = frame.data_ref().map_or(0, |data| data.len() as u64);
    match left.checked_sub(length) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = OutboundError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OutboundError>>> {
        let frame = ready!(self.inner.as_mut().poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) if !takes(&mut self.left, &frame) => {
                Some(Err(OutboundError::RequestBody))
            }
            frame => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = OutboundError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OutboundError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            let pause = this.pause;
            let until = this.until.get_or_insert_with(|| Box::pin(sleep(pause)));
            ready!(until.as_mut().poll(cx));
            return Poll::Ready(Some(Err(OutboundError::ReadTimeout)));
        };
        if let Some(until) = &mut this.until {
            until.as_mut().reset(Instant::now() + this.pause);
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) if !takes(&mut this.left, &frame) => {
                Some(Err(OutboundError::ResponseBody))
            }
            Some(Ok(frame)) => Some(Ok(frame)),
            Some(Err(error)) => Some(Err(failure::of_hyper(&error))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
