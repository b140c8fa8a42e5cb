//! Who it is that tells, and values as OTLP has them.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource as Message;

/// The process, by attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource(pub(crate) Vec<(String, String)>);

impl Resource {
    pub(crate) fn message(&self) -> Message {
        let attributes = self.0.iter().map(|(key, value)| text(key, value.as_str())).collect();
        Message { attributes, ..Default::default() }
    }
}

/// What counted and followed.
pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "dhow".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    }
}

pub(crate) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

pub(crate) fn integer(key: &str, value: impl TryInto<i64>) -> KeyValue {
    attribute(key, Value::IntValue(value.try_into().unwrap_or(i64::MAX)))
}

pub(crate) fn yes_or_no(key: &str, value: bool) -> KeyValue {
    attribute(key, Value::BoolValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value }
}
