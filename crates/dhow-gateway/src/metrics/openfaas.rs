//! Calls under the names that OpenFaaS' gateway gives them, for dashboards and alert rules that
//! people have. Every function has them that was called, however it was deployed; replicas are told
//! of those that OpenFaaS' clients deployed.

use std::time::Duration;

use dhow_core::name::FunctionName;
use dhow_dialects::openfaas::shown;
use parking_lot::Mutex;
use prometheus::{
    DEFAULT_BUCKETS, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts,
    Registry,
};

use super::{add, histograms};

const FUNCTION: &[&str] = &["function_name"];
const FUNCTION_AND_CODE: &[&str] = &["function_name", "code"];

/// The statuses that have a series of their own: guests choose what they answer, and must not make
/// as many series as there are numbers.
const CODES: [u16; 38] = [
    200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405, 406, 408,
    409, 410, 412, 413, 415, 418, 422, 425, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 507,
];
/// All others.
const OTHER: &str = "other";

/// How many replicas each function has.
pub type ReplicasSource = Box<dyn Fn() -> Vec<(FunctionName, u32)> + Send>;

/// The families of all functions.
pub(super) struct OpenFaasFamilies {
    invocations: IntCounterVec,
    seconds: HistogramVec,
    started: IntCounterVec,
    replicas: IntGaugeVec,
    source: Mutex<Option<ReplicasSource>>,
}

/// The series of one function.
pub(super) struct OpenFaasSeries {
    name: String,
    started: IntCounter,
    /// Those of each code that was answered, few as a rule; none once the function is no more.
    ended: Mutex<Option<Vec<Ended>>>,
}

/// The calls that ended with one code.
struct Ended {
    code: Option<u16>,
    count: IntCounter,
    seconds: Histogram,
}

/// The label of a function.
fn label(name: &FunctionName) -> String {
    format!("{}.{}", name.name, shown(&name.namespace))
}

impl OpenFaasFamilies {
    pub(super) fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str, labels| {
            add(registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let replicas = Opts::new("gateway_service_count", "Replicas of functions");
        Self {
            invocations: counter(
                "gateway_function_invocation_total",
                "Calls of functions that ended, by status",
                FUNCTION_AND_CODE,
            ),
            started: counter(
                "gateway_function_invocation_started",
                "Calls of functions that began",
                FUNCTION,
            ),
            seconds: histograms(
                registry,
                "gateway_functions_seconds",
                "Wall time of functions' calls",
                FUNCTION_AND_CODE,
                DEFAULT_BUCKETS.to_vec(),
            ),
            replicas: add(registry, IntGaugeVec::new(replicas, FUNCTION)),
            source: Mutex::new(None),
        }
    }

    pub(super) fn set_source(&self, source: ReplicasSource) {
        *self.source.lock() = Some(source);
    }

    /// Takes the numbers of replicas.
    pub(super) fn refresh(&self) {
        let Some(source) = &*self.source.lock() else { return };
        self.replicas.reset();
        for (name, replicas) in source() {
            self.replicas.with_label_values(&[&label(&name)]).set(replicas.into());
        }
    }

    pub(super) fn series(&self, name: &FunctionName) -> OpenFaasSeries {
        let name = label(name);
        let started = self.started.with_label_values(&[&name]);
        OpenFaasSeries { name, started, ended: Mutex::new(Some(vec![])) }
    }

    /// A call of `series` ended.
    pub(super) fn ended(&self, series: &OpenFaasSeries, status: u16, took: Duration) {
        let code = CODES.contains(&status).then_some(status);
        let mut ended = series.ended.lock();
        let Some(ended) = &mut *ended else { return };
        let index = ended.iter().position(|one| one.code == code).unwrap_or_else(|| {
            let text = code.map_or_else(|| OTHER.to_owned(), |code| code.to_string());
            let labels = [series.name.as_str(), &text];
            ended.push(Ended {
                code,
                count: self.invocations.with_label_values(&labels),
                seconds: self.seconds.with_label_values(&labels),
            });
            ended.len() - 1
        });
        ended[index].count.inc();
        ended[index].seconds.observe(took.as_secs_f64());
    }

    /// Removes the series of a function that is no more.
    pub(super) fn forget(&self, series: &OpenFaasSeries) {
        drop(self.started.remove_label_values(&[&series.name]));
        for ended in series.ended.lock().take().into_iter().flatten() {
            let code = ended.code.map_or_else(|| OTHER.to_owned(), |code| code.to_string());
            drop(self.invocations.remove_label_values(&[&series.name, &code]));
            drop(self.seconds.remove_label_values(&[&series.name, &code]));
        }
    }
}

impl OpenFaasSeries {
    /// A call began.
    pub(super) fn started(&self) {
        self.started.inc();
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder as _, TextEncoder};

    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = vec![];
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn calls_are_counted_under_the_names_of_openfaas_and_forgotten() {
        let registry = Registry::new();
        let families = OpenFaasFamilies::new(&registry);
        let name = FunctionName::parse("f").unwrap();
        let series = families.series(&name);
        series.started();
        families.ended(&series, 200, Duration::from_millis(7));
        families.ended(&series, 799, Duration::ZERO);
        families.set_source(Box::new(move || vec![(name.clone(), 3)]));
        families.refresh();
        let shown = text(&registry);
        for line in [
            "gateway_function_invocation_total{code=\"200\",function_name=\"f.openfaas-fn\"} 1",
            "gateway_function_invocation_total{code=\"other\",function_name=\"f.openfaas-fn\"} 1",
            "gateway_functions_seconds_count{code=\"200\",function_name=\"f.openfaas-fn\"} 1",
            "gateway_functions_seconds_bucket{code=\"200\",function_name=\"f.openfaas-fn\",le=\"0.005\"} 0",
            "gateway_function_invocation_started{function_name=\"f.openfaas-fn\"} 1",
            "gateway_service_count{function_name=\"f.openfaas-fn\"} 3",
        ] {
            assert!(shown.lines().any(|found| found == line), "{line} is missing in\n{shown}");
        }
        families.forget(&series);
        // A call that outlives its function must not bring a series back.
        families.ended(&series, 500, Duration::ZERO);
        families.set_source(Box::new(Vec::new));
        families.refresh();
        assert!(!text(&registry).contains("openfaas-fn"));
    }
}
