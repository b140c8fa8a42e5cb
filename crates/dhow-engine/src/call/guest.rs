//! Drives an instance: where the caller waits for as long as it is quick, in the background when
//! it burns CPU, in a task of its own when the answer is already on its way.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use crate::engine::Inner;
use crate::flight::Flight;
use crate::meter::Meter;

/// A guest under way. Dropping it ends it.
pub(super) struct Guest {
    /// `None` once it has ended.
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    meter: Arc<Meter>,
    serves: Serves,
    /// Made when the guest waits for the first time: most never do.
    wall: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// Whose time bounds the guest's.
pub(super) enum Serves {
    /// One call.
    Call(Arc<Flight>),
    /// One call after another.
    Calls(Arc<Current>),
    /// Several at a time; each has its own clock inside.
    Together,
}

/// The call that a reused instance serves now.
#[derive(Default)]
pub(crate) struct Current(Mutex<Option<Arc<Flight>>>);

impl Current {
    pub(crate) fn set(&self, flight: Option<Arc<Flight>>) {
        *self.0.lock() = flight;
    }

    pub(crate) fn get(&self) -> Option<Arc<Flight>> {
        self.0.lock().clone()
    }
}

impl Guest {
    pub(super) fn new(
        meter: Arc<Meter>,
        serves: Serves,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self { future: Some(Box::pin(future)), meter, serves, wall: None }
    }

    /// Ready when the wall time of the call being served is over, and then says so.
    fn poll_wall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let current;
        let flight = match &self.serves {
            Serves::Call(flight) => flight,
            Serves::Calls(calls) => {
                current = calls.get();
                match &current {
                    Some(flight) => flight,
                    None => return Poll::Pending,
                }
            }
            Serves::Together => return Poll::Pending,
        };
        let streaming = flight.is_streaming();
        let deadline = match &self.wall {
            // The answer's body minds the pauses; here is minded what follows the answer.
            Some((at, _)) if streaming && *at > Instant::now() => *at,
            _ if streaming => Instant::now() + flight.limits().idle_timeout,
            _ => flight.deadline(),
        };
        if self.wall.as_ref().is_none_or(|(at, _)| *at != deadline) {
            self.wall = Some((deadline, Box::pin(tokio::time::sleep_until(deadline.into()))));
        }
        let Some((_, wall)) = &mut self.wall else { return Poll::Pending };
        if wall.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        if streaming && !flight.is_answered() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        flight.wall_time_over();
        Poll::Ready(())
    }
}

impl Future for Guest {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(future) = &mut this.future else { return Poll::Ready(()) };
        let meter = &this.meter;
        if !meter.is_cancelled() && meter.slice(|| future.as_mut().poll(cx)).is_pending() {
            meter.register(cx.waker());
            // Asked again after the waker is known, so that no cancellation falls in between.
            if !meter.is_cancelled() && this.poll_wall(cx).is_pending() {
                return Poll::Pending;
            }
        }
        this.future = None;
        Poll::Ready(())
    }
}

/// Where a guest is being polled.
pub(super) enum Drive {
    Here(Guest),
    Background(JoinHandle<()>),
    Ended,
}

impl Drive {
    pub(super) fn new(guest: Guest) -> Self {
        Self::Here(guest)
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Self::Ended)
    }

    /// Polls the guest, moving it to the background when it asks for that by burning CPU.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, engine: &Inner) -> Poll<()> {
        loop {
            match self {
                Self::Ended => return Poll::Ready(()),
                Self::Here(guest) => {
                    if Pin::new(&mut *guest).poll(cx).is_ready() {
                        *self = Self::Ended;
                        return Poll::Ready(());
                    }
                    if !guest.meter.take_aside() {
                        return Poll::Pending;
                    }
                    let Self::Here(guest) = std::mem::replace(self, Self::Ended) else {
                        return Poll::Ready(());
                    };
                    *self = Self::Background(engine.background.spawn(guest));
                }
                Self::Background(task) => {
                    // An error is a panic in the host; the flight tells that nothing came.
                    if Pin::new(task).poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    *self = Self::Ended;
                }
            }
        }
    }

    /// Polls guest and `other` until the latter is there; what is left of the guest stays.
    /// `None`: the guest ended and `other` is still not there.
    pub(super) async fn until<T>(
        &mut self,
        engine: &Inner,
        other: impl Future<Output = T>,
    ) -> Option<T> {
        let mut other = std::pin::pin!(other);
        poll_fn(|cx| {
            let ended = self.poll(cx, engine).is_ready();
            match other.as_mut().poll(cx) {
                Poll::Ready(value) => Poll::Ready(Some(value)),
                Poll::Pending if ended => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Polls the guest to its end.
    pub(super) async fn finish(&mut self, engine: &Inner) {
        poll_fn(|cx| self.poll(cx, engine)).await;
    }

    /// Lets the guest go on in a task of its own.
    pub(super) fn go_on(mut self, engine: &Arc<Inner>) {
        if let Self::Here(_) = self {
            let engine = engine.clone();
            tokio::spawn(async move { self.finish(&engine).await });
        }
    }
}
