//! The tasks that send, and their end.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use dhow_core::metric::Family;
use dhow_core::ports::Traces;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, MetricConfig, TraceConfig};
use crate::metrics::{self, Span};
use crate::resource::Resource;
use crate::send::{SendError, Sender, TlsError};
use crate::spans;
use crate::trace::{Counts, Ended, Tracer};

/// How long the end waits for what is still to be sent.
const GRACE: Duration = Duration::from_secs(5);
/// How often at most it is said that nothing arrives.
const COMPLAINT: Duration = Duration::from_secs(60);

/// Sends until it is stopped.
pub struct Exporter {
    tracer: Option<Arc<Tracer>>,
    counts: Arc<Counts>,
    tasks: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

/// What became of calls that were followed, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Calls whose spans the collector took.
    pub sent: u64,
    /// Those whose spans the queue or the collector did not take.
    pub dropped: u64,
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// TLS can't be had.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Exporter {
    /// Starts to send, on the current runtime. `families` says the metrics whenever it is asked.
    ///
    /// # Errors
    /// When the TLS that was asked for can't be set up. That nobody answers is no error: a
    /// collector may come later.
    pub fn start(
        config: Config,
        families: impl Fn() -> Vec<Family> + Send + 'static,
    ) -> Result<Self, StartError> {
        let Config { resource, traces, metrics } = config;
        let (stop, counts) = (CancellationToken::new(), Arc::new(Counts::default()));
        let (mut tasks, mut tracer) = (vec![], None);
        if let Some(config) = traces {
            let sender = Sender::new(&config.endpoint)?;
            let (made, ended) = Tracer::new(config.sampler, config.queue, counts.clone());
            tracer = Some(Arc::new(made));
            let (resource, stop, counts) = (resource.clone(), stop.clone(), counts.clone());
            let calls = Calls { sender, resource, counts, complaint: Complaint::default() };
            tasks.push(tokio::spawn(calls.run(ended, config, stop)));
        }
        if let Some(config) = metrics {
            let sender = Sender::new(&config.endpoint)?;
            tasks.push(tokio::spawn(tell(sender, resource, families, config, stop.clone())));
        }
        Ok(Self { tracer, counts, tasks, stop })
    }

    /// What follows calls, if calls are to be followed.
    pub fn traces(&self) -> Option<Arc<dyn Traces>> {
        self.tracer.clone().map(|tracer| tracer as Arc<dyn Traces>)
    }

    /// Says, whenever it is called, what became of calls that were followed.
    pub fn figures(&self) -> impl Fn() -> Figures + Send + 'static {
        let counts = self.counts.clone();
        move || Figures { sent: counts.sent.load(Relaxed), dropped: counts.dropped.load(Relaxed) }
    }

    /// Sends what is left, for at most 5 s.
    pub async fn stop(self) {
        self.stop.cancel();
        let all = async {
            for task in self.tasks {
                // A task that panicked has said so.
                drop(task.await);
            }
        };
        if timeout(GRACE, all).await.is_err() {
            tracing::warn!("the collector did not take what was left to send at the end");
        }
    }
}

/// Sends calls.
struct Calls {
    sender: Sender,
    resource: Resource,
    counts: Arc<Counts>,
    complaint: Complaint,
}

impl Calls {
    async fn run(
        mut self,
        mut queue: mpsc::Receiver<Ended>,
        config: TraceConfig,
        stop: CancellationToken,
    ) {
        let mut batch = Vec::new();
        loop {
            let fill = async {
                while batch.len() < config.batch {
                    let room = config.batch - batch.len();
                    if queue.recv_many(&mut batch, room).await == 0 {
                        return;
                    }
                }
            };
            tokio::select! {
                biased;
                () = fill => {}
                () = sleep(config.delay) => {}
                () = stop.cancelled() => {}
            }
            if !batch.is_empty() {
                self.send(&batch).await;
                batch.clear();
            } else if stop.is_cancelled() {
                return;
            }
        }
    }

    async fn send(&mut self, calls: &[Ended]) {
        let sent = self.sender.send(&spans::request(&self.resource, calls)).await;
        let calls = calls.len() as u64;
        let refused = match &sent {
            Ok(answer) => rejected_calls(answer, calls),
            Err(_) => calls,
        };
        self.counts.sent.fetch_add(calls - refused, Relaxed);
        self.counts.dropped.fetch_add(refused, Relaxed);
        self.complaint.hear("traces", refused, sent.err());
    }
}

/// Calls of which the collector says that it did not take the spans. It counts spans, of which a
/// call has several; which ones it does not say.
fn rejected_calls(answer: &[u8], calls: u64) -> u64 {
    let answer = ExportTraceServiceResponse::decode(answer).ok();
    let rejected =
        answer.and_then(|answer| answer.partial_success).map_or(0, |it| it.rejected_spans);
    u64::try_from(rejected).unwrap_or(0).min(calls)
}

