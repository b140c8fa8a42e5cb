//! The queue of asynchronous calls as the ports see it. It can be closed and opened again: who asks
//! meanwhile waits.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use dhow_core::call::CallId;
use dhow_core::name::FunctionName;
use dhow_core::outcome::{Failure, Reason};
use dhow_core::ports::{BoxFuture, CallQueue, Pause};
use dhow_core::queue::{
    Accepted, Answer, CallBody, CallCursor, CallFilter, CallPage, CallView, EnqueueError, Lane,
    Lease, LeaseId, NewCall, QueueError, QueueFigures, Settle,
};
use dhow_queue::embedded::EmbeddedQueue;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch};
use tokio::time::timeout;

/// A queue behind a gate. Cheap to clone.
#[derive(Clone)]
pub(super) struct Gate {
    queue: Arc<RwLock<Option<EmbeddedQueue>>>,
    /// Bodies that are still on their way in break off.
    cut: Arc<watch::Sender<bool>>,
}

/// The gate, closed: nobody is inside.
pub(super) struct Closed {
    queue: OwnedRwLockWriteGuard<Option<EmbeddedQueue>>,
    cut: Arc<watch::Sender<bool>>,
}

/// A queue with somebody who asks it for something.
type Inside = OwnedRwLockReadGuard<Option<EmbeddedQueue>, EmbeddedQueue>;

impl Gate {
    /// A gate that is closed until there is a queue.
    pub(super) fn closed() -> (Self, Closed) {
        let (queue, cut) = (Arc::new(RwLock::new(None)), Arc::new(watch::Sender::new(false)));
        let inside = queue.clone().try_write_owned().expect("nobody else knows it yet");
        let closed = Closed { queue: inside, cut: cut.clone() };
        (Self { queue, cut }, closed)
    }

    /// Closes it, once those inside have left. Who has a body on its way is given this long for it.
    pub(super) async fn close(&self, patience: Duration) -> Closed {
        let mut empty = pin!(self.queue.clone().write_owned());
        let queue = match timeout(patience, &mut empty).await {
            Ok(queue) => queue,
            Err(_) => {
                self.cut.send_replace(true);
                empty.await
            }
        };
        Closed { queue, cut: self.cut.clone() }
    }

    async fn enter(&self) -> Inside {
        OwnedRwLockReadGuard::map(self.queue.clone().read_owned().await, open)
    }

    /// `body`, which breaks off when the gate is to be closed and it takes too long.
    fn cuttable(&self, body: CallBody) -> CallBody {
        let mut cut = self.cut.subscribe();
        let is_cut = Box::pin(async move {
            // An error says that the gate is gone, and whoever waited with it.
            drop(cut.wait_for(|is_cut| *is_cut).await);
        });
        Box::pin(Cuttable { body, is_cut })
    }

    /// The queue, unless the gate is closed.
    fn glance(&self) -> Option<Inside> {
        let inside = self.queue.clone().try_read_owned().ok()?;
        Some(OwnedRwLockReadGuard::map(inside, open))
    }
}

impl Closed {
    /// Lets people in to `queue`.
    pub(super) fn open(mut self, queue: EmbeddedQueue) {
        self.cut.send_replace(false);
        *self.queue = Some(queue);
    }
}

/// A body on its way in.
struct Cuttable {
    body: CallBody,
    is_cut: BoxFuture<'static, ()>,
}

