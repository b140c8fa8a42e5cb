//! Asks others over wasi:http 0.3. Each line of the body is `METHOD URL`; each is asked in turn, and
//! answered by a line each, with the status and the body, or with the error as WASI names it.

use wasip3::exports::http::handler::Guest;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use wasip3::wit_bindgen::StreamResult;
use wasip3::{wit_bindgen, wit_future, wit_stream};

struct Ask;

wasip3::http::service::export!(Ask);

impl Guest for Ask {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (_, done) = wit_future::new(|| Ok(()));
        let (body, _trailers) = Request::consume_body(request, done);
        let body = String::from_utf8_lossy(&read(body).await).into_owned();
        let mut told = String::new();
        for line in body.lines() {
            match ask(line).await {
                Ok((status, body)) => told.push_str(&format!("{status} {}\n", body.trim_end())),
                Err(error) => told.push_str(&format!("{error:?}\n")),
            }
        }
        let (mut sender, contents) = wit_stream::new();
        let (_, trailers) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(Fields::new(), Some(contents), trailers);
        wit_bindgen::spawn_local(async move {
            sender.write_all(told.into_bytes()).await;
        });
        Ok(response)
    }
}

async fn ask(line: &str) -> Result<(u16, String), ErrorCode> {
    let (method, url) = line.split_once(' ').expect("METHOD URL");
    let (scheme, rest) = url.split_once("://").expect("a whole URL");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), None, trailers, None);
    let method = if method == "GET" { Method::Get } else { Method::Other(method.to_owned()) };
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_method(&method).expect("a method");
    request.set_scheme(Some(&scheme)).expect("a scheme");
    request.set_authority(Some(authority)).expect("an authority");
    request.set_path_with_query(Some(&format!("/{path}"))).expect("a path");
    let response = client::send(request).await?;
    let status = response.get_status_code();
    let (_, done) = wit_future::new(|| Ok(()));
    let (body, trailers) = Response::consume_body(response, done);
    let body = read(body).await;
    trailers.await?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

async fn read(mut body: wit_bindgen::StreamReader<u8>) -> Vec<u8> {
    let mut read = Vec::new();
    loop {
        let (result, chunk) = body.read(Vec::with_capacity(64 * 1024)).await;
        read.extend(chunk);
        if !matches!(result, StreamResult::Complete(_)) {
            return read;
        }
    }
}
