//! A request out of the guest.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingResponse, OutgoingRequest, ResponseOutparam, Scheme,
};

use crate::answer::{Answer, text};

/// GETs `url`. Answers 200 with a line `status NNN` and the body that came, or 502 with the error code.
pub(crate) fn ask(url: &str, out: ResponseOutparam) {
    let Some(request) = request(url) else {
        return text(out, 400, "not an http or https url\n");
    };
    match send(request) {
        Ok(response) => report(&response, out),
        Err(error) => text(out, 502, &format!("{error:?}\n")),
    }
}

fn request(url: &str) -> Option<OutgoingRequest> {
    let (scheme, rest) = match url.split_once("://")? {
        ("http", rest) => (Scheme::Http, rest),
        ("https", rest) => (Scheme::Https, rest),
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&scheme)).ok()?;
    request.set_authority(Some(authority)).ok()?;
    request.set_path_with_query(Some(if path.is_empty() { "/" } else { path })).ok()?;
    Some(request)
}

fn send(request: OutgoingRequest) -> Result<IncomingResponse, ErrorCode> {
    let response = outgoing_handler::handle(request, None)?;
    response.subscribe().block();
    response.get().expect("it is ready").expect("it was not taken yet")
}

fn report(response: &IncomingResponse, out: ResponseOutparam) {
    let answer = Answer::start(out, 200, Fields::new());
    _ = answer.write(format!("status {}\n", response.status()).as_bytes());
    let body = response.consume().expect("the first to read the body");
    let input = body.stream().expect("the first stream");
    while let Ok(chunk) = input.blocking_read(64 * 1024) {
        if answer.write(&chunk).is_err() {
            return;
        }
    }
    answer.finish(None);
}
