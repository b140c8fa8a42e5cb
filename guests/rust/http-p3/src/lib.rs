//! A wasi:http 0.3 service with a few routes. One instance may serve many requests, some at once.
//!
//! - `/`            says hello
//! - `/echo`        reads the body and writes it back chunk by chunk, then the trailers
//! - `/forward`     hands the body and the trailers back to the host without reading them
//! - `/sleep?ms=N`  answers after a wait that uses no CPU
//! - `/count`       how many times this instance was asked: more than 1 shows reuse
//! - `/burn`        never answers and uses all the CPU it gets
//!
//! Anything else is 404.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use wasip3::clocks::monotonic_clock;
use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Trailers};
use wasip3::wit_bindgen::{FutureReader, StreamReader, StreamResult};
use wasip3::{wit_bindgen, wit_future, wit_stream};

type TrailersResult = Result<Option<Trailers>, ErrorCode>;

struct Service;

wasip3::http::service::export!(Service);

impl Guest for Service {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path {
            "/" => Ok(text(200, "Hello, world!\n")),
            "/echo" => Ok(echo(request)),
            "/forward" => Ok(forward(request)),
            "/sleep" => {
                let ms = query.strip_prefix("ms=").and_then(|ms| ms.parse().ok()).unwrap_or(0);
                monotonic_clock::wait_for(ms * 1_000_000).await;
                Ok(text(200, &format!("slept {ms}\n")))
            }
            "/count" => {
                static COUNT: AtomicU32 = AtomicU32::new(0);
                let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
                Ok(text(200, &format!("{count}\n")))
            }
            "/burn" => loop {
                black_box(());
            },
            _ => Ok(text(404, "no such path\n")),
        }
    }
}

fn text(status: u16, body: &str) -> Response {
    let headers = Fields::new();
    headers.append("content-type", b"text/plain").expect("a plain header");
    let (mut sender, contents) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(headers, Some(contents), trailers);
    response.set_status_code(status).expect("a valid status");
    let body = body.as_bytes().to_vec();
    wit_bindgen::spawn_local(async move {
        sender.write_all(body).await;
    });
    response
}

fn echo(request: Request) -> Response {
    let headers = response_headers(&request);
    let (mut body, request_trailers) = consume(request);
    let (mut sender, contents) = wit_stream::new();
    let (trailers_sender, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(headers, Some(contents), trailers);
    wit_bindgen::spawn_local(async move {
        loop {
            let (result, chunk) = body.read(Vec::with_capacity(64 * 1024)).await;
            if !sender.write_all(chunk).await.is_empty() {
                return;
            }
            if !matches!(result, StreamResult::Complete(_)) {
                break;
            }
        }
        drop(sender);
        // An error here, a body cut short for one, becomes an error of the answer.
        _ = trailers_sender.write(request_trailers.await).await;
    });
    response
}

fn forward(request: Request) -> Response {
    let headers = response_headers(&request);
    let (body, trailers) = consume(request);
    Response::new(headers, Some(body), trailers).0
}

fn consume(request: Request) -> (StreamReader<u8>, FutureReader<TrailersResult>) {
    let (_, read) = wit_future::new(|| Ok(()));
    Request::consume_body(request, read)
}

/// The request's content type, and its announcement of trailers: HTTP/1 sends none without it.
fn response_headers(request: &Request) -> Fields {
    let headers = Fields::new();
    for (name, value) in request.get_headers().copy_all() {
        if name == "content-type" || name == "trailer" {
            headers.append(&name, &value).expect("a header that came in may go out");
        }
    }
    headers
}
