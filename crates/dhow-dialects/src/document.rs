//! YAML and JSON text as values, under a budget, and values as YAML.
//!
//! JSON is read as the YAML it is, so that both have one budget and duplicate keys are refused in
//! both. YAML is that of version 1.2: `no` is text.

use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Error, NonFiniteFloatPolicy, Options};

use crate::problem::FieldError;

/// Bytes of one text, all its documents together.
pub const MOST_BYTES: usize = 1 << 20;
/// Documents of one text.
pub const MOST_DOCUMENTS: usize = 1_000;
/// How deep lists and mappings may stand in each other.
pub const MOST_DEPTH: usize = 64;
/// Scalars, lists and mappings of one text.
pub const MOST_NODES: usize = 50_000;
/// Pieces that aliases (`*name`) may add to one text, and their bytes.
pub const MOST_REPEATED: usize = 10_000;

/// Reads every document of `text`; empty ones are passed over.
///
/// # Errors
/// When `text` is not YAML, names a key twice, or is over a budget. The path is the line and the
/// column.
pub fn parse(text: &str) -> Result<Vec<Value>, FieldError> {
    if text.len() > MOST_BYTES {
        return Err(FieldError::new(
            "",
            format!("it has {} bytes; at most {MOST_BYTES} are read", text.len()),
        ));
    }
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| explain(&error))
}

/// `value` as a YAML document, ending in a newline.
pub fn print(value: &Value) -> String {
    serde_saphyr::to_string(value).expect("a JSON value has only what YAML can say")
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: MOST_DOCUMENTS,
            max_depth: MOST_DEPTH,
            flow_nesting_limit: MOST_DEPTH,
            max_nodes: MOST_NODES,
            max_events: 4 * MOST_NODES,
            max_aliases: MOST_REPEATED,
            max_anchors: MOST_REPEATED,
            max_merge_keys: MOST_REPEATED,
            max_recorded_anchor_events: 4 * MOST_NODES,
            max_recorded_anchor_bytes: 4 * MOST_BYTES,
            // What an alias repeats counts again, so this bounds the bytes of the values too.
            max_total_scalar_bytes: 2 * MOST_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MOST_REPEATED,
            max_replay_stack_depth: 16,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::Reject,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn explain(error: &Error) -> FieldError {
    let path = error
        .location()
        .map(|at| format!("line {}, column {}", at.line(), at.column()))
        .unwrap_or_default();
    let message = match error.without_snippet() {
        Error::DuplicateMappingKey { key, .. } => match key {
            Some(key) => format!("the key `{}` stands here twice", key.escape_debug()),
            None => "a key stands here twice".to_owned(),
        },
        other => {
            let message = other.to_string();
            // The place is in the path already.
            let end = message.rfind(" at line ").unwrap_or(message.len());
            format!("it is not readable YAML or JSON: {}", message[..end].escape_debug())
        }
    };
    FieldError::new(path, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_and_json_are_read_alike() {
        assert_eq!(
            parse("a: no\nb: [1, 0.5, true, ~]").unwrap(),
            [json!({"a": "no", "b": [1, 0.5, true, null]})]
        );
        assert_eq!(parse("{\n\t\"a\": \"\\ud83d\\ude00\"}").unwrap(), [json!({"a": "😀"})]);
    }

    #[test]
    fn empty_documents_are_passed_over() {
        assert_eq!(
            parse("---\n# nothing\n---\na: 1\n---\n---\nb: 2\n").unwrap(),
            [json!({"a": 1}), json!({"b": 2})]
        );
        assert_eq!(parse(""), Ok(vec![]));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let twice = parse("a: 1\nb: 2\na: 3").unwrap_err();
        assert_eq!(twice.path, "line 3, column 1");
        assert_eq!(twice.message, "the key `a` stands here twice");
        let json_twice = parse(r#"{"a": 1, "\u0061": 2}"#).unwrap_err();
        assert_eq!(json_twice.message, "the key `a` stands here twice");
        let open = parse("a: [1").unwrap_err();
        assert!(open.path.starts_with("line 1"), "{open}");
        assert!(!open.message.contains("line"), "{open}");
        for wrong in ["a: *nobody", "a: !secret x", "a: .inf", "? [1]\n: 2", "a: &a [*a]", "a\0b"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_budget_holds() {
        let bomb = (1..9).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, level| {
            let repeated = vec![format!("*a{}", level - 1); 9].join(",");
            format!("{text}a{level}: &a{level} [{repeated}]\n")
        });
        let long_alias =
            format!("a: &a {}\nb: [{}]", "x".repeat(100_000), vec!["*a"; 99].join(","));
        for (name, text) in [
            ("bytes", format!("a: {}", "x".repeat(MOST_BYTES))),
            ("documents", "--- 1\n".repeat(MOST_DOCUMENTS + 1)),
            ("flow depth", "[".repeat(MOST_DEPTH + 1) + &"]".repeat(MOST_DEPTH + 1)),
            ("block depth", "- ".repeat(MOST_DEPTH + 1) + "x"),
            ("nodes", format!("[{}]", "1,".repeat(MOST_NODES))),
            ("aliases of aliases", bomb),
            ("aliases of a long text", long_alias),
        ] {
            assert!(parse(&text).is_err(), "{name}");
        }
        assert!(parse(&format!("[{}]", "1,".repeat(MOST_NODES - 10))).is_ok());
        assert!(parse(&("[".repeat(MOST_DEPTH) + &"]".repeat(MOST_DEPTH))).is_ok());
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[-a-z0-9:#~.'\"|> \n\t]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-zA-Z0-9 :~-]{0,8}", inner, 0..5)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn printed_yaml_reads_as_itself(value in any_value()) {
            prop_assume!(!value.is_null());
            prop_assert_eq!(parse(&print(&value)), Ok(vec![value]));
        }

        #[test]
        fn json_reads_as_itself(value in any_value()) {
            prop_assume!(!value.is_null());
            prop_assert_eq!(parse(&value.to_string()), Ok(vec![value]));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-a-z&*!|>{}\\[\\]:,?#\"' \n\t]{0,80}") {
            let _ = parse(&text);
        }
    }
}
