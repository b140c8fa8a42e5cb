//! A request's body as a guest's standard input.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, ReadBuf};
use wasmtime_wasi::cli::{IsTerminal, StdinStream};
use wasmtime_wasi::p2::{InputStream, Pollable, StreamError};
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::p2::body::{HostIncomingBody, HostIncomingBodyStream};

/// Streams a body; every handle that the guest opens reads from the same place.
#[derive(Clone)]
pub(crate) struct BodyStdin(Arc<Mutex<HostIncomingBodyStream>>);

impl BodyStdin {
    pub(crate) fn new(body: WasiBody) -> Self {
        let stream = HostIncomingBody::new(body).take_stream();
        Self(Arc::new(Mutex::new(stream.expect("a new body has its stream"))))
    }
}

impl IsTerminal for BodyStdin {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for BodyStdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

impl InputStream for BodyStdin {
    fn read(&mut self, size: usize) -> Result<Bytes, StreamError> {
        self.0.lock().read(size)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for BodyStdin {
    async fn ready(&mut self) {
        // The lock is taken for each poll, not across them; `ready` keeps no state of its own.
        poll_fn(|cx| pin!(self.0.lock().ready()).poll(cx)).await;
    }
}

impl AsyncRead for BodyStdin {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut stream = self.0.lock();
        if pin!(stream.ready()).poll(cx).is_pending() {
            return Poll::Pending;
        }
        match stream.read(buffer.remaining()) {
            Ok(bytes) => buffer.put_slice(&bytes),
            Err(StreamError::Closed) => {}
            Err(error) => return Poll::Ready(Err(io::Error::other(error))),
        }
        Poll::Ready(Ok(()))
    }
}
