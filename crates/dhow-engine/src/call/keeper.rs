//! `io: keeper`: WasmFunction's contract. A JSON object's `args` become arguments; the lines of
//! standard output come back as JSON, byte for byte as wasmkeeper writes it.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use dhow_core::outcome::{Failure, Reason};
use dhow_core::ports::Call;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;

use crate::body::GuestBody;
use crate::call::{Running, command, failure};
use crate::flight::Flight;
use crate::host::Capture;
use crate::load::Code;

pub(super) async fn answer<B>(
    running: Running<'_>,
    code: &Arc<Code>,
    call: Call<B>,
) -> Result<Response<GuestBody>, Failure>
where
    B: Body<Data = Bytes, Error = Failure> + Send + Unpin + 'static,
{
    let flight = running.flight;
    let deadline = tokio::time::Instant::from_std(flight.deadline());
    let body = match tokio::time::timeout_at(deadline, call.request.into_body().collect()).await {
        Ok(body) => body?.to_bytes(),
        Err(_) => return Err(flight.wall_time_over()),
    };
    let mut wasi = running.wasi();
    command::set_args(&mut wasi, flight, &parse_args(&body));
    let output = Capture::new(flight.clone());
    wasi.stdout(output.stream());

    let (mut drive, exit) = command::start(flight, code, wasi, running.place);
    drive.to_end(running.engine).await;
    let answer = match (flight.failure(), exit.get()) {
        (None, Some(0)) => print_output(&String::from_utf8_lossy(&output.take())),
        (None, Some(code)) => print_error(&flight.fail(failure::exit(*code, flight.meter()))),
        // The guest's own faults are its answer; the platform's limits are the platform's.
        (Some(failure), _) if is_guests_own(failure.reason) => print_error(&failure),
        (Some(failure), _) => return Err(failure),
        (None, None) => return Err(super::http::said_nothing()),
    };
    Ok(json(flight, answer))
}

fn is_guests_own(reason: Reason) -> bool {
    matches!(reason, Reason::Trap | Reason::GuestExit)
}

fn json(flight: &Flight, body: String) -> Response<GuestBody> {
    flight.set_status(StatusCode::OK);
    let mut response = Response::new(GuestBody::whole(flight, body.into()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// The arguments in a request's body.
///
/// wasmkeeper runs whatever comes: a body that is empty, no JSON, no object, without `args`, or
/// with an `args` that holds anything but strings, is a call without arguments.
fn parse_args(body: &[u8]) -> Vec<String> {
    let parse = || -> Option<Vec<String>> {
        let body: serde_json::Value = serde_json::from_slice(body).ok()?;
        let args = body.get("args")?.as_array()?;
        args.iter().map(|arg| arg.as_str().map(str::to_owned)).collect()
    };
    parse().unwrap_or_default()
}

/// `{"status": 0, "output": […]}`, a string for each line, in wasmkeeper's layout.
fn print_output(output: &str) -> String {
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

fn print_error(failure: &Failure) -> String {
    let mut json = String::from("{\"status\": 1, \"error\": ");
    print_string(&mut json, &failure.message);
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
