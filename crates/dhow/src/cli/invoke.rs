//! `dhow invoke NAME`: one call, as a client on the network would make it.

use std::fs;
use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use clap_complete::engine::ArgValueCompleter;
use dhow_core::name::FunctionName;
use dhow_core::outcome::Reason;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use ureq::Body;

use super::client::{Client, did_you_mean};
use super::complete;
use super::error::CommandError;
use super::output::Output;
use super::settings::{Settings, base_url, short_name};
use super::units::{length, mebibytes};
use super::wire::CallOutcome;

/// What was typed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// The function: NAME or NAME.NAMESPACE
    #[arg(add = ArgValueCompleter::new(complete::functions))]
    pub name: String,
    /// The request's body: text, @FILE, or - for stdin
    #[arg(long, short, value_name = "DATA|@FILE|-", allow_hyphen_values = true)]
    pub data: Option<String>,
    /// Show the answer's head before its body, and what the call used after it
    #[arg(long, short)]
    pub include: bool,
    /// The request's method [default: GET, or POST with --data]
    #[arg(long = "request", short = 'X', value_name = "METHOD")]
    pub method: Option<String>,
    /// A header of the request; may be repeated
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// What follows the function's own path, such as /x?y=1
    #[arg(long, value_name = "PATH", default_value = "")]
    pub path: String,
    /// Do not wait: print the call's name once it is kept, and leave
    #[arg(long = "async")]
    pub later: bool,
    /// Where the answer of an asynchronous call is sent
    #[arg(long, value_name = "URL", requires = "later")]
    pub callback: Option<String>,
    /// How long the answer of an asynchronous call is kept for `dhow calls show --result`
    #[arg(long, value_name = "TIME", requires = "later")]
    pub keep: Option<String>,
    /// Your own name for an asynchronous call: sent again, it is the same call
    #[arg(long, value_name = "KEY", requires = "later")]
    pub key: Option<String>,
}

/// The header that names the call.
const CALL_ID: &str = "x-call-id";
/// The header in which the platform says why it answers in place of the function.
const REASON: &str = "x-dhow-reason";
/// How often, and with which pauses, a call's outcome is asked for: it is recorded when the last
/// byte has been sent, which may be a moment after that byte is here.
const OUTCOME_TRIES: u32 = 20;
const OUTCOME_PAUSE: Duration = Duration::from_millis(25);

