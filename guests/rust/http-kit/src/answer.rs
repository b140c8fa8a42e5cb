//! A response whose head is sent at once and whose body follows piece by piece.

use wasip2::http::types::{Fields, OutgoingBody, OutgoingResponse, ResponseOutparam, Trailers};
use wasip2::io::streams::{OutputStream, StreamError};

/// Dropped before `finish`, the host has to take the body for cut short.
pub(crate) struct Answer {
    // Before the body: a stream is a child of it and goes first.
    stream: OutputStream,
    body: OutgoingBody,
}

impl Answer {
    pub(crate) fn start(out: ResponseOutparam, status: u16, headers: Fields) -> Self {
        let response = OutgoingResponse::new(headers);
        response.set_status_code(status).expect("a valid status");
        let body = response.body().expect("the first body");
        let stream = body.write().expect("the first stream");
        ResponseOutparam::set(out, Ok(response));
        Self { stream, body }
    }

    /// Returns when the host has taken all of it. An error means that nobody listens any more.
    pub(crate) fn write(&self, mut bytes: &[u8]) -> Result<(), StreamError> {
        while !bytes.is_empty() {
            let room = self.stream.check_write()? as usize;
            if room == 0 {
                self.stream.subscribe().block();
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.stream.write(now)?;
            bytes = later;
        }
        self.stream.blocking_flush()
    }

    pub(crate) fn finish(self, trailers: Option<Trailers>) {
        drop(self.stream);
        _ = OutgoingBody::finish(self.body, trailers);
    }
}

/// A whole answer of plain text.
pub(crate) fn text(out: ResponseOutparam, status: u16, body: &str) {
    let headers = Fields::new();
    headers.append("content-type", b"text/plain").expect("a plain header");
    let answer = Answer::start(out, status, headers);
    let bodiless = matches!(status, 100..=199 | 204 | 304);
    if bodiless || answer.write(body.as_bytes()).is_ok() {
        answer.finish(None);
    }
}