impl Body for Cuttable {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.get_mut();
        match this.body.as_mut().poll_frame(cx) {
            Poll::Pending if this.is_cut.as_mut().poll(cx).is_ready() => {
                let why = "another dhow takes over, and the body did not come in time";
                Poll::Ready(Some(Err(Failure::new(Reason::Overloaded, why))))
            }
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn open(queue: &Option<EmbeddedQueue>) -> &EmbeddedQueue {
    queue.as_ref().expect("a gate is opened with a queue only")
}

impl Pause for Gate {
    fn paused(&self, copy: &mut dyn FnMut()) {
        open(&self.queue.blocking_read()).paused(copy);
    }
}

impl CallQueue for Gate {
    fn enqueue(
        &self,
        call: NewCall,
        body: CallBody,
    ) -> BoxFuture<'_, Result<Accepted, EnqueueError>> {
        Box::pin(async move {
            let queue = self.enter().await;
            queue.enqueue(call, self.cuttable(body)).await
        })
    }

    fn lease<'a>(
        &'a self,
        room: &'a (dyn Fn(&Lane, &FunctionName) -> bool + Send + Sync),
    ) -> BoxFuture<'a, Lease> {
        Box::pin(async move {
            // Whoever waits for work is not inside, or the gate would never be closed.
            let queue = EmbeddedQueue::clone(&*self.enter().await);
            queue.lease(room).await
        })
    }

    fn extend_every(&self) -> Duration {
        self.glance().map_or(Duration::ZERO, |queue| queue.extend_every())
    }

    fn extend(&self, lease: LeaseId) -> BoxFuture<'_, bool> {
        Box::pin(async move { self.enter().await.extend(lease).await })
    }

    fn settle(&self, lease: LeaseId, settle: Settle) -> BoxFuture<'_, Result<(), QueueError>> {
        Box::pin(async move { self.enter().await.settle(lease, settle).await })
    }

    fn list(
        &self,
        filter: CallFilter,
        after: Option<CallCursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<CallPage, QueueError>> {
        Box::pin(async move { self.enter().await.list(filter, after, limit).await })
    }

    fn show(&self, call: CallId) -> BoxFuture<'_, Result<CallView, QueueError>> {
        Box::pin(async move { self.enter().await.show(call).await })
    }

    fn answer(&self, call: CallId) -> BoxFuture<'_, Result<Option<Answer>, QueueError>> {
        Box::pin(async move { self.enter().await.answer(call).await })
    }

    fn retry(&self, call: CallId) -> BoxFuture<'_, Result<CallView, QueueError>> {
        Box::pin(async move { self.enter().await.retry(call).await })
    }

    fn cancel(&self, call: CallId) -> BoxFuture<'_, Result<(), QueueError>> {
        Box::pin(async move { self.enter().await.cancel(call).await })
    }

    fn purge(&self, filter: CallFilter) -> BoxFuture<'_, Result<u64, QueueError>> {
        Box::pin(async move { self.enter().await.purge(filter).await })
    }

    /// Nothing while it is closed: metrics do not wait.
    fn figures(&self) -> QueueFigures {
        self.glance().map_or_else(QueueFigures::default, |queue| queue.figures())
    }
}

#[cfg(test)]
mod tests {
    use dhow_core::queue::CallHead;
    use dhow_queue::embedded::Config;
    use futures_util::StreamExt as _;
    use http_body_util::StreamBody;

    use super::*;

    fn new_call(id: u128) -> NewCall {
        NewCall {
            id: CallId(id),
            function: FunctionName::parse("f").unwrap(),
            queue: "default".parse().unwrap(),
            head: CallHead {
                method: http::Method::POST,
                uri: "/".parse().unwrap(),
                full_uri: "/".parse().unwrap(),
                script_name: String::new(),
                headers: http::HeaderMap::new(),
                peer: "127.0.0.1:1".parse().unwrap(),
                local: "127.0.0.1:2".parse().unwrap(),
            },
            callback: None,
            keep_result: Duration::ZERO,
            idempotency_key: None,
            most_body: 1 << 20,
        }
    }

    /// A body that begins and never ends.
    fn endless() -> CallBody {
        let begun = Ok(Frame::data(Bytes::from_static(b"x")));
        let frames = futures_util::stream::iter([begun]).chain(futures_util::stream::pending());
        Box::pin(StreamBody::new(frames))
    }

    #[tokio::test]
    async fn a_body_that_never_ends_does_not_keep_the_gate_open() {
        let folder = tempfile::tempdir().unwrap();
        let queue = EmbeddedQueue::open(folder.path(), Config::default()).unwrap();
        let (gate, closed) = Gate::closed();
        closed.open(queue);
        let mut slow = gate.enqueue(new_call(1), endless());
        assert!(futures_util::poll!(&mut slow).is_pending());
        let closing = async {
            let closed = gate.close(Duration::from_millis(10)).await;
            assert!(gate.glance().is_none());
            closed
        };
        let (refused, mut closed) = tokio::join!(slow, closing);
        let refused = refused.unwrap_err().failure();
        assert_eq!(refused.reason, Reason::Overloaded, "{refused}");
        // Once it is open again, a body has all its time.
        let queue = closed.queue.take().unwrap();
        closed.open(queue);
        let mut slow = gate.enqueue(new_call(2), endless());
        assert!(futures_util::poll!(&mut slow).is_pending());
        assert!(gate.list(CallFilter::default(), None, 9).await.unwrap().views.is_empty());
        assert!(futures_util::poll!(&mut slow).is_pending());
    }
}
