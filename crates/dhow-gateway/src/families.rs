//! What the metrics' library gathers, as values that everybody can read.

use dhow_core::metric::{Family, Kind, Point, Value};
use prometheus::proto::{Metric, MetricFamily, MetricType};

/// One family; `None` for kinds that this crate does not make.
pub(crate) fn of(family: &MetricFamily) -> Option<Family> {
    let (kind, value): (_, fn(&Metric) -> Value) = match family.get_field_type() {
        MetricType::COUNTER => (Kind::Counter, |one| Value::Number(one.get_counter().get_value())),
        MetricType::GAUGE => (Kind::Gauge, |one| Value::Number(one.get_gauge().get_value())),
        MetricType::HISTOGRAM => (Kind::Histogram, distribution),
        MetricType::SUMMARY | MetricType::UNTYPED => return None,
    };
    let point = |one: &Metric| {
        let labels = one.get_label().iter();
        let labels = labels.map(|pair| (pair.name().to_owned(), pair.value().to_owned()));
        Point { labels: labels.collect(), value: value(one) }
    };
    Some(Family {
        name: family.name().to_owned(),
        help: family.help().to_owned(),
        kind,
        points: family.get_metric().iter().map(point).collect(),
    })
}

/// Without the bucket of all values, which the count tells.
pub(crate) fn distribution(one: &Metric) -> Value {
    let histogram = one.get_histogram();
    let buckets = histogram.get_bucket().iter();
    let buckets = buckets.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    Value::Distribution {
        count: histogram.get_sample_count(),
        sum: histogram.get_sample_sum(),
        buckets: buckets.filter(|(bound, _)| bound.is_finite()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

    use super::*;

    #[test]
    fn each_kind_is_taken_with_its_labels() {
        let registry = Registry::new();
        let counter = IntCounterVec::new(Opts::new("a_total", "A"), &["x"]).unwrap();
        let gauge = IntGauge::new("b", "B").unwrap();
        let buckets = HistogramOpts::new("c", "C").buckets(vec![1.0, 2.0]);
        let histogram = Histogram::with_opts(buckets).unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        registry.register(Box::new(gauge.clone())).unwrap();
        registry.register(Box::new(histogram.clone())).unwrap();
        counter.with_label_values(&["y"]).inc_by(3);
        gauge.set(-1);
        [0.5, 1.5, 9.0].into_iter().for_each(|value| histogram.observe(value));
        let families: Vec<_> = registry.gather().iter().filter_map(of).collect();
        let names: Vec<_> = families.iter().map(|one| (one.name.as_str(), one.kind)).collect();
        assert_eq!(names, [("a_total", Kind::Counter), ("b", Kind::Gauge), ("c", Kind::Histogram)]);
        let labels = vec![("x".to_owned(), "y".to_owned())];
        assert_eq!(families[0].points, [Point { labels, value: Value::Number(3.0) }]);
        assert_eq!(families[1].points[0].value, Value::Number(-1.0));
        let buckets = vec![(1.0, 1), (2.0, 2)];
        let distribution = Value::Distribution { count: 3, sum: 11.0, buckets };
        assert_eq!(families[2].points[0].value, distribution);
    }
}