/// Runs the command.
///
/// # Errors
/// When nothing was answered, or the answer broke off, or its status says that it failed.
pub fn run(args: &Args, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let name = settings.function(&args.name)?;
    let data = args.data.as_deref().map(data).transpose()?;
    let client = Client::new(settings);
    let gateway = client.version()?.read.gateway;
    let answer = client.call(request(args, &gateway, &name, data)?)?;
    if args.later && answer.status() == StatusCode::ACCEPTED {
        return accepted(args, &answer, output);
    }

    let failed = answer.status().is_client_error() || answer.status().is_server_error();
    let absent = answer.headers().get(REASON).is_some_and(|it| it == Reason::NotFound.as_str());
    let call = answer.headers().get(CALL_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
    if args.include {
        output.data(&head(&answer))?;
    }
    let printed = print_body(answer, output);
    if args.include {
        match call {
            Some(call) => output.note(outcome(&client, &name, &call)),
            None => output.note("the answer names no call, so nothing is known of what it used"),
        }
    }
    printed?;
    if absent && let Some(meant) = client.meant(&name) {
        output.hint(did_you_mean(&meant));
    }
    if failed { Err(CommandError::silent()) } else { Ok(()) }
}

/// The call is kept.
fn accepted(args: &Args, answer: &Response<Body>, output: &mut Output) -> Result<(), CommandError> {
    if args.include {
        output.data(&head(answer))?;
    }
    let call = answer.headers().get(CALL_ID).and_then(|id| id.to_str().ok());
    let call = call.ok_or_else(|| CommandError::failure("the server's 202 names no call"))?;
    output.line(call)?;
    output.note(format_args!("the call is kept; `dhow calls show {call}` tells where it stands"));
    Ok(())
}

fn data(said: &str) -> Result<Vec<u8>, CommandError> {
    match said.strip_prefix('@') {
        Some(path) => fs::read(path).map_err(|error| CommandError::file("the data", path, &error)),
        None if said == "-" => {
            let mut bytes = Vec::new();
            io::stdin()
                .read_to_end(&mut bytes)
                .map_err(|error| CommandError::file("the data", "stdin", &error))?;
            Ok(bytes)
        }
        None => Ok(said.as_bytes().to_vec()),
    }
}

fn request(
    args: &Args,
    gateway: &str,
    name: &FunctionName,
    data: Option<Vec<u8>>,
) -> Result<Request<Vec<u8>>, CommandError> {
    let gateway = base_url(gateway).map_err(|why| {
        CommandError::failure(format!("the server names `{gateway}` as its gateway, which {why}"))
    })?;
    if !args.path.is_empty() && !args.path.starts_with(['/', '?']) {
        return Err(CommandError::usage(format!("--path is `{}`", args.path))
            .hint("a path begins with `/`, or with `?` where it is a query alone"));
    }
    let function = if args.later { "async-function" } else { "function" };
    let uri: Uri = format!("{gateway}/{function}/{}{}", short_name(name), args.path)
        .parse()
        .map_err(|why| CommandError::usage(format!("--path is `{}`: {why}", args.path)))?;
    let method = match &args.method {
        None if data.is_some() => Method::POST,
        None => Method::GET,
        Some(method) => method
            .parse()
            .map_err(|_| CommandError::usage(format!("--request is `{method}`, no method")))?,
    };
    let mut request = Request::new(data.unwrap_or_default());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    for header in &args.headers {
        let (name, value) = parse_header(header)?;
        request.headers_mut().append(name, value);
    }
    for (name, option, value) in [
        ("x-callback-url", "--callback", &args.callback),
        ("x-dhow-keep-result", "--keep", &args.keep),
        ("idempotency-key", "--key", &args.key),
    ] {
        let Some(value) = value else { continue };
        let value = value.parse().map_err(|_| {
            CommandError::usage(format!("{option} is `{value}`, which no header can hold"))
        })?;
        request.headers_mut().insert(HeaderName::from_static(name), value);
    }
    Ok(request)
}

fn parse_header(said: &str) -> Result<(HeaderName, HeaderValue), CommandError> {
    said.split_once(':')
        .and_then(|(name, value)| Some((name.parse().ok()?, value.trim().parse().ok()?)))
        .ok_or_else(|| {
            CommandError::usage(format!("--header is `{said}`, no header"))
                .hint("write --header 'NAME: VALUE'")
        })
}

/// The status line and the headers, as HTTP/1.1 writes them.
fn head(answer: &Response<Body>) -> Vec<u8> {
    let mut head = format!("{:?} {}\n", answer.version(), answer.status()).into_bytes();
    for (name, value) in answer.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.push(b'\n');
    }
    head.push(b'\n');
    head
}

/// Prints the body as it comes.
fn print_body(answer: Response<Body>, output: &mut Output) -> Result<(), CommandError> {
    let mut reader = answer.into_body().into_with_config().limit(u64::MAX).reader();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => output.data(&buffer[..count])?,
            Err(error) => {
                return Err(CommandError::failure(format!("the answer broke off: {error}"))
                    .hint("`dhow describe NAME` shows why its last calls ended"));
            }
        }
    }
}

/// What the call used, in one line.
fn outcome(client: &Client, name: &FunctionName, call: &str) -> String {
    for _ in 0..OUTCOME_TRIES {
        match client.outcomes(name, 1, Some(call)) {
            Ok(answer) => {
                if let Some(outcome) = answer.read.items.first() {
                    return describe(outcome);
                }
            }
            Err(error) => return format!("what call {call} used is not known: {error}"),
        }
        thread::sleep(OUTCOME_PAUSE);
    }
    format!("what call {call} used is not known: the server has no record of it")
}

