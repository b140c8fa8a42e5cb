//! Quotas of namespaces: set, shown, taken away.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use dhow_core::limits::{Bounds, CPU_MILLIS, MEMORY};
use dhow_core::name::Label;
use dhow_core::quantity::{parse_bytes, parse_cpu, print_bytes, print_cpu};
use dhow_core::quota::Quota;
use dhow_dialects::problem::FieldError;
use http::StatusCode;
use serde::Deserialize;

use super::Admin;
use super::credentials::Principal;
use super::error::ApiError;
use super::path::label;
use super::wire::{Items, QuotaStatus};

/// Functions of a namespace.
const FUNCTIONS: Bounds<u32> = Bounds { default: 0, least: 0, most: 1_000_000 };
/// Calls in flight.
const CALLS: Bounds<u32> = Bounds { default: 0, least: 0, most: 1_000_000 };
/// Bytes; at least what one instance may have.
const BYTES: Bounds<u64> = Bounds { default: 0, least: MEMORY.least, most: 1 << 50 };

/// A quota that somebody wants; what is left out is not bounded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default)]
    functions: Option<u32>,
    /// Such as `1Gi`.
    #[serde(default)]
    memory: Option<String>,
    /// Cores, such as `2` or `500m`.
    #[serde(default)]
    cpu: Option<String>,
    #[serde(default)]
    calls: Option<u32>,
}

/// Those of the namespaces that the sender may see, by name.
pub(super) async fn list(
    State(admin): State<Admin>,
    Extension(principal): Extension<Principal>,
) -> Json<Items<QuotaStatus>> {
    let quotas = admin.catalog.snapshot().quotas.clone();
    let seen = quotas.iter().filter(|(namespace, _)| principal.sees(namespace));
    Json(Items { items: seen.map(|(namespace, quota)| status(&admin, namespace, quota)).collect() })
}

pub(super) async fn show(
    State(admin): State<Admin>,
    Path(namespace): Path<String>,
) -> Result<Json<QuotaStatus>, ApiError> {
    let namespace = label("namespace", &namespace)?;
    let snapshot = admin.catalog.snapshot();
    let quota = snapshot.quotas.get(&namespace).ok_or_else(|| none(&namespace))?;
    Ok(Json(status(&admin, &namespace, quota)))
}

/// Returns once calls are held against it.
pub(super) async fn set(
    State(admin): State<Admin>,
    Path(namespace): Path<String>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<Json<QuotaStatus>, ApiError> {
    let namespace = label("namespace", &namespace)?;
    let Json(wanted) = wanted?;
    let quota = read(&wanted)?;
    admin.catalog.set_quota(namespace.clone(), Some(quota)).await?;
    (admin.applied)(admin.catalog.snapshot().version).await;
    Ok(Json(status(&admin, &namespace, &quota)))
}

pub(super) async fn remove(
    State(admin): State<Admin>,
    Path(namespace): Path<String>,
) -> Result<StatusCode, ApiError> {
    let namespace = label("namespace", &namespace)?;
    if !admin.catalog.snapshot().quotas.contains_key(&namespace) {
        return Err(none(&namespace));
    }
    admin.catalog.set_quota(namespace, None).await?;
    (admin.applied)(admin.catalog.snapshot().version).await;
    Ok(StatusCode::NO_CONTENT)
}

fn status(admin: &Admin, namespace: &Label, quota: &Quota) -> QuotaStatus {
    let snapshot = admin.catalog.snapshot();
    let functions = snapshot.functions.iter();
    let functions = functions.filter(|function| function.name.namespace == *namespace).count();
    QuotaStatus::new(namespace, quota, functions, (admin.usage)(namespace))
}

fn none(namespace: &Label) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "not-found",
        format!("the namespace `{namespace}` has no quota"),
        "`dhow quota set` gives it one",
    )
}

/// The quota that is wanted, or every field of it that is wrong.
fn read(wanted: &Wanted) -> Result<Quota, ApiError> {
    let mut fields = vec![];
    let quota = Quota {
        functions: within("functions", wanted.functions.map(Ok), FUNCTIONS, u32_text, &mut fields),
        memory: {
            let bytes = wanted.memory.as_deref().map(|text| parse_bytes(text).map_err(said));
            within("memory", bytes, BYTES, print_bytes, &mut fields)
        },
        cpu_millis: {
            let millis = wanted.cpu.as_deref().map(|text| parse_cpu(text).map_err(said));
            within("cpu", millis, CPU_MILLIS, print_cpu, &mut fields)
        },
        calls: within("calls", wanted.calls.map(Ok), CALLS, u32_text, &mut fields),
    };
    if fields.is_empty() && quota == Quota::default() {
        let message = "bounds nothing; say functions, memory, cpu or calls";
        fields.push(FieldError::new("", message));
    }
    if fields.is_empty() { Ok(quota) } else { Err(ApiError::invalid("this is no quota", fields)) }
}

fn within<T: PartialOrd + Copy>(
    field: &str,
    value: Option<Result<T, String>>,
    bounds: Bounds<T>,
    print: impl Fn(T) -> String,
    fields: &mut Vec<FieldError>,
) -> Option<T> {
    let value = value?.and_then(|value| {
        if value >= bounds.least && value <= bounds.most {
            return Ok(value);
        }
        let (least, most) = (print(bounds.least), print(bounds.most));
        Err(format!("is {}; it must be from {least} to {most}", print(value)))
    });
    value.map_err(|message| fields.push(FieldError::new(field, message))).ok()
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn u32_text(number: u32) -> String {
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(text: &str) -> Result<Quota, Vec<String>> {
        let wanted: Wanted = serde_json::from_str(text).unwrap();
        read(&wanted).map_err(|error| error.fields.into_iter().map(|field| field.path).collect())
    }

    #[test]
    fn a_quota_is_read_as_limits_are() {
        let read = quota(r#"{"functions": 3, "memory": "1Gi", "cpu": "1.5", "calls": 0}"#);
        let expected = Quota {
            functions: Some(3),
            memory: Some(1 << 30),
            cpu_millis: Some(1500),
            calls: Some(0),
        };
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn every_wrong_field_is_named() {
        let all = r#"{"functions": 2000000, "memory": "1", "cpu": "x", "calls": 2000000}"#;
        let wrong = ["functions", "memory", "cpu", "calls"].map(str::to_owned);
        assert_eq!(quota(all), Err(wrong.into()));
        assert_eq!(quota("{}"), Err(vec![String::new()]));
        assert!(serde_json::from_str::<Wanted>(r#"{"disk": 1}"#).is_err());
    }
}