/// Sends the metrics at each interval, and once more at the end.
async fn tell(
    sender: Sender,
    resource: Resource,
    families: impl Fn() -> Vec<Family> + Send,
    config: MetricConfig,
    stop: CancellationToken,
) {
    let began = SystemTime::now();
    let mut complaint = Complaint::default();
    let mut over = false;
    while !over {
        tokio::select! {
            () = sleep(config.interval) => {}
            () = stop.cancelled() => over = true,
        }
        let span = Span { began, now: SystemTime::now() };
        let sent = sender.send(&metrics::request(&resource, &families(), span)).await;
        let refused = match &sent {
            Ok(answer) => {
                let answer = ExportMetricsServiceResponse::decode(&answer[..]).ok();
                answer.and_then(|it| it.partial_success).map_or(0, |it| it.rejected_data_points)
            }
            Err(_) => 1,
        };
        complaint.hear("metrics", u64::try_from(refused).unwrap_or(0), sent.err());
    }
}

/// Says that something does not arrive, not too often.
#[derive(Default)]
struct Complaint {
    refused: u64,
    said: Option<Instant>,
}

impl Complaint {
    fn hear(&mut self, signal: &str, refused: u64, error: Option<SendError>) {
        self.refused += refused;
        if refused == 0 || self.said.is_some_and(|at| at.elapsed() < COMPLAINT) {
            return;
        }
        let why = error.map_or_else(|| "it took a part alone".to_owned(), |it| it.to_string());
        tracing::warn!(signal, lost = self.refused, why, "the collector does not take everything");
        *self = Self { refused: 0, said: Some(Instant::now()) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use dhow_core::call::CallId;
    use dhow_core::name::FunctionName;
    use http::Request;
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest,
    };

    use super::*;
    use crate::config::Options;
    use crate::trace::tests::outcome;

    fn config(endpoint: &str, variables: &[(&str, &str)]) -> Config {
        let options = Options { endpoint: Some(endpoint.to_owned()), ratio: None };
        let environment = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Config::read(&options, environment, "1.2.3").unwrap().unwrap()
    }

    /// A collector that answers one request after another, and what it was sent.
    fn collector(
        answers: Vec<(&'static str, Vec<u8>)>,
    ) -> (String, thread::JoinHandle<Vec<Vec<u8>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = thread::spawn(move || {
            let serve = |(status, answer): (&str, Vec<u8>)| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = vec![];
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.extend(byte);
                }
                let head = String::from_utf8(head).unwrap().to_lowercase();
                assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
                assert!(head.contains("content-type: application/x-protobuf"), "{head}");
                assert!(head.contains("authorization: bearer hush"), "{head}");
                let length = head.split("content-length: ").nth(1).unwrap();
                let length = length.split('\r').next().unwrap().parse().unwrap();
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                write!(
                    stream,
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    answer.len()
                )
                .unwrap();
                stream.write_all(&answer).unwrap();
                body
            };
            answers.into_iter().map(serve).collect()
        });
        (address, serving)
    }

    const QUIET: [(&str, &str); 3] = [
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer hush"),
        ("OTEL_BSP_SCHEDULE_DELAY", "60000"),
    ];

    async fn send_calls(address: &str, calls: u128) -> Figures {
        // One request, as soon as the last call has ended.
        let (batch, count) = ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", calls.to_string());
        let variables = [&QUIET[..], &[(batch, count.as_str())]].concat();
        let exporter = Exporter::start(config(address, &variables), Vec::new).unwrap();
        let (traces, figures) = (exporter.traces().unwrap(), exporter.figures());
        let name = FunctionName::parse("f").unwrap();
        for call in 1..=calls {
            let mut parts = Request::new(()).into_parts().0;
            let trace = traces.begin(CallId(call), &mut parts, "/", "/").unwrap();
            traces.ended(&name, trace, &outcome());
        }
        let done = async {
            while u128::from(figures().sent + figures().dropped) < calls {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(60), done).await.expect("a figure for each call");
        exporter.stop().await;
        figures()
    }

    #[tokio::test]
    async fn a_collector_that_is_busy_is_asked_again() {
        let busy = ("503 Busy", vec![]);
        let (address, serving) = collector(vec![busy, ("200 OK", vec![])]);
        assert_eq!(send_calls(&address, 3).await, Figures { sent: 3, dropped: 0 });
        let bodies = serving.join().unwrap();
        assert_eq!(bodies[0], bodies[1]);
        let request = ExportTraceServiceRequest::decode(&bodies[1][..]).unwrap();
        assert_eq!(request.resource_spans[0].scope_spans[0].spans.len(), 3);
    }

    #[tokio::test]
    async fn what_the_collector_refuses_is_counted() {
        let (address, serving) = collector(vec![("400 No", vec![])]);
        assert_eq!(send_calls(&address, 2).await, Figures { sent: 0, dropped: 2 });
        serving.join().unwrap();
        let partial = ExportTracePartialSuccess { rejected_spans: 1, ..Default::default() };
        let answer = ExportTraceServiceResponse { partial_success: Some(partial) };
        let (address, serving) = collector(vec![("200 OK", answer.encode_to_vec())]);
        assert_eq!(send_calls(&address, 2).await, Figures { sent: 1, dropped: 1 });
        serving.join().unwrap();
    }
}
