//! What a connection's parts and its worker tell each other. All of them run on one thread; no
//! part waits for another.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};

/// One connection, as its worker sees it.
pub(crate) struct Link {
    /// Calls whose answers have not gone out.
    in_flight: AtomicUsize,
    /// Grows with every call and every write.
    activity: AtomicU64,
    /// What `activity` was at the last sweep.
    seen: AtomicU64,
    /// The next answer is the last.
    last: AtomicBool,
    ending: AtomicBool,
    cut: AtomicBool,
    /// It has had a request of HTTP/2.
    is_h2: AtomicBool,
    /// No request is taken any more.
    is_quiet: AtomicBool,
    /// A body may have come in part: the client may be writing still when the connection ends.
    lingers: AtomicBool,
    /// Of the connection's task, which stays the same.
    waker: OnceLock<Waker>,
}

/// A call under way on a connection.
pub(crate) struct InFlight(Arc<Link>);

/// What the worker asks of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Nothing.
    GoOn,
    /// Say with the next answer that it is the last; HTTP/2 can say so at any time.
    Last,
    /// Take no more requests.
    End,
    /// End now.
    Cut,
}

impl Link {
    pub(crate) fn begin(self: Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        self.active();
        InFlight(self)
    }

    /// Something went on.
    pub(crate) fn active(&self) {
        self.activity.fetch_add(1, Relaxed);
    }

    /// Asks the connection to end with its next answer, in which a client hears of it before it
    /// sends a request in vain.
    pub(crate) fn last(&self) {
        self.last.store(true, Relaxed);
        self.wake();
    }

    /// Asks the connection to end politely.
    pub(crate) fn end(&self) {
        self.ending.store(true, Relaxed);
        self.wake();
    }

    /// Ends the connection when it has been idle since the last sweep; cuts it when it was asked
    /// then to end, and has been idle since. HTTP/2 has no other bound on idle connections.
    pub(crate) fn sweep(&self) {
        let activity = self.activity.load(Relaxed);
        let was = self.seen.swap(activity, Relaxed);
        if self.in_flight.load(Relaxed) > 0 || activity != was {
            return;
        }
        if self.ending.swap(true, Relaxed) {
            self.cut.store(true, Relaxed);
        }
        self.wake();
    }

    pub(crate) fn wish(&self) -> Wish {
        match (self.cut.load(Relaxed), self.ending.load(Relaxed)) {
            (true, _) => Wish::Cut,
            (false, true) => Wish::End,
            (false, false) if self.is_last() => Wish::Last,
            (false, false) => Wish::GoOn,
        }
    }

    pub(crate) fn is_last(&self) -> bool {
        self.last.load(Relaxed)
    }

    pub(crate) fn set_h2(&self) {
        self.is_h2.store(true, Relaxed);
    }

    pub(crate) fn is_h2(&self) -> bool {
        self.is_h2.load(Relaxed)
    }

    /// Notes that no request is taken any more.
    pub(crate) fn hush(&self) {
        self.is_quiet.store(true, Relaxed);
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.is_quiet.load(Relaxed)
    }

    pub(crate) fn linger(&self) {
        self.lingers.store(true, Relaxed);
    }

    pub(crate) fn lingers(&self) -> bool {
        self.lingers.load(Relaxed)
    }

    /// Resolves, in the connection's task, when it is asked to end.
    pub(crate) async fn asked_to_end(&self) {
        poll_fn(|cx| {
            self.register(cx.waker());
            match self.wish() {
                Wish::GoOn | Wish::Last => Poll::Pending,
                Wish::End | Wish::Cut => Poll::Ready(()),
            }
        })
        .await;
    }

    /// Remembers whom to wake.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}

impl Default for Link {
    fn default() -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            // Its coming is its first activity: the next sweep is not yet for it.
            activity: AtomicU64::new(1),
            seen: AtomicU64::new(0),
            last: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            is_h2: AtomicBool::new(false),
            is_quiet: AtomicBool::new(false),
            lingers: AtomicBool::new(false),
            waker: OnceLock::new(),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
        self.0.active();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_idle_connections_are_swept() {
        let link = Arc::new(Link::default());
        link.sweep();
        assert_eq!(link.wish(), Wish::GoOn);
        let call = link.clone().begin();
        for _ in 0..3 {
            link.sweep();
        }
        assert_eq!(link.wish(), Wish::GoOn);
        drop(call);
        link.sweep();
        assert_eq!(link.wish(), Wish::GoOn);
        link.sweep();
        assert_eq!(link.wish(), Wish::End);
        // Bytes still flow: the last answer is on its way.
        link.active();
        link.sweep();
        assert_eq!(link.wish(), Wish::End);
        link.sweep();
        assert_eq!(link.wish(), Wish::Cut);
    }
}
