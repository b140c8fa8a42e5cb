//! The queue of asynchronous calls as the ports see it. It can be closed and opened again: who asks
//! meanwhile waits.

use std::sync::Arc;
use std::time::Duration;

use dhow_core::call::CallId;
use dhow_core::name::FunctionName;
use dhow_core::ports::{BoxFuture, CallQueue, Pause};
use dhow_core::queue::{
    Accepted, Answer, CallBody, CallFilter, CallView, EnqueueError, Lane, Lease, LeaseId, NewCall,
    QueueError, QueueFigures, Settle,
};
use dhow_queue::embedded::EmbeddedQueue;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// A queue behind a gate. Cheap to clone.
#[derive(Clone)]
pub(super) struct Gate(Arc<RwLock<Option<EmbeddedQueue>>>);

/// The gate, closed: nobody is inside.
pub(super) struct Closed(OwnedRwLockWriteGuard<Option<EmbeddedQueue>>);

/// A queue with somebody who asks it for something.
type Inside = OwnedRwLockReadGuard<Option<EmbeddedQueue>, EmbeddedQueue>;

impl Gate {
    /// A gate that is closed until there is a queue.
    pub(super) fn closed() -> (Self, Closed) {
        let gate = Arc::new(RwLock::new(None));
        let closed = gate.clone().try_write_owned().expect("nobody else knows it yet");
        (Self(gate), Closed(closed))
    }

    /// Closes it, once those inside have left.
    pub(super) async fn close(&self) -> Closed {
        Closed(self.0.clone().write_owned().await)
    }

    async fn enter(&self) -> Inside {
        OwnedRwLockReadGuard::map(self.0.clone().read_owned().await, open)
    }

    /// The queue, unless the gate is closed.
    fn glance(&self) -> Option<Inside> {
        let inside = self.0.clone().try_read_owned().ok()?;
        Some(OwnedRwLockReadGuard::map(inside, open))
    }
}

impl Closed {
    /// Lets people in to `queue`.
    pub(super) fn open(mut self, queue: EmbeddedQueue) {
        *self.0 = Some(queue);
    }
}

fn open(queue: &Option<EmbeddedQueue>) -> &EmbeddedQueue {
    queue.as_ref().expect("a gate is opened with a queue only")
}

impl Pause for Gate {
    fn paused(&self, copy: &mut dyn FnMut()) {
        open(&self.0.blocking_read()).paused(copy);
    }
}

impl CallQueue for Gate {
    fn enqueue(
        &self,
        call: NewCall,
        body: CallBody,
    ) -> BoxFuture<'_, Result<Accepted, EnqueueError>> {
        Box::pin(async move { self.enter().await.enqueue(call, body).await })
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
        after: Option<CallId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<CallView>, QueueError>> {
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
