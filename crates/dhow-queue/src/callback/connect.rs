//! Connections to where a stranger points: the name is resolved here, each address is asked
//! about, and the one that was asked about is connected to. A name that resolves to something
//! else a moment later changes nothing.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dhow_core::plan::egress::{Closed, EgressRule};
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tower_service::Service;

/// Addresses of a name that are tried.
const ADDRESSES: usize = 8;

/// Connects where the rule lets it.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) rule: Arc<EgressRule>,
    /// For resolving, and for each address.
    pub(super) wait: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The address may not be connected to.
    #[error("{address} may not be connected to: {why}")]
    Closed {
        /// The last that was refused.
        address: SocketAddr,
        /// Why.
        why: Closed,
    },
    /// The URL has no host.
    #[error("the URL names no host")]
    NoHost,
    /// The name is not known.
    #[error("the name {0} can't be resolved: {1}")]
    Name(String, io::Error),
    /// Nobody answers.
    #[error("{0}: {1}")]
    Io(SocketAddr, io::Error),
    /// Nobody answers in time.
    #[error("{0} does not answer")]
    Slow(String),
}

impl Connector {
    async fn connect(self, url: Uri) -> Result<TokioIo<TcpStream>, ConnectError> {
        let host = url.host().ok_or(ConnectError::NoHost)?;
        let port = url.port_u16().unwrap_or_else(|| match url.scheme_str() {
            Some("https") => 443,
            _ => 80,
        });
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let slow = |_| ConnectError::Slow(host.to_owned());
        let found = timeout(self.wait, lookup_host((name, port))).await.map_err(slow)?;
        let found = found.map_err(|error| ConnectError::Name(host.to_owned(), error))?;
        let nothing = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        let mut failed = ConnectError::Name(host.to_owned(), nothing);
        for address in found.take(ADDRESSES) {
            failed = match self.rule.check(address, is_ours(address)) {
                Err(why) => ConnectError::Closed { address, why },
                Ok(()) => match timeout(self.wait, TcpStream::connect(address)).await {
                    Ok(Ok(stream)) => return Ok(TokioIo::new(stream)),
                    Ok(Err(error)) => ConnectError::Io(address, error),
                    Err(_) => ConnectError::Slow(address.to_string()),
                },
            };
        }
        Err(failed)
    }
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn connect(rule: EgressRule, url: String) -> Result<(), ConnectError> {
        let connector = Connector { rule: Arc::new(rule), wait: Duration::from_secs(5) };
        connector.connect(url.parse().unwrap()).await.map(drop)
    }

    #[tokio::test]
    async fn a_name_of_a_closed_address_is_refused_after_it_was_resolved() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let allowed = || EgressRule {
            allowed: vec![format!("127.0.0.1:{port}").parse().unwrap()],
            own: vec![],
        };
        for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]"] {
            let url = || format!("http://{host}:{port}/");
            let refused = connect(EgressRule::default(), url()).await.unwrap_err();
            assert!(matches!(refused, ConnectError::Closed { .. }), "{host}: {refused}");
            connect(allowed(), url()).await.unwrap();
        }
        let own = EgressRule {
            allowed: vec!["127.0.0.0/8".parse().unwrap()],
            own: vec![SocketAddr::from(([0, 0, 0, 0], port))],
        };
        let refused = connect(own, format!("http://127.0.0.1:{port}/")).await.unwrap_err();
        assert!(matches!(refused, ConnectError::Closed { why: Closed::Own, .. }), "{refused}");
    }

    #[test]
    fn an_address_is_ours_when_it_can_be_bound() {
        assert!(is_ours("127.0.0.1:1".parse().unwrap()));
        assert!(!is_ours("192.0.2.1:1".parse().unwrap()));
    }
}
