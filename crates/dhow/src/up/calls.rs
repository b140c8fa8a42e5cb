//! Asynchronous calls: the queue in the data folder, who runs it, and where callbacks may go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::gate::{Closed, Gate};
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
    /// The most bytes of asynchronous calls that share a sync; 1 is a sync for each of them
    #[arg(long, value_name = "SIZE", default_value = "8Mi", value_parser = |text: &str| parse_bytes(text))]
    async_batch: u64,
    /// How long a dead letter is kept
    #[arg(long, value_name = "TIME", default_value = "720h", value_parser = |text: &str| parse_duration(text))]
    dead_letters: Duration,
}

impl Args {
    /// What may be connected to on strangers' behalf, besides the public internet.
    pub(super) fn egress(&self) -> EgressRule {
        EgressRule { allowed: self.egress_allow.clone(), own: Vec::new() }
    }
}

/// How long calls that run may take to end when another dhow is to have the queue. The rest goes back
/// to it, and runs again there.
const HANDOVER: Duration = Duration::from_secs(5);

/// How often it is tried to open the queue again, and how often it is said that this fails.
const AGAIN: Duration = Duration::from_millis(100);
const COMPLAINT: u32 = 600;

/// The queue, closed until it is opened, and who runs it.
pub(super) struct Calls {
    gate: Gate,
    closed: Option<Closed>,
    open: Option<Open>,
    data: PathBuf,
    config: embedded::Config,
    running: runner::Config,
    times: Times,
    rule: Arc<EgressRule>,
    counts: Arc<Counts>,
    dispatch: Arc<dyn Dispatch>,
}

struct Open {
    /// Closed when it is given away.
    queue: EmbeddedQueue,
    /// Taken when it is to stop.
    runner: Option<Runner>,
}

/// Where this server connects for strangers: for callbacks, and for the keys of those who issue
/// tokens.
pub(super) fn rule(args: &Args, addresses: &Addresses) -> Arc<EgressRule> {
    Arc::new(EgressRule {
        allowed: args.egress_allow.clone(),
        own: vec![addresses.gateway, addresses.admin, addresses.metrics],
    })
}

impl Calls {
    /// The queue in the data folder, not opened yet: who asks for something waits.
    pub(super) fn new(
        args: &Args,
        data: &Path,
        rule: Arc<EgressRule>,
        metrics: &Metrics,
        dispatch: Arc<dyn Dispatch>,
    ) -> Self {
        let (gate, closed) = Gate::closed();
        let counts: Arc<Counts> = Arc::default();
        show(metrics, gate.clone(), counts.clone());
        Self {
            gate,
            closed: Some(closed),
            open: None,
            data: data.to_owned(),
            config: embedded::Config {
                space: args.async_space,
                dead_letters: args.dead_letters,
                batch: args.async_batch.max(1),
                ..embedded::Config::default()
            },
            running: runner::Config {
                queues: args.queues.iter().cloned().collect::<BTreeMap<_, _>>(),
                others: args.queue_places,
                callbacks: args.callback_places,
                threads: available_parallelism().map_or(1, usize::from),
                answer: ANSWER,
            },
            times: Times { connect: CONNECT, whole: args.callback_timeout },
            rule,
            counts,
            dispatch,
        }
    }

    /// The queue, as the ports see it.
    pub(super) fn gate(&self) -> Arc<Gate> {
        Arc::new(self.gate.clone())
    }

    /// What takes calls at the gateway.
    pub(super) fn front(
        &self,
        args: &Args,
        addresses: &Addresses,
        spoken: &Spoken,
    ) -> Asynchronous {
        Asynchronous {
            queue: self.gate(),
            rule: self.rule.clone(),
            most_body: args.async_body,
            admin_url: format!("{}://{}", scheme(spoken.admin.as_ref()), addresses.admin),
        }
    }

    /// Opens the queue and begins to run what is kept.
    pub(super) fn open(&mut self) -> Result<(), CommandError> {
        let queue = EmbeddedQueue::open(&self.data, self.config.clone()).map_err(failure)?;
        self.begin(queue)
    }

    /// Closes it, for another dhow to open. Returns when nobody has anything to do with it any more;
    /// calls that run, and bodies that come, are given [`HANDOVER`].
    pub(super) async fn let_go(&mut self) {
        let Some(Open { queue, runner }) = self.open.take() else { return };
        let stopped = async {
            if let Some(runner) = runner {
                runner.stop(HANDOVER).await;
            }
        };
        let (closed, ()) = tokio::join!(self.gate.close(HANDOVER), stopped);
        self.closed = Some(closed);
        if let Err(error) = spawn_blocking(move || queue.close()).await {
            tracing::error!(%error, "closing the queue broke off");
        }
    }

    /// Opens it anew after [`Self::let_go`]: the other one may have taken calls, and ended some,
    /// before it died. Whoever has the data folder's lock may do this. Until it succeeds, who asks
    /// for something waits.
    pub(super) async fn take_again(&mut self) {
        let mut tries = 0;
        while self.closed.is_some() {
            if let Err(error) = self.open() {
                if tries % COMPLAINT == 0 {
                    tracing::error!(%error, "the queue can't be opened again: asynchronous calls wait");
                }
                tries += 1;
                sleep(AGAIN).await;
            }
        }
    }

    /// Gives calls that run this long to end; the rest goes back to the queue.
    pub(super) async fn stop(&mut self, drain: Duration) {
        let open = self.open.as_mut();
        if let Some(runner) = open.and_then(|open| open.runner.take()) {
            runner.stop(drain).await;
        }
    }

    fn begin(&mut self, queue: EmbeddedQueue) -> Result<(), CommandError> {
        let callbacks = Callbacks::new(self.rule.clone(), self.times);
        let runner = Runner::start(
            self.running.clone(),
            Arc::new(queue.clone()),
            self.dispatch.clone(),
            callbacks,
            self.counts.clone(),
        );
        let runner = runner.map_err(failure)?;
        if let Some(closed) = self.closed.take() {
            closed.open(queue.clone());
        }
        self.open = Some(Open { queue, runner: Some(runner) });
        Ok(())
    }
}

fn show(metrics: &Metrics, queue: Gate, counts: Arc<Counts>) {
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
