//! The least that an HTTP server in Rust can do: hyper, tokio, one fixed answer. What everything
//! else is measured against.
//!
//! `hyper-plain ADDRESS` is one runtime whose workers share the connections; `hyper-plain ADDRESS
//! per-core` is a runtime and a listener for each core, among which the kernel spreads them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::thread;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Builder;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let cores = thread::available_parallelism()?.get();
    match args.next().as_deref() {
        None => {
            let runtime = Builder::new_multi_thread().worker_threads(cores).enable_all().build()?;
            runtime.block_on(async { serve(listen(address)?).await })
        }
        Some("per-core") => {
            let one = move || -> io::Result<()> {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async { serve(listen(address)?).await })
            };
            let others: Vec<_> = (1..cores).map(|_| thread::spawn(one)).collect();
            one()?;
            others.into_iter().try_for_each(|other| other.join().map_err(|_| panicked())?)
        }
        Some(other) => Err(io::Error::other(format!("{other:?} is not `per-core`"))),
    }
}

fn panicked() -> io::Error {
    io::Error::other("a thread panicked")
}

/// Several may listen on one address.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = service_fn(|_: Request<Incoming>| async {
            let body = Full::new(Bytes::from_static(b"Hello, world!\n"));
            Ok::<_, Infallible>(Response::new(body))
        });
        tokio::spawn(async move {
            // A connection that breaks off is the client's business.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
        });
    }
}
