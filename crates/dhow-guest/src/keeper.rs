//! WasmFunction's contract, byte for byte as wasmkeeper has it: arguments in, lines out, as JSON.

use std::fmt::Write as _;

/// The arguments in a request's body.
///
/// wasmkeeper runs whatever comes: a body that is empty, no JSON, no object, without `args`, or
/// with an `args` that holds anything but strings, is a call without arguments.
pub fn parse_args(body: &[u8]) -> Vec<String> {
    let parse = || -> Option<Vec<String>> {
        let body: serde_json::Value = serde_json::from_slice(body).ok()?;
        let args = body.get("args")?.as_array()?;
        args.iter().map(|arg| arg.as_str().map(str::to_owned)).collect()
    };
    parse().unwrap_or_default()
}

/// `{"status": 0, "output": […]}`, a string for each line, in wasmkeeper's layout.
pub fn print_output(output: &str) -> String {
    let mut json = String::from("{\"status\": 0, \"output\": [\n");
    let text = output.strip_suffix('\n').unwrap_or(output);
    if !output.is_empty() {
        for (index, line) in text.split('\n').enumerate() {
            json.push_str(if index == 0 { "  " } else { ",\n  " });
            print_string(&mut json, line);
        }
    }
    json.push_str("\n]}");
    json
}

/// `{"status": 1, "error": …}`, a failed run.
pub fn print_error(message: &str) -> String {
    let mut json = String::from("{\"status\": 1, \"error\": ");
    print_string(&mut json, message);
    json.push('}');
    json
}

/// A JSON string with wasmkeeper's escapes: control characters alone, and `"` and `\`.
fn print_string(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            c if c < ' ' => {
                // Writing to a String can't fail.
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_laid_out_as_wasmkeeper_lays_it_out() {
        assert_eq!(print_output("a\nb\n"), "{\"status\": 0, \"output\": [\n  \"a\",\n  \"b\"\n]}");
        assert_eq!(print_output(""), "{\"status\": 0, \"output\": [\n\n]}");
        assert_eq!(print_output("a"), print_output("a\n"));
        assert_eq!(print_output("\n"), "{\"status\": 0, \"output\": [\n  \"\"\n]}");
        assert_eq!(
            print_output("\"\\\u{1}\t\r\n"),
            "{\"status\": 0, \"output\": [\n  \"\\\"\\\\\\u0001\\t\\r\"\n]}"
        );
    }

    #[test]
    fn whatever_is_no_list_of_strings_is_no_arguments() {
        assert_eq!(parse_args(br#"{"args":["a","b"]}"#), ["a", "b"]);
        for body in ["", "{}", "[]", "nonsense", r#"{"args":null}"#, r#"{"args":["a",1]}"#] {
            assert!(parse_args(body.as_bytes()).is_empty(), "{body}");
        }
    }
}