fn describe(outcome: &CallOutcome) -> String {
    let micros = |micros| length(Duration::from_micros(micros));
    let ended = match (&outcome.reason, &outcome.error) {
        (Some(reason), Some(error)) => format!("ended by the platform, {reason}: {error}; "),
        (Some(reason), None) => format!("ended by the platform, {reason}; "),
        (None, _) => String::new(),
    };
    format!(
        "call {}: {ended}{} (queue {}, load {}, instantiate {}, run {}), CPU {}, memory {}{}, \
         revision {}, {}",
        outcome.call_id,
        micros(outcome.wall_us),
        micros(outcome.queue_us),
        micros(outcome.load_us),
        micros(outcome.instantiate_us),
        micros(outcome.run_us),
        micros(outcome.cpu_us),
        mebibytes(outcome.peak_memory),
        if outcome.shared { " (of all calls that shared the instance)" } else { "" },
        outcome.revision,
        if outcome.cold { "cold" } else { "warm" },
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(args: &Args, data: Option<&str>) -> Result<Request<Vec<u8>>, CommandError> {
        let name = FunctionName::parse(&args.name).unwrap();
        request(args, "http://g:8080/", &name, data.map(|data| data.as_bytes().to_vec()))
    }

    #[test]
    fn a_call_is_a_get_or_with_data_a_post() {
        let args = Args { name: "hello".to_owned(), ..Args::default() };
        let get = asked(&args, None).unwrap();
        assert_eq!(
            (get.method(), get.uri().to_string().as_str()),
            (&Method::GET, "http://g:8080/function/hello")
        );
        let post = asked(&args, Some("")).unwrap();
        assert_eq!(post.method(), Method::POST);
        let args = Args {
            name: "hello.shop".to_owned(),
            method: Some("PUT".to_owned()),
            headers: vec!["A: b".to_owned(), "a:c:d ".to_owned()],
            path: "/x?y=1".to_owned(),
            ..Args::default()
        };
        let put = asked(&args, Some("z")).unwrap();
        assert_eq!(put.method(), Method::PUT);
        assert_eq!(put.uri().to_string(), "http://g:8080/function/hello.shop/x?y=1");
        assert_eq!(put.headers().get_all("a").iter().collect::<Vec<_>>(), ["b", "c:d"]);
        assert_eq!(put.body(), b"z");
    }

    #[test]
    fn an_asynchronous_call_says_what_it_wants_in_headers() {
        let args = Args {
            name: "hello".to_owned(),
            later: true,
            callback: Some("http://a/".to_owned()),
            keep: Some("5m".to_owned()),
            key: Some("k".to_owned()),
            ..Args::default()
        };
        let post = asked(&args, Some("x")).unwrap();
        assert_eq!(post.uri().to_string(), "http://g:8080/async-function/hello");
        assert_eq!(post.headers()["x-callback-url"], "http://a/");
        assert_eq!(post.headers()["x-dhow-keep-result"], "5m");
        assert_eq!(post.headers()["idempotency-key"], "k");
        let wrong = Args { key: Some("a\nb".to_owned()), ..args };
        assert_eq!(asked(&wrong, None).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn what_can_not_be_asked_is_a_wrong_usage() {
        let args = || Args { name: "hello".to_owned(), ..Args::default() };
        for wrong in [
            Args { path: "x".to_owned(), ..args() },
            Args { path: "/a b".to_owned(), ..args() },
            Args { method: Some("A B".to_owned()), ..args() },
            Args { headers: vec!["A".to_owned()], ..args() },
            Args { headers: vec!["A: b\nC: d".to_owned()], ..args() },
        ] {
            assert_eq!(asked(&wrong, None).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn data_is_text_or_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), [0, 255]).unwrap();
        assert_eq!(data("x=y").unwrap(), b"x=y");
        assert_eq!(data(&format!("@{}", file.path().display())).unwrap(), [0, 255]);
        assert!(data("@/nowhere/at/all").unwrap_err().message.contains("/nowhere/at/all"));
    }

    #[test]
    fn an_outcome_is_one_line() {
        let outcome: CallOutcome = serde_json::from_value(json!({
            "call_id": "00ff", "status": 504, "reason": "cpu-time", "error": "too long",
            "revision": 3, "cold": true, "shared": false, "queue_us": 1, "load_us": 20,
            "instantiate_us": 300, "run_us": 4000, "wall_us": 4321, "cpu_us": 4000,
            "peak_memory": 3 << 19,
        }))
        .unwrap();
        assert_eq!(
            describe(&outcome),
            "call 00ff: ended by the platform, cpu-time: too long; 4.32 ms (queue 1 µs, load \
             20 µs, instantiate 300 µs, run 4.00 ms), CPU 4.00 ms, memory 1.5 MiB, revision 3, cold"
        );
    }
}
