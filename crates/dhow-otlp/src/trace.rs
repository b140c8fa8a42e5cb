//! Follows calls: the decision when one begins, the queue when one ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use dhow_core::call::CallId;
use dhow_core::name::FunctionName;
use dhow_core::outcome::Outcome;
use dhow_core::ports::Traces;
use dhow_core::trace::Trace;
use http::request::Parts;
use tokio::sync::mpsc;

use crate::context;
use crate::sampler::Sampler;

/// A call that was followed and has ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) function: FunctionName,
    pub(crate) trace: Box<Trace>,
    pub(crate) outcome: Outcome,
    pub(crate) at: SystemTime,
}

/// Spans that went out, and those that did not.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

/// Follows calls.
pub(crate) struct Tracer {
    sampler: Sampler,
    queue: mpsc::Sender<Ended>,
    counts: Arc<Counts>,
}

impl Tracer {
    /// A tracer whose queue has room for so many calls, and the queue's other end.
    pub(crate) fn new(
        sampler: Sampler,
        room: usize,
        counts: Arc<Counts>,
    ) -> (Self, mpsc::Receiver<Ended>) {
        let (queue, ended) = mpsc::channel(room.max(1));
        (Self { sampler, queue, counts }, ended)
    }
}

impl Traces for Tracer {
    fn begin(
        &self,
        call: CallId,
        request: &mut Parts,
        path: &str,
        route: &str,
    ) -> Option<Box<Trace>> {
        let caller = context::read(&request.headers);
        if caller.is_none() {
            context::forget_state(&mut request.headers);
        }
        // A trace that begins here has the call's id: whoever has one finds the other.
        let trace_id = caller.as_ref().map_or_else(|| call.0.max(1), |caller| caller.trace_id);
        let span_id = fastrand::u64(1..);
        let sampled = self.sampler.follows(trace_id, caller.as_ref().map(|caller| caller.sampled));
        context::write(&mut request.headers, trace_id, span_id, sampled);
        sampled.then(|| {
            let (parent, state) = match caller {
                Some(caller) => (Some(caller.span_id), caller.state),
                None => (None, String::new()),
            };
            let (method, path, route) = (request.method.clone(), path.to_owned(), route.to_owned());
            Box::new(Trace { trace_id, span_id, parent, state, method, path, route })
        })
    }

    fn ended(&self, function: &FunctionName, trace: Box<Trace>, outcome: &Outcome) {
        let (function, outcome) = (function.clone(), outcome.clone());
        let ended = Ended { function, trace, outcome, at: SystemTime::now() };
        if self.queue.try_send(ended).is_err() {
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use dhow_core::outcome::Phases;
    use http::Request;

    use super::*;

    pub(crate) fn outcome() -> Outcome {
        Outcome {
            call: CallId(0xca11),
            revision: 3,
            status: 200,
            failure: None,
            phases: Phases::default(),
            wall: Duration::from_millis(10),
            cpu: Duration::from_millis(2),
            shared: false,
            peak_memory: 65536,
            cold: false,
            trace: None,
        }
    }

    fn request(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::put("/rest?secret=1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn tracer(ratio: f64, room: usize) -> (Tracer, mpsc::Receiver<Ended>) {
        Tracer::new(Sampler { by_parent: true, ratio }, room, Arc::default())
    }

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_call_joins_its_callers_trace_and_is_the_guests_parent() {
        let (tracer, _ended) = tracer(0.0, 1);
        let mut parts = request(&[("traceparent", PARENT), ("tracestate", "a=1")]);
        let trace = tracer.begin(CallId(7), &mut parts, "/function/f/rest", "/function/f").unwrap();
        assert_eq!(trace.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((trace.parent, trace.state.as_str()), (Some(0x00f0_67aa_0ba9_02b7), "a=1"));
        assert_eq!(
            (trace.path.as_str(), trace.route.as_str()),
            ("/function/f/rest", "/function/f")
        );
        let told = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{:016x}-01", trace.span_id);
        assert_eq!(parts.headers["traceparent"], told.as_str());
        assert_eq!(parts.headers["tracestate"], "a=1");
    }

    #[test]
    fn a_call_of_nobody_begins_a_trace_with_its_own_id() {
        let (tracer, _ended) = tracer(1.0, 1);
        let mut parts = request(&[("traceparent", "nonsense"), ("tracestate", "a=1")]);
        let trace = tracer.begin(CallId(7), &mut parts, "/", "/").unwrap();
        assert_eq!((trace.trace_id, trace.parent), (7, None));
        assert!(!parts.headers.contains_key("tracestate"));
        assert!(parts.headers["traceparent"].to_str().unwrap().ends_with("-01"));
    }

    #[test]
    fn a_call_that_is_not_followed_says_so_to_the_guest() {
        let (tracer, _ended) = tracer(0.0, 1);
        let mut parts = request(&[]);
        assert_eq!(tracer.begin(CallId(7), &mut parts, "/", "/"), None);
        assert!(parts.headers["traceparent"].to_str().unwrap().ends_with("-00"));
    }

    #[test]
    fn what_the_queue_does_not_take_is_counted() {
        let (tracer, mut ended) = tracer(1.0, 2);
        let name = FunctionName::parse("f").unwrap();
        for call in 1..=5 {
            let trace = tracer.begin(CallId(call), &mut request(&[]), "/", "/").unwrap();
            tracer.ended(&name, trace, &outcome());
        }
        assert_eq!(tracer.counts.dropped.load(Relaxed), 3);
        assert_eq!(ended.try_recv().unwrap().trace.trace_id, 1);
        assert_eq!(ended.try_recv().unwrap().trace.trace_id, 2);
        assert!(ended.try_recv().is_err());
    }
}
