//! Fetches the keys of those who issue tokens, for functions that trust them.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use dhow_core::access::MOST_KEY_SET;
use dhow_gateway::guard::Fetch;
use ureq::Agent;

use crate::cli::trust::Trust;

/// How long an issuer may take: calls wait for it.
const MOST_TIME: Duration = Duration::from_secs(5);

/// A GET that follows nobody anywhere else, of so many bytes and so much time at most.
pub(super) fn fetch() -> Fetch {
    // Made with the first address: it reads the system's authorities.
    let agent = Arc::new(LazyLock::new(agent as fn() -> Agent));
    Arc::new(move |url| {
        let agent = Arc::clone(&agent);
        Box::pin(async move {
            let fetched = tokio::task::spawn_blocking(move || get(&agent, &url)).await;
            fetched.unwrap_or_else(|error| Err(error.to_string()))
        })
    })
}

fn agent() -> Agent {
    Agent::config_builder()
        .tls_config(Trust::System.config())
        .http_status_as_error(true)
        .max_redirects(0)
        .timeout_global(Some(MOST_TIME))
        .user_agent(concat!("dhow/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

fn get(agent: &Agent, url: &str) -> Result<Bytes, String> {
    let mut answer = agent.get(url).call().map_err(|error| error.to_string())?;
    if answer.status() != http::StatusCode::OK {
        return Err(format!("the answer is {}", answer.status()));
    }
    let body = answer.body_mut().with_config().limit(MOST_KEY_SET as u64).read_to_vec();
    body.map(Bytes::from).map_err(|error| error.to_string())
}
