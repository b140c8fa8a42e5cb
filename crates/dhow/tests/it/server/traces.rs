//! Traces and metrics at a real OpenTelemetry collector, which hands on as JSON what it took.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::asynchronous::accepted;
use super::rig::{Server, refused, up, wait_for};
use super::sink::Sink;

/// A collector that runs, and what it took.
struct Collector {
    process: Child,
    endpoint: String,
    taken: Receiver<(String, Value)>,
    _folder: TempDir,
}

impl Collector {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (sender, taken) = channel();
        let sink = TcpListener::bind("127.0.0.1:0").unwrap();
        let sink_address = sink.local_addr().unwrap();
        thread::spawn(move || {
            for stream in sink.incoming().flatten() {
                let sender = sender.clone();
                thread::spawn(move || take(stream, &sender));
            }
        });
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: '{port}'}}}}}}}}\n\
             exporters:\n  otlphttp:\n    endpoint: http://{sink_address}\n    encoding: json\n\
             \x20   compression: none\n    retry_on_failure: {{enabled: false}}\n\
             \x20   sending_queue: {{enabled: false}}\n\
             service:\n  pipelines:\n\
             \x20   traces: {{receivers: [otlp], exporters: [otlphttp]}}\n\
             \x20   metrics: {{receivers: [otlp], exporters: [otlphttp]}}\n"
        );
        let file = folder.path().join("collector.yaml");
        std::fs::write(&file, config).unwrap();
        let process = Command::new(otelcol())
            .arg(format!("--config=file:{}", file.display()))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("otelcol; `./x test` builds it of tools/otelcol");
        wait_for(|| TcpStream::connect(port).ok());
        Self { process, endpoint: format!("http://{port}"), taken, _folder: folder }
    }

    /// The next thing taken of which `wanted` makes something.
    fn next<T>(&self, mut wanted: impl FnMut(&str, &Value) -> Option<T>) -> T {
        loop {
            let (path, value) = self.taken.recv_timeout(Duration::from_secs(60)).unwrap();
            if let Some(found) = wanted(&path, &value) {
                return found;
            }
        }
    }
}

/// Where `./x test` builds it, when it is not on the path.
fn otelcol() -> PathBuf {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/dhow"));
    let cache = std::env::var_os("DHOW_CACHE").map(PathBuf::from).or_else(home);
    let built = cache.map(|cache| cache.join("tools/bin/otelcol")).filter(|built| built.exists());
    built.unwrap_or_else(|| "otelcol".into())
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Takes requests of one connection, each a JSON value.
fn take(stream: TcpStream, sender: &Sender<(String, Value)>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => head.push(line),
            }
        }
        let path = head[0].split(' ').nth(1).unwrap().to_owned();
        let length = head.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
        });
        let mut body = vec![0; length.expect("a length")];
        reader.read_exact(&mut body).unwrap();
        // Whoever no longer listens has seen enough.
        drop(sender.send((path, serde_json::from_slice(&body).unwrap())));
        let answer =
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
    }
}

/// Every span of a request, by its name.
fn spans(value: &Value) -> Vec<Value> {
    let lists = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let scopes = lists(value, "resourceSpans").into_iter().flat_map(|it| lists(&it, "scopeSpans"));
    scopes.flat_map(|scope| lists(&scope, "spans")).collect()
}

