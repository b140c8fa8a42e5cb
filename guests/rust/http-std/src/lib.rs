//! What most people write: wasi:http 0.2 with std. Std brings the command-line and file system
//! interfaces among the imports, so a host has to offer those too. Answers like http-lean.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let headers = Fields::from_list(&[("content-type".to_owned(), b"text/plain".to_vec())]);
        let response = OutgoingResponse::new(headers.expect("a plain header"));
        let body = response.body().expect("the first body");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the first stream");
        stream.blocking_write_and_flush(b"Hello, world!\n").expect("a client that listens");
        drop(stream);
        OutgoingBody::finish(body, None).expect("a whole body");
    }
}
