//! Metrics of one moment, for those who carry them elsewhere. In Prometheus' terms.

/// Series of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Such as `dhow_invocations_total`.
    pub name: String,
    /// What it tells, for people.
    pub help: String,
    /// What its values are.
    pub kind: Kind,
    /// One for each set of labels.
    pub points: Vec<Point>,
}

/// What values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They only grow while the process lives.
    Counter,
    /// They come and go.
    Gauge,
    /// They are distributions, which only grow.
    Histogram,
}

/// One series at that moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Names and values.
    pub labels: Vec<(String, String)>,
    /// How much.
    pub value: Value,
}

/// How much.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of a counter or a gauge.
    Number(f64),
    /// Of a histogram.
    Distribution {
        /// Values that were seen.
        count: u64,
        /// Their sum.
        sum: f64,
        /// Upper bounds, each with how many values are at or below it; rising, without infinity.
        buckets: Vec<(f64, u64)>,
    },
}
