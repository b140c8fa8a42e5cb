//! The body of a guest's answer.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use dhow_core::outcome::{Failure, Reason};
use dhow_core::quantity::print_duration;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;
use tokio::time::Sleep;
use wasmtime_wasi_http::WasiBody;

use crate::flight::Flight;

/// An answer's body: whole, when the guest had ended before the head went out, else streamed.
///
/// Holds the call's flight, and with it its place, to the last byte. Dropped before that, it ends
/// the guest.
pub struct GuestBody(Inner);

enum Inner {
    Whole(Option<Bytes>),
    Stream(Box<Streamed>),
}

/// What reading a body once gives; `None` is its end.
type Item = Option<Result<Frame<Bytes>, wasmtime_wasi_http::Error>>;

struct Streamed {
    flight: Arc<Flight>,
    body: WasiBody,
    /// Read already, to see whether it is all.
    ahead: VecDeque<Item>,
    /// Bytes that may still be sent.
    left: u64,
    /// Bytes still to come of a length that the guest declared: with the last of them the answer
    /// is out, and nobody asks for its end.
    declared: Option<u64>,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the last piece went out.
    last: Instant,
    /// Runs until the answer's deadline, where it has one.
    watch: Option<AbortHandle>,
    over: bool,
    bodiless: bool,
}

impl GuestBody {
    /// An answer that is known in full, if it is not larger than the function's may be.
    pub(crate) fn whole(flight: &Flight, body: Bytes) -> Result<Self, Failure> {
        if body.len() as u64 > flight.limits().response_body {
            return Err(too_large(flight));
        }
        flight.answered();
        Ok(Self(Inner::Whole((!body.is_empty()).then_some(body))))
    }

    /// A guest's answer. `ended`: the guest has, so that its body may be there in full.
    /// `bodiless`: the body will not be sent.
    pub(crate) fn answer(
        flight: &Arc<Flight>,
        response: Response<WasiBody>,
        ended: bool,
        bodiless: bool,
    ) -> Response<Self> {
        let (head, mut body) = response.into_parts();
        let mut ahead = VecDeque::new();
        if bodiless {
            flight.answered();
        } else if ended {
            match whole(&mut body) {
                Ok(bytes) => match Self::whole(flight, bytes.clone()) {
                    Ok(body) => return Response::from_parts(head, body),
                    // The head is the guest's all the same; its body is cut.
                    Err(_) => ahead.push_back(Some(Ok(Frame::data(bytes)))),
                },
                Err(read) => ahead = read,
            }
        }
        flight.streaming();
        let watch = (!bodiless && !flight.limits().stream).then(|| watch(flight));
        let left = flight.limits().response_body;
        let streamed = Streamed {
            flight: flight.clone(),
            body,
            ahead,
            left,
            declared: declared_length(&head.headers),
            timer: None,
            last: Instant::now(),
            watch,
            over: bodiless,
            bodiless,
        };
        Response::from_parts(head, Self(Inner::Stream(Box::new(streamed))))
    }
}

/// Ends the call at its deadline also while nobody asks for more of its answer: a client that
/// takes it slowly must not hold the function's place for longer.
fn watch(flight: &Arc<Flight>) -> AbortHandle {
    let (deadline, flight) = (flight.deadline(), Arc::downgrade(flight));
    let watch = tokio::spawn(async move {
        tokio::time::sleep_until(deadline.into()).await;
        if let Some(flight) = flight.upgrade() {
            flight.wall_time_over();
            flight.end_guest();
            flight.leave();
        }
    });
    watch.abort_handle()
}

/// The one piece that a small body consists of, if that is all there is. Otherwise what was read.
fn whole(body: &mut WasiBody) -> Result<Bytes, VecDeque<Item>> {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut now = || Pin::new(&mut *body).poll_frame(&mut cx);
    let data = match now() {
        Poll::Ready(None) => return Ok(Bytes::new()),
        Poll::Pending => return Err(VecDeque::new()),
        Poll::Ready(Some(Ok(frame))) if frame.is_data() => frame.into_data(),
        Poll::Ready(item) => return Err(VecDeque::from([item])),
    };
    let data = data.unwrap_or_default();
    match now() {
        Poll::Ready(None) => Ok(data),
        Poll::Pending => Err(VecDeque::from([Some(Ok(Frame::data(data)))])),
        Poll::Ready(item) => Err(VecDeque::from([Some(Ok(Frame::data(data))), item])),
    }
}

fn too_large(flight: &Flight) -> Failure {
    let limit = flight.limits().response_body;
    Failure::new(Reason::BadResponse, format!("the answer is larger than {limit} bytes"))
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Streamed {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Some(failure) = self.flight.failure().filter(|why| why.reason == Reason::WallTime) {
            return self.cut(failure);
        }
        let frame = match self.ahead.pop_front() {
            Some(item) => Poll::Ready(item),
            None => Pin::new(&mut self.body).poll_frame(cx),
        };
        match frame {
            Poll::Ready(Some(Ok(frame))) => self.send(frame),
            Poll::Ready(Some(Err(error))) => {
                let why =
                    Failure::new(Reason::BadResponse, format!("the body broke off: {error:?}"));
                self.cut(why)
            }
            Poll::Ready(None) => match self.flight.failure() {
                Some(failure) => self.cut(failure),
                None => {
                    self.over = true;
                    self.flight.answered();
                    Poll::Ready(None)
                }
            },
            Poll::Pending => self.poll_timer(cx),
        }
    }

    fn send(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.left.checked_sub(length) {
            Some(left) => self.left = left,
            None => return self.cut(too_large(&self.flight)),
        }
        if let Some(declared) = &mut self.declared {
            *declared = declared.saturating_sub(length);
            if *declared == 0 {
                self.flight.answered();
            }
        }
        self.last = Instant::now();
        self.timer = None;
        Poll::Ready(Some(Ok(frame)))
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let limits = self.flight.limits();
        let (deadline, limit) = match limits.stream {
            true => (self.last + limits.idle_timeout, limits.idle_timeout),
            false => (self.flight.deadline(), limits.timeout),
        };
        let timer =
            self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let message = match limits.stream {
            true => format!("the answer paused for longer than {}", print_duration(limit)),
            false => format!("the call took longer than {}", print_duration(limit)),
        };
        self.cut(Failure::new(Reason::WallTime, message))
    }

    /// Ends the answer in an error, which cuts the connection, and the guest with it.
    fn cut(&mut self, failure: Failure) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.over = true;
        let failure = self.flight.fail(failure);
        self.flight.end_guest();
        Poll::Ready(Some(Err(failure)))
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
        // After its end the guest may have more to do; before it, nobody waits for the rest.
        if !self.flight.is_answered() || self.bodiless {
            self.flight.end_guest();
        }
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match &mut self.0 {
            Inner::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Inner::Stream(streamed) => streamed.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Whole(body) => body.is_none(),
            Inner::Stream(streamed) => streamed.over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, |b| b.len() as u64)),
            Inner::Stream(_) => SizeHint::default(),
        }
    }
}
