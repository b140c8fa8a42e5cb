//! A queue that holds what it is given and runs nothing.

use std::time::Duration;

use dhow_core::call::CallId;
use dhow_core::name::FunctionName;
use dhow_core::ports::{BoxFuture, CallQueue};
use dhow_core::queue::{
    Accepted, Answer, CallBody, CallCursor, CallFilter, CallPage, CallState, CallView,
    EnqueueError, Lane, Lease, LeaseId, NewCall, Note, QueueError, QueueFigures, Settle,
};
use parking_lot::Mutex;

#[derive(Default)]
pub(super) struct FakeCalls {
    /// Newest first.
    pub(super) views: Mutex<Vec<CallView>>,
    pub(super) answer: Mutex<Option<Answer>>,
}

/// A call to `function` that was given up.
pub(super) fn dead(id: u128, function: &str) -> CallView {
    CallView {
        call: CallId(id),
        function: FunctionName::parse(function).unwrap(),
        queue: "default".parse().unwrap(),
        state: CallState::Dead,
        attempts: 0,
        method: http::Method::POST,
        path: "/function/f".to_owned(),
        body: 3,
        created_ms: 0,
        due_ms: 1000,
        callback: None,
        note: Some(Note::new("trap", 500, "it trapped")),
        answer: None,
    }
}

impl FakeCalls {
    fn find(&self, call: CallId) -> Result<usize, QueueError> {
        let found = self.views.lock().iter().position(|view| view.call == call);
        found.ok_or(QueueError::NotFound(call))
    }
}

impl CallQueue for FakeCalls {
    fn enqueue(&self, _: NewCall, _: CallBody) -> BoxFuture<'_, Result<Accepted, EnqueueError>> {
        unreachable!("the admin API takes no calls")
    }

    fn lease<'a>(
        &'a self,
        _: &'a (dyn Fn(&Lane, &FunctionName) -> bool + Send + Sync),
    ) -> BoxFuture<'a, Lease> {
        unreachable!("the admin API runs no calls")
    }

    fn extend_every(&self) -> Duration {
        unreachable!("the admin API runs no calls")
    }

    fn extend(&self, _: LeaseId) -> BoxFuture<'_, bool> {
        unreachable!("the admin API runs no calls")
    }

    fn settle(&self, _: LeaseId, _: Settle) -> BoxFuture<'_, Result<(), QueueError>> {
        unreachable!("the admin API runs no calls")
    }

    fn list(
        &self,
        filter: CallFilter,
        after: Option<CallCursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<CallPage, QueueError>> {
        let from = after.map_or(0, |CallCursor(place)| usize::try_from(place).unwrap());
        let views = self.views.lock();
        let mut page = CallPage { views: vec![], next: None };
        for (at, view) in views.iter().enumerate().skip(from) {
            if page.views.len() == limit {
                page.next = Some(CallCursor(at as u64));
                break;
            }
            page.views.extend(filter.takes(&view.function, view.state).then(|| view.clone()));
        }
        Box::pin(async move { Ok(page) })
    }

    fn show(&self, call: CallId) -> BoxFuture<'_, Result<CallView, QueueError>> {
        let found = self.find(call).map(|at| self.views.lock()[at].clone());
        Box::pin(async move { found })
    }

    fn answer(&self, _: CallId) -> BoxFuture<'_, Result<Option<Answer>, QueueError>> {
        let answer = self.answer.lock().clone();
        Box::pin(async move { Ok(answer) })
    }

    fn retry(&self, call: CallId) -> BoxFuture<'_, Result<CallView, QueueError>> {
        let retried = self.find(call).and_then(|at| {
            let view = &mut self.views.lock()[at];
            if view.state != CallState::Dead {
                let (state, wanted) = (view.state, "it is no dead letter");
                return Err(QueueError::Conflict { call, state, wanted });
            }
            view.state = CallState::Waiting;
            Ok(view.clone())
        });
        Box::pin(async move { retried })
    }

    fn cancel(&self, call: CallId) -> BoxFuture<'_, Result<(), QueueError>> {
        let cancelled = self.find(call).map(|at| drop(self.views.lock().remove(at)));
        Box::pin(async move { cancelled })
    }

    fn purge(&self, filter: CallFilter) -> BoxFuture<'_, Result<u64, QueueError>> {
        let mut views = self.views.lock();
        let before = views.len();
        views.retain(|view| !filter.takes(&view.function, view.state));
        let purged = (before - views.len()) as u64;
        Box::pin(async move { Ok(purged) })
    }

    fn figures(&self) -> QueueFigures {
        QueueFigures::default()
    }
}
