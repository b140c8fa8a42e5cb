//! What a function is granted, in words, out of its manifest.

use serde_json::Value;

/// A line for each grant.
pub(super) fn of(manifest: &Value) -> Vec<String> {
    let spec = &manifest["spec"];
    let listed = |kind: &'static str, list: &Value| {
        let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.map(|text| format!("{kind} {text}")).collect::<Vec<_>>()
    };
    [listed("network", &spec["network"]["allow"]), listed("secret", &spec["secrets"])].concat()
}
