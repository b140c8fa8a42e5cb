//! Places for pulls: so many at once, and fewer for each namespace, so that none takes them all.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use dhow_core::name::Label;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places.
pub(super) struct Places {
    all: Arc<Semaphore>,
    each: usize,
    namespaces: Mutex<HashMap<Label, Weak<Semaphore>>>,
}

/// A place, free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _of_namespace: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Places {
    /// So many for all, and so many of them for one namespace.
    pub(super) fn new(all: usize, each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each, namespaces: Mutex::default() }
    }

    /// Waits for a place.
    pub(super) async fn take(&self, namespace: &Label) -> Place {
        let own = self.of(namespace);
        Place { _of_namespace: permit(own).await, _of_all: permit(self.all.clone()).await }
    }

    fn of(&self, namespace: &Label) -> Arc<Semaphore> {
        let mut namespaces = self.namespaces.lock();
        namespaces.retain(|_, places| places.strong_count() > 0);
        let known = namespaces.get(namespace).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let places = Arc::new(Semaphore::new(self.each));
            namespaces.insert(namespace.clone(), Arc::downgrade(&places));
            places
        })
    }
}

async fn permit(places: Arc<Semaphore>) -> OwnedSemaphorePermit {
    places.acquire_owned().await.expect("these places are never closed")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn no_namespace_takes_all_places() {
        let places = Places::new(4, 3);
        let take = |name: &str| places.take(&name.parse().unwrap()).now_or_never();
        let mut taken: Vec<_> = (0..3).map(|_| take("one").unwrap()).collect();
        assert!(take("one").is_none());
        let other = take("two").unwrap();
        assert!(take("three").is_none(), "there are four");
        drop(other);
        assert!(take("one").is_none());
        taken.pop();
        assert!(take("one").is_some());
    }
}