fn attributes(of: &Value) -> HashMap<String, Value> {
    let list = of["attributes"].as_array().cloned().unwrap_or_default();
    let pair = |one: &Value| {
        let value = one["value"].as_object().unwrap().values().next().unwrap().clone();
        (one["key"].as_str().unwrap().to_owned(), value)
    };
    list.iter().map(pair).collect()
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[test]
fn a_call_is_a_span_that_joins_its_callers_trace_and_is_the_guests_parent() {
    let collector = Collector::start();
    let folder = tempfile::tempdir().unwrap();
    let mut command = up(folder.path(), &["--otlp", &collector.endpoint]);
    command.env("OTEL_BSP_SCHEDULE_DELAY", "100").env("OTEL_METRIC_EXPORT_INTERVAL", "200");
    command.env("OTEL_SERVICE_NAME", "shop").env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
    let server = Server::run(command, folder);
    server.deploy("http-kit", &["--route", "/panic"]);

    let parent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [("traceparent", parent.as_str()), ("tracestate", "a=1")];
    let answer = server.call("GET", "/function/http-kit/headers?secret=x", &headers, b"");
    let told = answer.text().to_lowercase();
    let told = told.split("traceparent").nth(1).expect("the guest is told").to_owned();
    let told = &told[told.find("00-").unwrap()..][..55];
    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-01"), "{told}");
    let (service, taken) = collector.next(|path, value| {
        let found = spans(value);
        let service = attributes(&value["resourceSpans"][0]["resource"]);
        (path == "/v1/traces" && !found.is_empty()).then_some((service, found))
    });
    assert_eq!(service["service.name"], "shop");
    let call = &taken[0];
    assert_eq!(call["name"], "GET /function/http-kit");
    assert_eq!(call["traceId"], TRACE);
    assert_eq!(call["parentSpanId"], CALLER);
    assert_eq!(call["traceState"], "a=1");
    assert_eq!(call["spanId"], told[36..52], "the guest's parent is not the call's span");
    let of_call = attributes(call);
    assert_eq!(of_call["faas.name"], "http-kit");
    assert_eq!(of_call["faas.version"], "1");
    assert_eq!(of_call["faas.coldstart"], true);
    assert_eq!(of_call["dhow.outcome"], "ok");
    assert_eq!(of_call["url.path"], "/function/http-kit/headers");
    assert_eq!(of_call["http.response.status_code"], "200");
    let id = answer.headers["x-call-id"].to_str().unwrap();
    assert_eq!(of_call["faas.invocation_id"], id);
    let phases: Vec<_> = taken[1..].iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(phases, ["load", "instantiate", "run"]);
    assert!(taken[1..].iter().all(|span| span["parentSpanId"] == call["spanId"]));

    // Nobody called this one: its trace has the call's id. And it fails.
    let answer = server.get("/panic");
    let id = answer.headers["x-call-id"].to_str().unwrap();
    let is_it = |span: &Value| span["name"] == "GET /panic";
    let failed = collector.next(|_, value| spans(value).into_iter().find(is_it));
    assert_eq!(failed["traceId"], id);
    assert_eq!(failed["status"]["code"], 2);
    assert_eq!(attributes(&failed)["error.type"], "trap");
    // Whoever is not followed elsewhere is not followed here.
    let quiet = format!("00-{TRACE}-{CALLER}-00");
    server.call("GET", "/function/http-kit/", &[("traceparent", &quiet)], b"");
    server.get("/function/http-kit/count");
    let next = collector.next(|_, value| spans(value).into_iter().next());
    assert_eq!(attributes(&next)["url.path"], "/function/http-kit/count");

    let counted = collector.next(|path, value| {
        let metrics = value["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array()?;
        assert_eq!(path, "/v1/metrics");
        let metric = metrics.iter().find(|it| it["name"] == "dhow_invocations_total")?;
        let points = metric["sum"]["dataPoints"].as_array()?;
        let ok = points.iter().find(|point| attributes(point)["outcome"] == "ok")?;
        Some((attributes(ok)["function"].clone(), ok["asDouble"].as_f64()?))
            .filter(|it| it.1 >= 3.0)
    });
    assert_eq!(counted, (Value::from("http-kit"), 3.0));
    let sent = || server.metric("dhow_traced_calls_total{result=\"sent\"}");
    assert_eq!(wait_for(|| sent().filter(|sent| *sent >= 3.0)), 3.0);
}

#[test]
fn a_call_that_is_answered_later_stays_in_its_callers_trace_and_its_callback_too() {
    let (collector, sink) = (Collector::start(), Sink::start());
    let folder = tempfile::tempdir().unwrap();
    let mut command =
        up(folder.path(), &["--otlp", &collector.endpoint, "--egress-allow", &sink.address()]);
    command.env("OTEL_BSP_SCHEDULE_DELAY", "100");
    let server = Server::run(command, folder);
    server.deploy("hello", &[]);
    let (parent, hook) = (format!("00-{TRACE}-{CALLER}-01"), sink.url("/hook"));
    let headers =
        [("traceparent", parent.as_str()), ("tracestate", "a=1"), ("x-callback-url", &hook)];
    let call = accepted(&server.call("POST", "/async-function/hello", &headers, b""));
    let got = wait_for(|| sink.take(&call));
    let span = collector.next(|_, value| spans(value).into_iter().next());
    assert_eq!(span["name"], "POST /function/hello");
    assert_eq!((&span["traceId"], &span["parentSpanId"]), (&TRACE.into(), &CALLER.into()));
    assert_eq!(attributes(&span)["faas.invocation_id"], call.as_str());
    let told = format!("00-{TRACE}-{}-01", span["spanId"].as_str().unwrap());
    assert_eq!(got.headers["traceparent"], told);
    assert_eq!(got.headers["tracestate"], "a=1");
}

#[test]
fn what_is_left_is_sent_at_the_end() {
    let collector = Collector::start();
    let mut server = Server::with(&["--otlp", &collector.endpoint]);
    server.deploy("hello", &[]);
    server.get("/function/hello");
    server.signal("TERM");
    let span = collector.next(|_, value| spans(value).into_iter().next());
    assert_eq!(span["name"], "GET /function/hello");
    wait_for(|| server.has_ended().then_some(()));
}

#[test]
fn without_a_collector_calls_go_on_and_lost_spans_are_counted() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = up(folder.path(), &["--otlp", &format!("http://{nobody}")]);
    command.env("OTEL_BSP_MAX_QUEUE_SIZE", "1").env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1");
    let server = Server::run(command, folder);
    server.deploy("hello", &[]);
    let dropped = || server.metric("dhow_traced_calls_total{result=\"dropped\"}");
    wait_for(|| {
        assert_eq!(server.get("/function/hello").status, 200);
        dropped().filter(|dropped| *dropped >= 3.0)
    });
}

#[test]
fn without_an_endpoint_a_callers_trace_passes_through() {
    let server = Server::start();
    server.deploy("http-kit", &[]);
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [("traceparent", parent.as_str()), ("tracestate", "a=1")];
    let told = server.call("GET", "/function/http-kit/headers", &headers, b"").text();
    assert!(told.contains(&parent) && told.contains("a=1"), "{told}");
    assert!(!server.get("/function/http-kit/headers").text().contains("traceparent"));
    assert_eq!(server.metric("dhow_traced_calls_total{result=\"sent\"}"), None);
}

#[test]
fn what_makes_no_sense_is_refused_with_every_variable() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = up(folder.path(), &["--otlp", "http://127.0.0.1:1"]);
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").env("OTEL_TRACES_SAMPLER", "sometimes");
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer hush,nonsense");
    let said = refused(command);
    for variable in ["_PROTOCOL is `grpc`", "OTEL_TRACES_SAMPLER is `sometimes`", "_HEADERS"] {
        assert!(said.contains(variable), "{variable} is not in\n{said}");
    }
    assert!(!said.contains("hush"), "{said}");
}
