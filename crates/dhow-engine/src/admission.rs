//! Who may run now: a function's `concurrency` places and the `queue` before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of one function.
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    waiting: AtomicU32,
    queue: u32,
}

/// Every place is taken and the queue is full.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Admission {
    pub(crate) fn new(concurrency: u32, queue: u32) -> Self {
        Self {
            places: Arc::new(Semaphore::new(concurrency as usize)),
            waiting: AtomicU32::new(0),
            queue,
        }
    }

    /// A place, if one is free.
    #[inline]
    pub(crate) fn try_enter(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// A place, after a wait in the queue. Dropping the future gives the queue's place back.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, Full> {
        struct Waiting<'a>(&'a AtomicU32);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Relaxed);
            }
        }
        let before = self.waiting.fetch_add(1, Relaxed);
        let waiting = Waiting(&self.waiting);
        if before >= self.queue {
            return Err(Full);
        }
        let permit = self.places.clone().acquire_owned().await.map_err(|_| Full);
        drop(waiting);
        permit
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn one_runs_one_waits_and_the_third_is_refused() {
        let mut cx = Context::from_waker(Waker::noop());
        let admission = Admission::new(1, 1);
        let first = admission.try_enter().expect("a free place");
        assert!(admission.try_enter().is_none());

        let mut second = Box::pin(admission.enter());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert!(pin!(admission.enter()).poll(&mut cx).ready_and(|r| r.is_err()));

        // Who leaves the queue makes room in it.
        drop(second);
        let mut third = pin!(admission.enter());
        assert!(third.as_mut().poll(&mut cx).is_pending());
        drop(first);
        assert!(third.as_mut().poll(&mut cx).ready_and(|r| r.is_ok()));
    }

    trait ReadyAnd<T> {
        fn ready_and(self, check: impl FnOnce(T) -> bool) -> bool;
    }

    impl<T> ReadyAnd<T> for std::task::Poll<T> {
        fn ready_and(self, check: impl FnOnce(T) -> bool) -> bool {
            match self {
                Self::Ready(value) => check(value),
                Self::Pending => false,
            }
        }
    }
}
