//! What differs between two documents, field by field. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::error::CommandError;
use super::output::Output;

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// Where: `spec.limits.memory`, `spec.env[GREETING].value`.
    path: String,
    /// What it was; `None` is nothing.
    before: Option<String>,
    /// What it is; `None` is nothing.
    after: Option<String>,
}

/// Every field that differs, by path. What is not there at all is all of it removed or added.
pub(super) fn between(before: Option<&Value>, after: Option<&Value>) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(String::new(), before, after, &mut changes);
    changes
}

/// Prints `changes`, what was and what is in a line each.
pub(super) fn print(changes: &[Change], output: &mut Output) -> Result<(), CommandError> {
    for Change { path, before, after } in changes {
        if let Some(before) = before {
            output.removed(&format!("{path}: {before}"))?;
        }
        if let Some(after) = after {
            output.added(&format!("{path}: {after}"))?;
        }
    }
    Ok(())
}

fn compare(path: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Change>) {
    if before == after {
        return;
    }
    let fields = (fields(before), fields(after));
    let (Some(old), Some(new)) = fields else {
        let text = |value: Option<&Value>| value.map(text);
        return found.push(Change { path, before: text(before), after: text(after) });
    };
    let earlier = found.len();
    let names: BTreeSet<&str> = old.iter().chain(&new).map(|field| field.name).collect();
    for name in names {
        let (old, new) = (named(&old, name), named(&new, name));
        let is_item = old.or(new).is_some_and(|field| field.is_item);
        let path = match (path.is_empty(), is_item) {
            (true, _) => name.to_owned(),
            (false, true) => format!("{path}[{name}]"),
            (false, false) => format!("{path}.{name}"),
        };
        compare(path, old.map(|field| field.value), new.map(|field| field.value), found);
    }
    if found.len() == earlier {
        // The same items in another order.
        let text = |value: Option<&Value>| value.map(text);
        found.push(Change { path, before: text(before), after: text(after) });
    }
}

/// A part of a value that has a name of its own.
#[derive(Clone, Copy)]
struct Field<'v> {
    name: &'v str,
    value: &'v Value,
    /// Of a list, not of an object.
    is_item: bool,
}

fn named<'v>(fields: &[Field<'v>], name: &str) -> Option<Field<'v>> {
    fields.iter().find(|field| field.name == name).copied()
}

/// The parts of an object, or of a list whose items all have names; nothing has no parts. `None`:
/// it is compared as a whole.
fn fields(value: Option<&Value>) -> Option<Vec<Field<'_>>> {
    match value {
        None => Some(vec![]),
        Some(Value::Object(members)) if !members.is_empty() => Some(
            members.iter().map(|(name, value)| Field { name, value, is_item: false }).collect(),
        ),
        Some(Value::Array(items)) if !items.is_empty() => items
            .iter()
            .map(|value| Some(Field { name: value["name"].as_str()?, value, is_item: true }))
            .collect(),
        Some(_) => None,
    }
}

/// A text as it is, unless its ends could not be seen; all else as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text)
            if !text.is_empty() && text.trim() == text && !text.contains(char::is_control) =>
        {
            text.clone()
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::output::tests::kept;
    use super::*;

    fn told(before: Option<&Value>, after: Option<&Value>, terminal: bool) -> String {
        let (mut output, data, _) = kept(terminal);
        print(&between(before, after), &mut output).unwrap();
        data.text()
    }

    #[test]
    fn each_field_that_differs_is_told_by_its_path() {
        let before = json!({
            "kind": "Function",
            "spec": {
                "args": ["a"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "limits": {"memory": "64Mi", "queue": 7},
                "routes": [{"path": "/a"}],
            },
        });
        let after = json!({
            "kind": "Function",
            "spec": {
                "args": ["a", " b"],
                "env": [{"name": "A", "value": ""}, {"name": "C", "value": "x\ny"}],
                "limits": {"memory": "128Mi", "queue": 7},
                "routes": [{"path": "/a"}, {"path": "/b"}],
            },
        });
        assert_eq!(
            told(Some(&before), Some(&after), false),
            r#"- spec.args: ["a"]
+ spec.args: ["a"," b"]
- spec.env[A].value: 1
+ spec.env[A].value: ""
- spec.env[B].name: B
- spec.env[B].value: 2
+ spec.env[C].name: C
+ spec.env[C].value: "x\ny"
- spec.limits.memory: 64Mi
+ spec.limits.memory: 128Mi
- spec.routes: [{"path":"/a"}]
+ spec.routes: [{"path":"/a"},{"path":"/b"}]
"#
        );
        assert_eq!(between(Some(&before), Some(&before)), []);
    }

    #[test]
    fn what_is_new_is_added_field_by_field() {
        let new = json!({"spec": {"abi": "http", "limits": {"queue": 7}, "routes": []}});
        let told = told(None, Some(&new), false);
        assert_eq!(told, "+ spec.abi: http\n+ spec.limits.queue: 7\n+ spec.routes: []\n");
    }

    #[test]
    fn another_order_is_a_difference() {
        let (a, b) = (json!({"name": "a"}), json!({"name": "b"}));
        let (before, after) = (json!({"env": [a, b]}), json!({"env": [b, a]}));
        let told = told(Some(&before), Some(&after), false);
        assert_eq!(told.lines().count(), 2, "{told}");
        assert!(told.starts_with("- env: "), "{told}");
    }

    #[test]
    fn colours_are_for_terminals() {
        let (before, after) = (json!({"a": 1}), json!({"a": "\u{1b}"}));
        let coloured = told(Some(&before), Some(&after), true);
        assert_eq!(coloured, "\x1b[31m- a: 1\x1b[0m\n\x1b[32m+ a: \"\\u001b\"\x1b[0m\n");
    }
}
