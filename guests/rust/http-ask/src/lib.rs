//! Asks others over wasi:http 0.2. Each line of the body is `[FOLLOW ][WAIT=MS ]METHOD URL[ BODY]`;
//! each is asked in turn, and answered by a line with the status and the body, or with the error as
//! WASI names it. FOLLOW goes after redirects, up to five; WAIT is how long to wait for the first
//! byte and between bytes.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingRequest,
    OutgoingResponse, RequestOptions, ResponseOutparam, Scheme,
};
use wasip2::io::streams::StreamError;

struct Ask;

wasip2::http::proxy::export!(Ask);

impl Guest for Ask {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let body = read(request.consume().expect("the first consumer")).expect("a whole body");
        let mut told = String::new();
        for line in body.lines() {
            match asked(line) {
                Ok((status, body)) => told.push_str(&format!("{status} {}\n", body.trim_end())),
                Err(error) => told.push_str(&format!("{error}\n")),
            }
        }
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the first body");
        ResponseOutparam::set(out, Ok(response));
        write(&body, told.as_bytes());
        OutgoingBody::finish(body, None).expect("a whole body");
    }
}

fn asked(line: &str) -> Result<(u16, String), String> {
    let (follow, line) = match line.strip_prefix("FOLLOW ") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (wait, line) = match line.strip_prefix("WAIT=") {
        Some(rest) => {
            let (wait, rest) = rest.split_once(' ').expect("a request after the wait");
            (Some(wait.parse::<u64>().expect("a number") * 1_000_000), rest)
        }
        None => (None, line),
    };
    let mut words = line.splitn(3, ' ');
    let method = words.next().expect("a method");
    let mut url = words.next().expect("a URL").to_owned();
    let body = words.next().unwrap_or_default();
    for _ in 0..5 {
        let (status, location, answer) = ask(method, &url, body, wait)?;
        match location {
            Some(location) if follow => url = location,
            _ => return Ok((status, answer)),
        }
    }
    Err("too many redirects".to_owned())
}

fn ask(
    method: &str,
    url: &str,
    body: &str,
    wait: Option<u64>,
) -> Result<(u16, Option<String>, String), String> {
    let (scheme, rest) = url.split_once("://").expect("a whole URL");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let request = OutgoingRequest::new(Fields::new());
    let method = match method {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        other => Method::Other(other.to_owned()),
    };
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    request.set_method(&method).map_err(|()| "no method")?;
    request.set_scheme(Some(&scheme)).map_err(|()| "no scheme")?;
    request.set_authority(Some(authority)).map_err(|()| "no authority")?;
    request.set_path_with_query(Some(&format!("/{path}"))).map_err(|()| "no path")?;
    let options = RequestOptions::new();
    if let Some(wait) = wait {
        options.set_first_byte_timeout(Some(wait)).expect("an option of the host's");
        options.set_between_bytes_timeout(Some(wait)).expect("an option of the host's");
    }
    let sent = request.body().expect("the first body");
    let told = |error: ErrorCode| format!("{error:?}");
    let answer = outgoing_handler::handle(request, Some(options)).map_err(told)?;
    write(&sent, body.as_bytes());
    OutgoingBody::finish(sent, None).map_err(told)?;
    answer.subscribe().block();
    let answer = answer.get().expect("an answer").expect("the first look").map_err(told)?;
    let location = answer.headers().get("location").pop();
    let location = location.map(|value| String::from_utf8_lossy(&value).into_owned());
    let status = answer.status();
    let body = read(answer.consume().expect("the first consumer"))?;
    Ok((status, location, body))
}

fn read(body: IncomingBody) -> Result<String, String> {
    let stream = body.stream().expect("the first stream");
    let mut read = Vec::new();
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(chunk) => read.extend(chunk),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                let code = wasip2::http::types::http_error_code(&error);
                return Err(code.map_or("broken off".to_owned(), |code| format!("{code:?}")));
            }
        }
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}

fn write(body: &OutgoingBody, bytes: &[u8]) {
    let stream = body.write().expect("the first stream");
    for chunk in bytes.chunks(4096) {
        if stream.blocking_write_and_flush(chunk).is_err() {
            // Who does not listen says why in another place.
            return;
        }
    }
}
