//! The smallest wasi:http 0.2 component: the same answer to every request, without std.
//! For measuring what the platform costs, and for packing many guests side by side.

#![no_std]

mod arena;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let headers = Fields::new();
        _ = headers.append("content-type", b"text/plain");
        let response = OutgoingResponse::new(headers);
        let Ok(body) = response.body() else { return };
        let Ok(stream) = body.write() else { return };
        ResponseOutparam::set(out, Ok(response));
        _ = stream.blocking_write_and_flush(b"Hello, world!\n");
        drop(stream);
        _ = OutgoingBody::finish(body, None);
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
