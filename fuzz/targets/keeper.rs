//! wasmkeeper's JSON: arguments out of any body, any output into JSON that gives it back.
#![no_main]

use dhow_guest::keeper::{parse_args, print_error, print_output};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let args = parse_args(data);
    assert_eq!(parse_args(json!({"args": args}).to_string().as_bytes()), args);

    let text = String::from_utf8_lossy(data);
    output_comes_back(&text);
    let error: Value = serde_json::from_str(&print_error(&text)).expect("valid JSON");
    assert_eq!(error, json!({"status": 1, "error": text}));

    #[cfg(feature = "planted")]
    planted(&text);
});

/// Its lines, joined, are the output but for one newline at its end.
fn output_comes_back(text: &str) {
    let answer: Value = serde_json::from_str(&print_output(text)).expect("valid JSON");
    assert_eq!(answer["status"], 0);
    let lines = answer["output"].as_array().expect("a list").iter();
    let lines: Vec<&str> = lines.map(|line| line.as_str().expect("text")).collect();
    if text.is_empty() {
        assert!(lines.is_empty());
    } else {
        assert!(lines.iter().all(|line| !line.contains('\n')));
        assert_eq!(lines.join("\n"), text.strip_suffix('\n').unwrap_or(text));
    }
}

/// Wrongly holds that a third line that begins with a quote does not end with a backslash.
#[cfg(feature = "planted")]
fn planted(text: &str) {
    if let Some(quoted) = text.split('\n').nth(2).and_then(|line| line.strip_prefix('"')) {
        assert!(!quoted.ends_with('\\'), "planted");
    }
}
