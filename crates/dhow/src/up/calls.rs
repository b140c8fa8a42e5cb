//! Asynchronous calls: the queue in the data folder, who runs it, and where callbacks may go.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use dhow_core::name::Label;
use dhow_core::plan::egress::{Allowed, EgressRule};
use dhow_core::ports::Dispatch;
use dhow_core::quantity::{parse_bytes, parse_duration};
use dhow_gateway::asynchronous::Asynchronous;
use dhow_gateway::metrics::{AsyncFigures, Metrics};
use dhow_queue::callback::{Callbacks, Times};
use dhow_queue::embedded::{self, EmbeddedQueue};
use dhow_queue::runner::{self, Counts, Runner};

use super::tls::{Spoken, scheme};
use super::{Addresses, failure};
use crate::cli::error::CommandError;

/// Bytes of an answer that are kept for a callback or as a result.
const ANSWER: u64 = 4 << 20;
/// How long connecting for a callback may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Asynchronous calls: how many at once, how much is kept, where callbacks go.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// How many calls of a named queue run at once; may be repeated
    #[arg(long = "queue", value_name = "NAME=N", value_parser = named_places)]
    queues: Vec<(Label, u32)>,
    /// How many calls of every other queue run at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    queue_places: u32,
    /// How many callbacks are delivered at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    callback_places: u32,
    /// How long one delivery of a callback may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = |text: &str| parse_duration(text))]
    callback_timeout: Duration,
    /// Addresses that may be connected to though they are this machine's or private; may be repeated
    #[arg(long, value_name = "ADDR[/PREFIX][:PORT]")]
    egress_allow: Vec<Allowed>,
    /// The most bytes of an asynchronous call's body
    #[arg(long, value_name = "SIZE", default_value = "16Mi", value_parser = |text: &str| parse_bytes(text))]
    async_body: u64,
    /// The most bytes of all asynchronous calls that are kept
    #[arg(long, value_name = "SIZE", default_value = "1Gi", value_parser = |text: &str| parse_bytes(text))]
    async_space: u64,
    /// How long a dead letter is kept
    #[arg(long, value_name = "TIME", default_value = "720h", value_parser = |text: &str| parse_duration(text))]
    dead_letters: Duration,
}

/// The queue, and what may begin once functions can be called.
pub(super) struct Calls {
    pub(super) queue: EmbeddedQueue,
    rule: Arc<EgressRule>,
    counts: Arc<Counts>,
}

impl Calls {
    /// Opens the queue in the data folder.
    pub(super) fn open(
        args: &Args,
        data: &Path,
        addresses: &Addresses,
        metrics: &Metrics,
    ) -> Result<Self, CommandError> {
        let config = embedded::Config {
            space: args.async_space,
            dead_letters: args.dead_letters,
            ..embedded::Config::default()
        };
        let queue = EmbeddedQueue::open(data, config).map_err(failure)?;
        let rule = Arc::new(EgressRule {
            allowed: args.egress_allow.clone(),
            own: vec![addresses.gateway, addresses.admin, addresses.metrics],
        });
        let counts: Arc<Counts> = Arc::default();
        show(metrics, queue.clone(), counts.clone());
        Ok(Self { queue, rule, counts })
    }

    /// What takes calls at the gateway.
    pub(super) fn front(
        &self,
        args: &Args,
        addresses: &Addresses,
        spoken: &Spoken,
    ) -> Asynchronous {
        Asynchronous {
            queue: Arc::new(self.queue.clone()),
            rule: self.rule.clone(),
            most_body: args.async_body,
            admin_url: format!("{}://{}", scheme(spoken.admin.as_ref()), addresses.admin),
        }
    }

    /// Begins to run what is kept.
    pub(super) fn run(
        &self,
        args: &Args,
        dispatch: Arc<dyn Dispatch>,
    ) -> Result<Runner, CommandError> {
        let config = runner::Config {
            queues: args.queues.iter().cloned().collect::<BTreeMap<_, _>>(),
            others: args.queue_places,
            callbacks: args.callback_places,
            threads: available_parallelism().map_or(1, usize::from),
            answer: ANSWER,
        };
        let times = Times { connect: CONNECT, whole: args.callback_timeout };
        let callbacks = Callbacks::new(self.rule.clone(), times);
        let queue = Arc::new(self.queue.clone());
        Runner::start(config, queue, dispatch, callbacks, self.counts.clone()).map_err(failure)
    }
}

fn show(metrics: &Metrics, queue: EmbeddedQueue, counts: Arc<Counts>) {
    use dhow_core::ports::CallQueue as _;
    metrics.set_asynchronous(Box::new(move || AsyncFigures {
        queue: queue.figures(),
        attempts: counts.read().map(|(work, end, count)| (work, end.as_str(), count)).collect(),
    }));
}

fn named_places(text: &str) -> Result<(Label, u32), String> {
    let (name, places) = text.split_once('=').ok_or("it is not NAME=N")?;
    let name = name.parse().map_err(|error| format!("the queue's name: {error}"))?;
    match places.parse() {
        Ok(places @ 1..) => Ok((name, places)),
        _ => Err(format!("`{places}` is no number of calls from 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_named_with_its_places() {
        let slow: Label = "slow".parse().unwrap();
        assert_eq!(named_places("slow=4"), Ok((slow, 4)));
        for wrong in ["slow", "slow=0", "slow=x", "=1", "Slow=1", "slow=-1"] {
            assert!(named_places(wrong).is_err(), "{wrong}");
        }
    }
}
