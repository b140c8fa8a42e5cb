//! Metrics as OTLP has them. Names stay those of Prometheus, so that a board asks for the same by
//! either way.

use std::time::SystemTime;

use dhow_core::metric::{Family, Kind, Point, Value};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, number_data_point,
};

use crate::resource::{Resource, scope, text};
use crate::spans::nanos;

/// When the counting began, and when it was looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) began: SystemTime,
    pub(crate) now: SystemTime,
}

/// A request that carries the metrics.
pub(crate) fn request(
    resource: &Resource,
    families: &[Family],
    span: Span,
) -> ExportMetricsServiceRequest {
    let metrics = families.iter().map(|family| metric(family, span)).collect();
    let scope_metrics = ScopeMetrics { scope: Some(scope()), metrics, ..Default::default() };
    let resource = Some(resource.message());
    let resource_metrics =
        ResourceMetrics { resource, scope_metrics: vec![scope_metrics], ..Default::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] }
}

fn metric(family: &Family, span: Span) -> Metric {
    let numbers = || family.points.iter().filter_map(|point| number(point, span)).collect();
    let cumulative = AggregationTemporality::Cumulative.into();
    let data = match family.kind {
        Kind::Gauge => Data::Gauge(Gauge { data_points: numbers() }),
        Kind::Counter => Data::Sum(Sum {
            data_points: numbers(),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        Kind::Histogram => Data::Histogram(Histogram {
            data_points: family.points.iter().filter_map(|one| distribution(one, span)).collect(),
            aggregation_temporality: cumulative,
        }),
    };
    Metric {
        name: family.name.clone(),
        description: family.help.clone(),
        unit: unit(&family.name).to_owned(),
        data: Some(data),
        ..Default::default()
    }
}

/// UCUM's unit, of a name that ends as Prometheus advises.
fn unit(name: &str) -> &'static str {
    match name.trim_end_matches("_total") {
        name if name.ends_with("_seconds") => "s",
        name if name.ends_with("_bytes") => "By",
        _ => "",
    }
}

fn number(point: &Point, span: Span) -> Option<NumberDataPoint> {
    let Value::Number(value) = point.value else { return None };
    Some(NumberDataPoint {
        attributes: attributes(point),
        start_time_unix_nano: nanos(span.began),
        time_unix_nano: nanos(span.now),
        value: Some(number_data_point::Value::AsDouble(value)),
        ..Default::default()
    })
}

fn distribution(point: &Point, span: Span) -> Option<HistogramDataPoint> {
    let Value::Distribution { count, sum, buckets } = &point.value else { return None };
    let below = std::iter::once(0).chain(buckets.iter().map(|(_, at_most)| *at_most));
    let at_most = buckets.iter().map(|(_, at_most)| *at_most).chain([*count]);
    Some(HistogramDataPoint {
        attributes: attributes(point),
        start_time_unix_nano: nanos(span.began),
        time_unix_nano: nanos(span.now),
        count: *count,
        sum: Some(*sum),
        // Prometheus counts what is at or below each bound, OTLP what is between two.
        bucket_counts: at_most.zip(below).map(|(one, other)| one.saturating_sub(other)).collect(),
        explicit_bounds: buckets.iter().map(|(bound, _)| *bound).collect(),
        ..Default::default()
    })
}

fn attributes(point: &Point) -> Vec<KeyValue> {
    point.labels.iter().map(|(key, value)| text(key, value.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn family(name: &str, kind: Kind, value: Value) -> Family {
        let labels = vec![("function".to_owned(), "f".to_owned())];
        let points = vec![Point { labels, value }];
        Family { name: name.to_owned(), help: "what".to_owned(), kind, points }
    }

    #[test]
    fn each_kind_is_told_in_its_own_way() {
        let distribution =
            Value::Distribution { count: 9, sum: 4.5, buckets: vec![(0.1, 2), (1.0, 7)] };
        let families = [
            family("a_seconds_total", Kind::Counter, Value::Number(2.5)),
            family("b_bytes", Kind::Gauge, Value::Number(-1.0)),
            family("c_seconds", Kind::Histogram, distribution),
        ];
        let span = Span { began: UNIX_EPOCH, now: UNIX_EPOCH + Duration::from_secs(1) };
        let request = request(&Resource(vec![]), &families, span);
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let units: Vec<_> = metrics.iter().map(|metric| metric.unit.as_str()).collect();
        assert_eq!(units, ["s", "By", "s"]);
        let Some(Data::Sum(sum)) = &metrics[0].data else { panic!("{:?}", metrics[0]) };
        assert!(sum.is_monotonic);
        assert_eq!(sum.data_points[0].value, Some(number_data_point::Value::AsDouble(2.5)));
        assert_eq!(sum.data_points[0].attributes, [text("function", "f")]);
        assert_eq!(sum.data_points[0].time_unix_nano, 1_000_000_000);
        assert!(matches!(metrics[1].data, Some(Data::Gauge(_))));
        let Some(Data::Histogram(histogram)) = &metrics[2].data else { panic!("{:?}", metrics[2]) };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, point.sum), (9, Some(4.5)));
        assert_eq!(point.bucket_counts, [2, 5, 2]);
        assert_eq!(point.explicit_bounds, [0.1, 1.0]);
    }
}
