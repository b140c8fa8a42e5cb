//! `io: stdio`: the body is standard input, standard output is the answer, the request's head is
//! in `Http_*` variables, as OpenFaaS' classic watchdog gives them to its processes
//! (`executor` and `handler` of openfaas/classic-watchdog).

use std::sync::Arc;

use bytes::Bytes;
use dhow_core::outcome::{Failure, Reason};
use dhow_core::ports::Call;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, request};
use http_body::Body;
use wasmtime_wasi::WasiCtxBuilder;

use crate::body::GuestBody;
use crate::call::{Running, command, failure, for_guest};
use crate::host::{BodyStdin, Capture};
use crate::load::Code;

/// What an answer is said to be when neither the function nor the request says so.
const DEFAULT_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");

pub(super) async fn answer<B>(
    running: Running<'_>,
    code: &Arc<Code>,
    call: Call<B>,
) -> Result<Response<GuestBody>, Failure>
where
    B: Body<Data = Bytes, Error = Failure> + Send + Unpin + 'static,
{
    let flight = running.flight;
    let mut wasi = running.wasi().await?;
    command::set_args(&mut wasi.builder, flight, &[]);
    let (head, body) = for_guest(flight, call.request).into_parts();
    set_variables(&mut wasi.builder, &head, body.size_hint().exact());
    wasi.builder.stdin(BodyStdin::new(body));
    let output = Capture::new(flight.clone());
    wasi.builder.stdout(output.stream());

    let (mut drive, exit) = command::start(flight, code, wasi, running.place);
    drive.finish(running.engine).await;
    if let Some(failure) = flight.failure() {
        return Err(failure);
    }
    match exit.get() {
        Some(0) => {}
        Some(code) => {
            let failure = failure::exit(*code, flight.meter());
            // The output is what the caller gets: classic watchdog users look for it there. A
            // program that ran out of memory is the platform's to tell.
            let body = (failure.reason == Reason::GuestExit).then(|| output.take());
            return Err(Failure { body, ..failure });
        }
        None => return Err(super::http::said_nothing()),
    }
    let mut response = Response::new(GuestBody::whole(flight, output.take())?);
    response.headers_mut().insert(CONTENT_TYPE, content_type(&head.headers, flight));
    flight.set_status(StatusCode::OK);
    Ok(response)
}

/// The variable `content_type` decides, then the request's own type.
fn content_type(request: &HeaderMap, flight: &crate::flight::Flight) -> HeaderValue {
    let env = &flight.target.revision().template.env;
    env.iter()
        .find(|(name, _)| name == "content_type")
        .and_then(|(_, value)| HeaderValue::from_str(value).ok())
        .or_else(|| request.get(CONTENT_TYPE).cloned())
        .unwrap_or(DEFAULT_TYPE)
}

/// `length` is that of the body, where it is known.
fn set_variables(wasi: &mut WasiCtxBuilder, head: &request::Parts, length: Option<u64>) {
    for name in head.headers.keys().filter(|name| **name != HOST && is_own_variable(name)) {
        if let Some(value) = text(head.headers.get(name)) {
            wasi.env(format!("Http_{}", go_name(name)), value);
        }
    }
    wasi.env("Http_Method", head.method.as_str());
    // -1 stands for "unknown", as Go's net/http says it.
    let unknown = length.is_none();
    let length = length.map_or_else(|| "-1".to_owned(), |length| length.to_string());
    wasi.env("Http_ContentLength", &length);
    if !head.headers.contains_key(CONTENT_LENGTH) {
        wasi.env("Http_Content_Length", &length);
    }
    if unknown {
        wasi.env("Http_Transfer_Encoding", "chunked");
    }
    if let Some(query) = head.uri.query().filter(|query| !query.is_empty()) {
        wasi.env("Http_Query", query);
    }
    wasi.env("Http_Path", head.uri.path());
    let host = head.uri.authority().map(|authority| authority.to_string());
    if let Some(host) = host.or_else(|| text(head.headers.get(HOST))) {
        wasi.env("Http_Host", host);
    }
}

/// A header's value, where it is text that a variable can hold.
pub(super) fn text(value: Option<&HeaderValue>) -> Option<String> {
    let text = String::from_utf8_lossy(value?.as_bytes()).into_owned();
    (!text.contains('\0')).then_some(text)
}

/// Whether a header has a variable of its own. One with `_` in its name would take the place of
/// another, and `Proxy` that of `HTTP_PROXY`, which programs take for their operator's word.
pub(super) fn is_own_variable(name: &HeaderName) -> bool {
    !name.as_str().contains('_') && name != "proxy"
}

/// A header's name as Go writes it, with `_` for `-`: `x-call-id` is `X_Call_Id`.
fn go_name(name: &HeaderName) -> String {
    let mut capital = true;
    name.as_str()
        .chars()
        .map(|c| {
            let c = match (capital, c) {
                (_, '-') => '_',
                (true, c) => c.to_ascii_uppercase(),
                (false, c) => c,
            };
            capital = c == '_';
            c
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_are_written_as_go_writes_them() {
        for (header, variable) in
            [("x-call-id", "X_Call_Id"), ("user-agent", "User_Agent"), ("etag", "Etag")]
        {
            assert_eq!(go_name(&HeaderName::from_static(header)), variable);
        }
    }
}
