use std::collections::BTreeSet;

use serde_json::Value;

use crate::admin::about::described;
use crate::admin::endpoints;

#[test]
fn what_is_described_is_what_is_answered() {
    let document = described();
    let described: BTreeSet<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.filter(|key| *key != "parameters").map(|method| (method.clone(), path.clone()))
        })
        .collect();
    let answered: BTreeSet<_> = endpoints()
        .into_iter()
        .map(|(method, path, _)| (method.as_str().to_ascii_lowercase(), path.to_owned()))
        .collect();
    let undescribed: Vec<_> = answered.difference(&described).collect();
    assert!(undescribed.is_empty(), "describe in docs/openapi.yaml: {undescribed:?}");
    let unanswered: Vec<_> = described.difference(&answered).collect();
    assert!(unanswered.is_empty(), "described, but not among `endpoints`: {unanswered:?}");
}

#[test]
fn every_reference_leads_somewhere() {
    let document = described();
    let mut open = vec![document];
    let mut followed = 0;
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                    followed += 1;
                }
                open.extend(members.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    assert_ne!(followed, 0);
}
