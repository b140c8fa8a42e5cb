//! What Spin's SDK 3 and others of its time made: a core module for WASI preview 1 that carries its
//! component type in a custom section and exports `wasi:http/incoming-handler@0.2.0#handle`. The host
//! has to make the component itself.

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

wasi::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let headers = Fields::from_list(&[("content-type".to_owned(), b"text/plain".to_vec())]);
        let response = OutgoingResponse::new(headers.expect("a plain header"));
        let body = response.body().expect("the first body");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the first stream");
        stream
            .blocking_write_and_flush(b"Hello from an old SDK!\n")
            .expect("a client that listens");
        drop(stream);
        OutgoingBody::finish(body, None).expect("a whole body");
    }
}
