//! What to send where: OpenTelemetry's standard variables, and dhow's options, which go first.
//!
//! Nothing is sent until an endpoint is named. A variable that makes no sense is refused, and all
//! of those that do not are named at once: what is to be observed shall not be missing quietly.

mod endpoint;
mod reader;

use std::time::Duration;

pub use self::endpoint::{Endpoint, Identity};
use self::reader::Reader;
use crate::resource::Resource;
use crate::sampler::Sampler;

/// What options say.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The collector, in place of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: Option<String>,
    /// The share of traces to follow, in place of `OTEL_TRACES_SAMPLER`.
    pub ratio: Option<f64>,
}

/// What is sent.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) resource: Resource,
    pub(crate) traces: Option<TraceConfig>,
    pub(crate) metrics: Option<MetricConfig>,
}

#[derive(Debug, Clone)]
pub(crate) struct TraceConfig {
    pub(crate) endpoint: Endpoint,
    pub(crate) sampler: Sampler,
    /// Calls that may wait.
    pub(crate) queue: usize,
    /// Calls of one request.
    pub(crate) batch: usize,
    /// How long one may wait for others.
    pub(crate) delay: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct MetricConfig {
    pub(crate) endpoint: Endpoint,
    pub(crate) interval: Duration,
}

/// Variables that make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what is to be observed is not said rightly: {}", .problems.join("; "))]
pub struct ConfigError {
    /// Each, with the variable's name.
    pub problems: Vec<String>,
}

impl Config {
    /// Reads the options and the environment. `None`: nothing is to be sent.
    ///
    /// # Errors
    /// When something makes no sense.
    pub fn read(
        options: &Options,
        environment: impl Fn(&str) -> Option<String>,
        version: &str,
    ) -> Result<Option<Self>, ConfigError> {
        let reader = Reader::new(&environment);
        if reader.flag("OTEL_SDK_DISABLED") {
            return reader.finish(None);
        }
        let traces = trace_config(&reader, options);
        let metrics = metric_config(&reader, options);
        let config = (traces.is_some() || metrics.is_some()).then(|| Self {
            resource: resource(&reader, version),
            traces,
            metrics,
        });
        reader.finish(config)
    }
}

fn trace_config(reader: &Reader<'_>, options: &Options) -> Option<TraceConfig> {
    let endpoint = endpoint::read(reader, "TRACES", "v1/traces", options.endpoint.as_deref())?;
    Some(TraceConfig {
        endpoint,
        sampler: sampler(reader, options.ratio),
        queue: reader.count("OTEL_BSP_MAX_QUEUE_SIZE", 2048),
        batch: reader.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
        delay: reader.millis("OTEL_BSP_SCHEDULE_DELAY", Duration::from_secs(5)),
    })
}

fn metric_config(reader: &Reader<'_>, options: &Options) -> Option<MetricConfig> {
    let endpoint = endpoint::read(reader, "METRICS", "v1/metrics", options.endpoint.as_deref())?;
    let interval = reader.millis("OTEL_METRIC_EXPORT_INTERVAL", Duration::from_secs(60));
    Some(MetricConfig { endpoint, interval })
}

fn sampler(reader: &Reader<'_>, ratio: Option<f64>) -> Sampler {
    const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
    if let Some(ratio) = ratio {
        return Sampler { by_parent: true, ratio };
    }
    let Some(name) = reader.said(SAMPLER) else { return Sampler::DEFAULT };
    let (by_parent, root) = match name.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, name.as_str()),
    };
    let ratio = match root {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => reader.ratio("OTEL_TRACES_SAMPLER_ARG"),
        _ => {
            reader.refuse(SAMPLER, "is none of always_on, always_off, traceidratio, each also with parentbased_ before it");
            1.0
        }
    };
    Sampler { by_parent, ratio }
}

