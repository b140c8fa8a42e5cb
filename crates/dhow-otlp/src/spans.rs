//! Calls as OTLP's spans: one for the call, and below it one for each phase that took time. Names
//! of attributes are those of OpenTelemetry's semantic conventions (FaaS, HTTP) where it has one,
//! else `dhow.`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dhow_core::outcome::Reason;
use http::Method;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use crate::resource::{Resource, integer, scope, text, yes_or_no};
use crate::trace::Ended;

/// Flags of a span: it is followed, and it is known whether its parent is in another process.
const FOLLOWED: u32 = 0x101;
/// It is.
const PARENT_ELSEWHERE: u32 = 0x200;

/// A request that carries the calls.
pub(crate) fn request(resource: &Resource, calls: &[Ended]) -> ExportTraceServiceRequest {
    let spans = calls.iter().flat_map(of).collect();
    let scope_spans = ScopeSpans { scope: Some(scope()), spans, ..Default::default() };
    let resource = Some(resource.message());
    let resource_spans =
        ResourceSpans { resource, scope_spans: vec![scope_spans], ..Default::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

/// The spans of one call, its own first.
fn of(ended: &Ended) -> Vec<Span> {
    let call = call(ended);
    let phases = phases(ended);
    std::iter::once(call).chain(phases).collect()
}

fn call(ended: &Ended) -> Span {
    let Ended { trace, outcome, at, .. } = ended;
    let elsewhere = if trace.parent.is_some() { PARENT_ELSEWHERE } else { 0 };
    Span {
        trace_id: trace.trace_id.to_be_bytes().to_vec(),
        span_id: trace.span_id.to_be_bytes().to_vec(),
        parent_span_id: trace.parent.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
        trace_state: trace.state.clone(),
        flags: FOLLOWED | elsewhere,
        name: match known(&trace.method) {
            Some(method) => format!("{method} {}", trace.route),
            None => format!("HTTP {}", trace.route),
        },
        kind: SpanKind::Server.into(),
        start_time_unix_nano: nanos(*at - outcome.wall),
        end_time_unix_nano: nanos(*at),
        attributes: attributes(ended),
        status: Some(status(ended)),
        ..Default::default()
    }
}

fn attributes(ended: &Ended) -> Vec<KeyValue> {
    let Ended { function, trace, outcome, .. } = ended;
    let reason = outcome.failure.as_ref().map(|failure| failure.reason);
    let mut attributes = vec![
        text("faas.name", function.name.as_str()),
        text("faas.version", outcome.revision.to_string()),
        text("faas.invocation_id", outcome.call.to_string()),
        text("faas.trigger", "http"),
        yes_or_no("faas.coldstart", outcome.cold),
        text("dhow.namespace", function.namespace.as_str()),
        text("dhow.outcome", reason.map_or("ok", Reason::as_str)),
        integer("dhow.cpu_us", micros(outcome.cpu)),
        integer("dhow.peak_memory_bytes", outcome.peak_memory),
        yes_or_no("dhow.shared", outcome.shared),
        text("http.request.method", known(&trace.method).unwrap_or("_OTHER")),
        text("http.route", trace.route.clone()),
        text("url.path", trace.path.clone()),
    ];
    if outcome.status != 0 {
        attributes.push(integer("http.response.status_code", outcome.status));
    }
    if let Some(reason) = reason {
        attributes.push(text("error.type", reason.as_str()));
    } else if outcome.status >= 500 {
        attributes.push(text("error.type", outcome.status.to_string()));
    }
    attributes
}

/// A method that is everybody's. Others are callers' own words, of which there are as many as they
/// like: OpenTelemetry's conventions have one name for them all.
fn known(method: &Method) -> Option<&str> {
    const KNOWN: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ];
    KNOWN.contains(method).then(|| method.as_str())
}

/// A server's span is in error when the server failed: the caller's own mistakes are not.
fn status(ended: &Ended) -> Status {
    let outcome = &ended.outcome;
    let message = outcome.failure.as_ref().map(|failure| failure.message.clone());
    let gone = outcome.failure.as_ref().is_some_and(|it| it.reason == Reason::Cancelled);
    match outcome.status >= 500 || (outcome.status == 0 && !gone) {
        true => Status { code: StatusCode::Error.into(), message: message.unwrap_or_default() },
        false => Status::default(),
    }
}

/// Those that took time. Waiting comes first, so it is counted from the call's begin; running
/// comes last, so it is counted from its end.
fn phases(ended: &Ended) -> impl Iterator<Item = Span> + use<> {
    let Ended { trace, outcome, at, .. } = ended;
    let phases = outcome.phases;
    let (began, ran) = (*at - outcome.wall, *at - phases.run);
    let queued = began + phases.queue;
    let (trace_id, parent) = (trace.trace_id, trace.span_id);
    [
        ("queue", began, phases.queue),
        ("load", queued, phases.load),
        ("instantiate", ran - phases.instantiate, phases.instantiate),
        ("run", ran, phases.run),
    ]
    .into_iter()
    .filter(|(_, _, took)| !took.is_zero())
    .map(move |(name, began, took)| Span {
        trace_id: trace_id.to_be_bytes().to_vec(),
        span_id: fastrand::u64(1..).to_be_bytes().to_vec(),
        parent_span_id: parent.to_be_bytes().to_vec(),
        flags: FOLLOWED,
        name: name.to_owned(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: nanos(began),
        end_time_unix_nano: nanos(began + took),
        ..Default::default()
    })
}

/// Nanoseconds since 1970.
pub(crate) fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use dhow_core::name::FunctionName;
    use dhow_core::outcome::{Failure, Outcome, Phases};
    use dhow_core::trace::Trace;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;

    use super::*;
    use crate::trace::tests::outcome;

    fn ended(outcome: Outcome) -> Ended {
        let trace = Trace {
            trace_id: 0xab << 64,
            span_id: 0xcd,
            parent: Some(0xef),
            state: "a=1".to_owned(),
            method: Method::POST,
            path: "/function/f.ns/x".to_owned(),
            route: "/function/f.ns".to_owned(),
        };
        Ended {
            function: FunctionName::parse("f.ns").unwrap(),
            trace: Box::new(trace),
            outcome,
            at: UNIX_EPOCH + Duration::from_secs(1000),
        }
    }

    fn attribute(span: &Span, key: &str) -> Option<Value> {
        let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
        found.value.clone()?.value
    }

    #[test]
    fn a_call_is_a_span_with_its_phases_below_in_their_time() {
        let millis = Duration::from_millis;
        let phases =
            Phases { queue: millis(1), load: millis(2), instantiate: millis(3), run: millis(4) };
        let spans = of(&ended(Outcome { phases, ..outcome() }));
        let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["POST /function/f.ns", "queue", "load", "instantiate", "run"]);
        let at: Vec<_> = spans
            .iter()
            .map(|span| (span.start_time_unix_nano, span.end_time_unix_nano))
            .map(|(start, end)| (start / 1_000_000 - 999_000, end / 1_000_000 - 999_000))
            .collect();
        assert_eq!(at, [(990, 1000), (990, 991), (991, 993), (993, 996), (996, 1000)]);
        let [call, phases @ ..] = &spans[..] else { panic!("no span") };
        assert_eq!(call.trace_id, [[0; 7].as_slice(), &[0xab], &[0; 8]].concat());
        assert_eq!(call.parent_span_id, [0, 0, 0, 0, 0, 0, 0, 0xef]);
        assert_eq!((call.trace_state.as_str(), call.flags), ("a=1", 0x301));
        for phase in phases {
            assert_eq!(phase.parent_span_id, call.span_id);
            assert_eq!((&phase.trace_id, phase.span_id.len()), (&call.trace_id, 8));
        }
    }

    #[test]
    fn a_phase_that_took_no_time_is_no_span() {
        assert_eq!(of(&ended(outcome())).len(), 1);
    }

    #[test]
    fn the_outcome_is_told() {
        let spans = of(&ended(outcome()));
        let of_call = |key| attribute(&spans[0], key);
        let text = |text: &str| Some(Value::StringValue(text.to_owned()));
        assert_eq!(of_call("faas.name"), text("f"));
        assert_eq!(of_call("dhow.namespace"), text("ns"));
        assert_eq!(of_call("faas.version"), text("3"));
        assert_eq!(of_call("dhow.outcome"), text("ok"));
        assert_eq!(of_call("error.type"), None);
        assert_eq!(of_call("http.response.status_code"), Some(Value::IntValue(200)));
        assert_eq!(of_call("dhow.cpu_us"), Some(Value::IntValue(2000)));
        assert_eq!(spans[0].status, Some(Status::default()));
    }

    #[test]
    fn a_callers_own_method_makes_no_name_of_its_own() {
        let mut ended = ended(outcome());
        ended.trace.method = Method::from_bytes(b"BREW").unwrap();
        let span = of(&ended).remove(0);
        assert_eq!(span.name, "HTTP /function/f.ns");
        let method = attribute(&span, "http.request.method");
        assert_eq!(method, Some(Value::StringValue("_OTHER".to_owned())));
    }

    #[test]
    fn only_the_servers_failures_are_errors() {
        let failed = |reason: Reason, status| {
            let failure = Some(Failure::new(reason, "why"));
            of(&ended(Outcome { failure, status, ..outcome() })).remove(0)
        };
        let trap = failed(Reason::Trap, 500);
        let error = Status { code: StatusCode::Error.into(), message: "why".to_owned() };
        assert_eq!(trap.status, Some(error));
        assert_eq!(attribute(&trap, "error.type"), Some(Value::StringValue("trap".to_owned())));
        assert_eq!(failed(Reason::Concurrency, 429).status, Some(Status::default()));
        assert_eq!(failed(Reason::Cancelled, 499).status, Some(Status::default()));
        let own = of(&ended(Outcome { status: 503, ..outcome() })).remove(0);
        assert_eq!(own.status.as_ref().map(|status| status.code), Some(StatusCode::Error.into()));
        assert_eq!(attribute(&own, "error.type"), Some(Value::StringValue("503".to_owned())));
    }
}
