//! Connections: the name is resolved here, each address is asked about, and the one that was asked
//! about is connected to. A name that resolves to something else a moment later changes nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use dhow_core::network::Scheme;
use dhow_core::outbound::CONNECT;
use dhow_core::plan::outbound::{Denied, Outbound, Place};
use http::{Method, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use crate::Shared;

/// Addresses of a name that are tried.
const ADDRESSES: usize = 8;

/// Connects where the rule lets it.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) shared: Arc<Shared>,
    pub(crate) rule: Outbound,
    /// The method that its connections are for; `None` is those that no rule names.
    pub(crate) method: Option<Method>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The address may not be connected to.
    #[error("{address}: {why}")]
    Denied {
        /// The last that was refused.
        address: SocketAddr,
        /// Why.
        why: Denied,
    },
    /// The URL is none that can be connected to.
    #[error("the URL names no host")]
    NoHost,
    /// The name is not known.
    #[error("{0}")]
    Name(io::Error),
    /// Nobody answers.
    #[error("{0}: {1}")]
    Io(SocketAddr, io::Error),
    /// Nobody answers in time.
    #[error("nobody answers in time")]
    Slow,
}

impl Connector {
    async fn connect(self, url: Uri) -> Result<TokioIo<TcpStream>, ConnectError> {
        let host = url.host().ok_or(ConnectError::NoHost)?;
        let (scheme, usual) = match url.scheme_str() {
            Some("http") => (Scheme::Http, 80),
            Some("https") => (Scheme::Https, 443),
            _ => return Err(ConnectError::NoHost),
        };
        let port = url.port_u16().unwrap_or(usual);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let found = addresses(&self.shared, host, port);
        let found = timeout(CONNECT, found).await.map_err(|_| ConnectError::Slow)??;
        let nothing = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        let mut failed = ConnectError::Name(nothing);
        for address in found.into_iter().take(ADDRESSES) {
            let may =
                self.rule.may_connect(scheme, self.method.as_ref(), address, is_ours(address));
            failed = match may {
                Err(why) => ConnectError::Denied { address, why },
                Ok(()) => match timeout(CONNECT, TcpStream::connect(address)).await {
                    Ok(Ok(stream)) => {
                        // Small requests must not wait for more of them; a socket that refuses the
                        // option serves all the same.
                        drop(stream.set_nodelay(true));
                        return Ok(TokioIo::new(stream));
                    }
                    Ok(Err(error)) => ConnectError::Io(address, error),
                    Err(_) => ConnectError::Slow,
                },
            };
        }
        Err(failed)
    }
}

/// The addresses of `host`: a name's by DNS, an address's and this machine's without asking.
async fn addresses(
    shared: &Shared,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, ConnectError> {
    Ok(match Place::of(host) {
        Place::Address(ip) => vec![SocketAddr::new(ip, port)],
        Place::Localhost => [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
            .map(|ip| SocketAddr::new(ip, port))
            .to_vec(),
        // A function has no address.
        Place::Function(_) => return Err(ConnectError::NoHost),
        Place::Name(name) => {
            shared.resolve.resolve(&name, port).await.map_err(ConnectError::Name)?
        }
    })
}

/// Whether an address is this machine's: only then can a socket be bound to it.
fn is_ours(address: SocketAddr) -> bool {
    UdpSocket::bind((address.ip(), 0)).is_ok()
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        Box::pin(self.clone().connect(url))
    }
}
