//! Reused instances that wait for a call, and the way to ask for their places.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long a call waits for the place of an instance that was asked to leave.
const LEAVING: Duration = Duration::from_secs(1);

/// All instances that hold one of the server's places and serve nobody.
#[derive(Default)]
pub(crate) struct Idlers {
    count: AtomicUsize,
    leave: Notify,
}

/// One of them, for as long as it idles.
pub(crate) struct Idling<'a>(&'a Idlers);

impl Idlers {
    pub(crate) fn enter(&self) -> Idling<'_> {
        self.count.fetch_add(1, Relaxed);
        Idling(self)
    }

    /// Resolves for one idler when a call wants a place.
    pub(crate) async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }

    /// One of `places`, an idler's if no other is free. `None`: all are in use.
    pub(crate) async fn place(&self, places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Some(place);
        }
        if self.count.load(Relaxed) == 0 {
            return None;
        }
        self.leave.notify_one();
        timeout(LEAVING, places.clone().acquire_owned()).await.ok()?.ok()
    }
}

impl Drop for Idling<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
    }
}
