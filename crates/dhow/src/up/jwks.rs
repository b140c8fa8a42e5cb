//! Fetches the keys of those who issue tokens, for functions that trust them. Whoever deploys names
//! the address, so it goes through the rule for what strangers name.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use dhow_core::access::MOST_KEY_SET;
use dhow_core::plan::egress::{Closed, EgressRule};
use dhow_gateway::guard::Fetch;
use http::Uri;
use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::cli::trust::Trust;

/// How long an issuer may take: calls wait for it.
const MOST_TIME: Duration = Duration::from_secs(5);

/// A GET that follows nobody anywhere else, to what `rule` leaves open alone, of so many bytes and
/// so much time at most.
pub(super) fn fetch(rule: Arc<EgressRule>) -> Fetch {
    // Made with the first address: it reads the system's authorities.
    let agent = Arc::new(LazyLock::new(move || agent(rule)));
    Arc::new(move |url| {
        let agent = Arc::clone(&agent);
        Box::pin(async move {
            let fetched = tokio::task::spawn_blocking(move || get(&agent, &url)).await;
            fetched.unwrap_or_else(|error| Err(error.to_string()))
        })
    })
}

fn agent(rule: Arc<EgressRule>) -> Agent {
    let config = Agent::config_builder()
        .tls_config(Trust::System.config())
        .http_status_as_error(true)
        .max_redirects(0)
        // A proxy would resolve the name itself, past the rule.
        .proxy(None)
        .timeout_global(Some(MOST_TIME))
        .user_agent(concat!("dhow/", env!("CARGO_PKG_VERSION")))
        .build();
    let names = Open { rule, names: DefaultResolver::default() };
    Agent::with_parts(config, DefaultConnector::default(), names)
}

/// Of a name's addresses those that are open: only to them is connected.
#[derive(Debug)]
struct Open {
    rule: Arc<EgressRule>,
    names: DefaultResolver,
}

/// None of them is.
#[derive(Debug, thiserror::Error)]
#[error("{address} may not be connected to: {why}; --egress-allow opens it")]
struct AllClosed {
    address: SocketAddr,
    why: Closed,
}

impl Resolver for Open {
    fn resolve(
        &self,
        url: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let (mut open, mut refused) = (self.empty(), None);
        for &address in &*self.names.resolve(url, config, timeout)? {
            // Only an address of this machine can be bound to.
            let is_ours = UdpSocket::bind((address.ip(), 0)).is_ok();
            match self.rule.check(address, is_ours) {
                Ok(()) => open.push(address),
                Err(why) => refused = Some(AllClosed { address, why }),
            }
        }
        match refused {
            Some(refused) if open.is_empty() => Err(ureq::Error::Other(Box::new(refused))),
            _ => Ok(open),
        }
    }
}

fn get(agent: &Agent, url: &str) -> Result<Bytes, String> {
    let mut answer = agent.get(url).call().map_err(|error| error.to_string())?;
    if answer.status() != http::StatusCode::OK {
        return Err(format!("the answer is {}", answer.status()));
    }
    let body = answer.body_mut().with_config().limit(MOST_KEY_SET as u64).read_to_vec();
    body.map(Bytes::from).map_err(|error| error.to_string())
}