/// `service.name` and all that is said of the service.
fn resource(reader: &Reader<'_>, version: &str) -> Resource {
    let mut attributes = vec![
        ("service.name".to_owned(), "dhow".to_owned()),
        ("service.version".to_owned(), version.to_owned()),
        ("service.instance.id".to_owned(), format!("{:032x}", fastrand::u128(..))),
    ];
    let name = reader.said("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name));
    for (key, value) in reader.pairs("OTEL_RESOURCE_ATTRIBUTES").into_iter().chain(name) {
        match attributes.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => attributes.push((key, value)),
        }
    }
    Resource(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &Options, variables: &[(&str, &str)]) -> Result<Option<Config>, ConfigError> {
        let environment = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Config::read(options, environment, "1.2.3")
    }

    const COLLECTOR: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/base/");

    #[test]
    fn nothing_is_sent_until_an_endpoint_is_named() {
        let none = Options::default();
        assert!(read(&none, &[]).unwrap().is_none());
        assert!(read(&none, &[("OTEL_SERVICE_NAME", "x")]).unwrap().is_none());
        assert!(read(&none, &[COLLECTOR, ("OTEL_SDK_DISABLED", "true")]).unwrap().is_none());
        let off = [("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")];
        assert!(read(&none, &[&[COLLECTOR], &off[..]].concat()).unwrap().is_none());
        let metrics = read(&none, &[COLLECTOR, off[0]]).unwrap().unwrap();
        assert!(metrics.traces.is_none() && metrics.metrics.is_some());
    }

    #[test]
    fn each_signal_has_its_own_path_and_may_have_its_own_endpoint() {
        let config = read(&Options::default(), &[COLLECTOR]).unwrap().unwrap();
        let url = |endpoint: &Endpoint| endpoint.url.to_string();
        assert_eq!(url(&config.traces.unwrap().endpoint), "http://collector:4318/base/v1/traces");
        let own = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://other/as-it-is");
        let config = read(&Options::default(), &[COLLECTOR, own]).unwrap().unwrap();
        assert_eq!(url(&config.metrics.unwrap().endpoint), "http://other/as-it-is");
        let option = Options { endpoint: Some("http://option:1".to_owned()), ratio: None };
        let config = read(&option, &[COLLECTOR]).unwrap().unwrap();
        assert_eq!(url(&config.traces.unwrap().endpoint), "http://option:1/v1/traces");
    }

    #[test]
    fn samplers_have_their_standard_names() {
        let sampler = |variables: &[(&str, &str)]| {
            let config = read(&Options::default(), &[&[COLLECTOR], variables].concat());
            config.unwrap().unwrap().traces.unwrap().sampler
        };
        assert_eq!(sampler(&[]), Sampler::DEFAULT);
        let ratio = ("OTEL_TRACES_SAMPLER_ARG", "0.25");
        for (name, by_parent, share) in [
            ("always_on", false, 1.0),
            ("always_off", false, 0.0),
            ("traceidratio", false, 0.25),
            ("parentbased_always_off", true, 0.0),
            ("parentbased_traceidratio", true, 0.25),
        ] {
            let expected = Sampler { by_parent, ratio: share };
            assert_eq!(sampler(&[("OTEL_TRACES_SAMPLER", name), ratio]), expected, "{name}");
        }
        let option = Options { endpoint: None, ratio: Some(0.5) };
        let config = read(&option, &[COLLECTOR, ("OTEL_TRACES_SAMPLER", "always_off")]);
        let expected = Sampler { by_parent: true, ratio: 0.5 };
        assert_eq!(config.unwrap().unwrap().traces.unwrap().sampler, expected);
    }

    #[test]
    fn the_service_is_named_as_the_variables_say() {
        let config = read(
            &Options::default(),
            &[
                COLLECTOR,
                ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,deployment.environment=x%20y"),
                ("OTEL_SERVICE_NAME", "shop"),
            ],
        );
        let Resource(attributes) = config.unwrap().unwrap().resource;
        let of = |key: &str| attributes.iter().find(|(known, _)| known == key).unwrap().1.clone();
        assert_eq!(of("service.name"), "shop");
        assert_eq!(of("service.version"), "1.2.3");
        assert_eq!(of("deployment.environment"), "x y");
    }

    #[test]
    fn all_that_makes_no_sense_is_named_and_no_secret_is() {
        let error = read(
            &Options::default(),
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hush@collector"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer hush,b"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
                ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "brotli"),
                ("OTEL_TRACES_SAMPLER", "sometimes"),
                ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
                ("OTEL_METRIC_EXPORT_INTERVAL", "-1"),
                ("OTEL_TRACES_EXPORTER", "zipkin"),
            ],
        )
        .unwrap_err();
        let said = error.to_string();
        for variable in [
            "OTEL_EXPORTER_OTLP_PROTOCOL is `grpc`",
            "OTEL_EXPORTER_OTLP_HEADERS",
            "OTEL_EXPORTER_OTLP_TIMEOUT is `soon`",
            "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION is `brotli`",
            "OTEL_METRIC_EXPORT_INTERVAL is `-1`",
            "OTEL_TRACES_EXPORTER is `zipkin`",
        ] {
            assert!(said.contains(variable), "{variable} is not in: {said}");
        }
        assert!(!said.contains("hush"), "{said}");
        let error = read(
            &Options::default(),
            &[COLLECTOR, ("OTEL_TRACES_SAMPLER", "sometimes"), ("OTEL_BSP_MAX_QUEUE_SIZE", "0")],
        );
        assert_eq!(error.unwrap_err().problems.len(), 2);
        for (name, wrong) in [("traceidratio", "2"), ("traceidratio", "x")] {
            let variables =
                [COLLECTOR, ("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", wrong)];
            assert!(read(&Options::default(), &variables).is_err(), "{wrong}");
        }
        for wrong in ["collector:4318", "ftp://collector", "http://"] {
            let option = Options { endpoint: Some(wrong.to_owned()), ratio: None };
            let said = read(&option, &[]).unwrap_err().to_string();
            assert!(said.contains("--otlp"), "{said}");
        }
    }
}
