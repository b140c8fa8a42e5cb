//! The kitchen sink: a wasi:http 0.2 component with a path for each thing that a function may do to
//! its platform. Most HTTP tests use it.
//!
//! - `/`                  says hello
//! - `/echo`              sends the body back while it still comes in, then the trailers
//! - `/headers`           the request line and the headers as text
//! - `/status/NNN`        answers with that status
//! - `/sleep?ms=N`        answers after a wait that uses no CPU
//! - `/burn`              never answers and uses all the CPU it gets
//! - `/panic`             panics before it answers
//! - `/alloc?mib=N`       takes that much memory and touches it
//! - `/count`             how many times this instance was asked; a fresh one says 1
//! - `/env`               arguments and environment
//! - `/random`            16 random bytes as hex
//! - `/log`               prints a line to stdout and one to stderr
//! - `/big?mib=N`         a body of that size
//! - `/drip?n=N&ms=M`     N chunks with a wait of M ms between them
//! - `/cut`               sends the head and some body, then traps
//! - `/noresponse`        returns without an answer
//! - `/outbound?url=URL`  asks that URL and reports the status and body, or the error code
//! - `/late`              has answered, and then uses 50 ms of CPU before it returns
//!
//! Anything else is 404.

mod answer;
mod outbound;

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use wasip2::clocks::monotonic_clock;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, Method, ResponseOutparam, Scheme,
};
use wasip2::io::streams::StreamError;

use answer::{Answer, text};

const MILLISECOND: u64 = 1_000_000;
const MIB: usize = 1 << 20;

struct Kit;

wasip2::http::proxy::export!(Kit);

impl Guest for Kit {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let number =
            |name| parameter(query, name).and_then(|value| value.parse().ok()).unwrap_or(0);
        match path {
            "/" => text(out, 200, "Hello, world!\n"),
            "/echo" => echo(&request, out),
            "/headers" => text(out, 200, &headers(&request)),
            "/sleep" => {
                sleep(number("ms"));
                text(out, 200, &format!("slept {}\n", number("ms")));
            }
            "/burn" => loop {
                black_box(());
            },
            "/panic" => panic!("asked to panic"),
            "/alloc" => {
                black_box(vec![1_u8; number("mib") as usize * MIB]);
                text(out, 200, "ok\n");
            }
            "/count" => text(out, 200, &count()),
            "/env" => text(out, 200, &environment()),
            "/random" => text(out, 200, &random()),
            "/log" => {
                println!("a line on stdout");
                eprintln!("a line on stderr");
                text(out, 200, "logged\n");
            }
            "/big" => big(out, number("mib")),
            "/drip" => drip(out, number("n"), number("ms")),
            "/cut" => {
                let answer = Answer::start(out, 200, Fields::new());
                _ = answer.write(b"half an ans");
                core::arch::wasm32::unreachable();
            }
            "/noresponse" => {}
            "/outbound" => match query.strip_prefix("url=") {
                Some(url) => outbound::ask(url, out),
                None => text(out, 400, "no url\n"),
            },
            "/late" => {
                text(out, 200, "late\n");
                burn(50);
            }
            _ => match path.strip_prefix("/status/").map(str::parse) {
                Some(Ok(status @ 100..=999)) => text(out, status, &format!("status {status}\n")),
                _ => text(out, 404, "no such path\n"),
            },
        }
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|word| word.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

fn sleep(ms: u64) {
    monotonic_clock::subscribe_duration(ms * MILLISECOND).block();
}

fn burn(ms: u64) {
    let end = monotonic_clock::now() + ms * MILLISECOND;
    while monotonic_clock::now() < end {}
}

fn echo(request: &IncomingRequest, out: ResponseOutparam) {
    // HTTP/1 sends trailers only when the head announces them.
    let headers = Fields::new();
    for (name, value) in request.headers().entries() {
        if name == "content-type" || name == "trailer" {
            headers.append(&name, &value).expect("a header that came in may go out");
        }
    }
    let body = request.consume().expect("the first to read the body");
    let input = body.stream().expect("the first stream");
    let answer = Answer::start(out, 200, headers);
    loop {
        match input.blocking_read(64 * 1024) {
            Ok(chunk) => {
                if answer.write(&chunk).is_err() {
                    return;
                }
            }
            Err(StreamError::Closed) => break,
            // The request was cut short, so the answer is: nothing finishes it.
            Err(StreamError::LastOperationFailed(_)) => return,
        }
    }
    drop(input);
    let trailers = IncomingBody::finish(body);
    trailers.subscribe().block();
    if let Some(Ok(Ok(trailers))) = trailers.get() {
        answer.finish(trailers);
    }
}

fn headers(request: &IncomingRequest) -> String {
    let method = match request.method() {
        Method::Get => "GET".to_owned(),
        Method::Head => "HEAD".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Put => "PUT".to_owned(),
        Method::Delete => "DELETE".to_owned(),
        Method::Connect => "CONNECT".to_owned(),
        Method::Options => "OPTIONS".to_owned(),
        Method::Trace => "TRACE".to_owned(),
        Method::Patch => "PATCH".to_owned(),
        Method::Other(other) => other,
    };
    let scheme = match request.scheme() {
        Some(Scheme::Http) => "http".to_owned(),
        Some(Scheme::Https) => "https".to_owned(),
        Some(Scheme::Other(other)) => other,
        None => "none".to_owned(),
    };
    let path = request.path_with_query().unwrap_or_else(|| "none".to_owned());
    let authority = request.authority().unwrap_or_else(|| "none".to_owned());
    let mut lines =
        format!(":method: {method}\n:path: {path}\n:scheme: {scheme}\n:authority: {authority}\n");
    for (name, value) in request.headers().entries() {
        _ = writeln!(lines, "{name}: {}", String::from_utf8_lossy(&value));
    }
    lines
}

fn count() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}\n", COUNT.fetch_add(1, Ordering::Relaxed) + 1)
}

fn environment() -> String {
    let arguments =
        std::env::args().enumerate().map(|(n, argument)| format!("argv[{n}]={argument}\n"));
    let variables = std::env::vars().map(|(name, value)| format!("{name}={value}\n"));
    arguments.chain(variables).collect()
}

fn random() -> String {
    let bytes = wasip2::random::random::get_random_bytes(16);
    bytes.iter().map(|byte| format!("{byte:02x}")).chain(["\n".to_owned()]).collect()
}

fn big(out: ResponseOutparam, mib: u64) {
    let answer = Answer::start(out, 200, Fields::new());
    let chunk = [b'x'; 64 * 1024];
    for _ in 0..mib * (MIB / chunk.len()) as u64 {
        if answer.write(&chunk).is_err() {
            return;
        }
    }
    answer.finish(None);
}

fn drip(out: ResponseOutparam, chunks: u64, ms: u64) {
    let answer = Answer::start(out, 200, Fields::new());
    for n in 1..=chunks {
        if n > 1 {
            sleep(ms);
        }
        if answer.write(format!("chunk {n}\n").as_bytes()).is_err() {
            return;
        }
    }
    answer.finish(None);
}
