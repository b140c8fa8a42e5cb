//! `dhow run`: one call of one module, here and now. A program gets this command's arguments,
//! standard input and environment as told, and its exit code is this command's; a handler gets
//! one request.

use std::io::{self, IsTerminal as _, Read as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use dhow_core::abi::{Abi, Io};
use dhow_core::call::CallId;
use dhow_core::function::{Revision, Template};
use dhow_core::name::FunctionName;
use dhow_core::network::AllowRule;
use dhow_core::outcome::{Failure, Outcome, Reason};
use dhow_core::ports::{Call, Invoke as _, Observe, Record, Stream};
use dhow_core::quantity::{parse_bytes, parse_duration};
use dhow_engine::World;
use dhow_oci::image::pulled::Run;
use dhow_outbound::Way;
use dhow_outbound::resolve::System;
use dhow_outbound::tls::Trust;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use tokio::runtime::{Handle, Runtime};

use crate::cli::error::CommandError;
use crate::cli::output::Output;
use crate::images::fetch::{Fetched, fetch};
use crate::images::place::Place;
use crate::images::{RegistryArgs, module_of, pull_failure, warnings};
use crate::local::Local;

/// What to run, and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A .wasm or .wat file, an image's reference, or an image layout or archive
    source: String,
    /// Arguments of a program
    #[arg(last = true)]
    args: Vec<String>,
    /// A variable of the guest's environment
    #[arg(long, value_name = "K=V")]
    env: Vec<String>,
    /// How the module is called, where it can be called in more than one way
    #[arg(long, value_name = "ABI")]
    abi: Option<Abi>,
    /// The path, with its query, of the request to a handler
    #[arg(long, default_value = "/")]
    path: String,
    /// The method of the request to a handler
    #[arg(long, short = 'X', default_value = "GET")]
    method: Method,
    /// The request's body, or a program's standard input; `@FILE` is a file's content
    #[arg(long, short, value_name = "DATA|@FILE")]
    data: Option<String>,
    /// Bytes that the guest's memories and tables may take together
    #[arg(long, default_value = "128Mi", value_parser = |text: &str| parse_bytes(text))]
    memory: u64,
    /// How long the call may take
    #[arg(long, default_value = "30s", value_parser = |text: &str| parse_duration(text))]
    timeout: std::time::Duration,
    /// How much CPU time it may use
    #[arg(long, default_value = "10s", value_parser = |text: &str| parse_duration(text))]
    cpu_time: std::time::Duration,
    /// The module within the image, and further words that its arguments begin with, instead of what
    /// the image itself starts; may be repeated
    #[arg(long = "command", value_name = "WORD", allow_hyphen_values = true)]
    command: Vec<String>,
    /// What the guest may connect to, such as https://api.example.com; may be repeated
    #[arg(long = "allow-host", value_name = "RULE")]
    allow_hosts: Vec<AllowRule>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// The module's file, and what its image says about it.
struct Source {
    path: PathBuf,
    program: String,
    run: Run,
    _fetched: Option<Fetched>,
}

/// Runs it.
///
/// # Errors
/// When the module is not taken, or a limit ended the call.
pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, CommandError> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let source = source(args, output).await?;
        let local = Local::start(&source.path, Arc::new(Stderr), world()?).await?;
        let revision = Arc::new(revision(args, source, &local)?);
        let target = local.engine.target(revision.clone());
        let call = call(request(args, revision.abi)?);
        match local.engine.invoke(&target, call).await {
            Ok(response) => print(response, revision.abi, output).await,
            Err(failure) => failed(failure, output),
        }
    })
}

/// A runtime for one command.
pub(crate) fn runtime() -> Result<Runtime, CommandError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::failure(format!("the runtime can't start: {error}")))
}

/// What the guest may be granted here.
fn world() -> Result<World, CommandError> {
    let trust = Trust::with(&[]).map_err(|error| CommandError::failure(error.to_string()))?;
    // This process listens nowhere.
    let way = Way::new(vec![], Arc::new(System), trust, Handle::current());
    Ok(World { outbound: Some(Arc::new(way)), ..World::default() })
}

async fn source(args: &Args, output: &mut Output) -> Result<Source, CommandError> {
    let place = Place::of(&args.source)?;
    let Some(fetched) = fetch(&place, &args.command, &args.registry, output).await? else {
        let path = PathBuf::from(&args.source);
        let program = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(Source { path, program, run: Run::default(), _fetched: None });
    };
    let (module, run) =
        module_of(&fetched.pulled).map_err(|error| pull_failure(&args.source, &error))?;
    for warning in warnings(&fetched.pulled, run) {
        output.note(format_args!("warning: {warning}"));
    }
    let (path, program, run) = (module.file.path.clone(), module.name.clone(), run.clone());
    Ok(Source { path, program, run, _fetched: Some(fetched) })
}

fn revision(args: &Args, source: Source, local: &Local) -> Result<Revision, CommandError> {
    let artifact = &local.artifact;
    let abi = args.abi.unwrap_or_else(|| artifact.abi());
    if !artifact.abis.contains(&abi) {
        return Err(CommandError::usage(format!("the module can't be called as `{abi}`")));
    }
    if !matches!(abi, Abi::Http | Abi::Command) {
        let message = format!("the module is of the ABI `{abi}`, which this version does not run");
        return Err(CommandError::failure(message).hint("it runs `http` and `command`"));
    }
    let mut template = Template { io: Io::Stdio, args: args.args.clone(), ..Template::default() };
    template.limits.memory = args.memory;
    template.limits.timeout = args.timeout;
    template.limits.cpu_time = args.cpu_time;
    template.grants.network = args.allow_hosts.clone();
    for variable in &args.env {
        let (name, value) = variable.split_once('=').ok_or_else(|| {
            CommandError::usage(format!("`--env {variable}` has no `=`")).hint("write --env K=V")
        })?;
        template.env.push((name.to_owned(), value.to_owned()));
    }
    template.complete(source.run.words, source.run.args, source.run.env);
    let program = source.program;
    let function = FunctionName::parse("run").map_err(|e| CommandError::failure(e.to_string()))?;
    Ok(Revision {
        function,
        number: 1,
        digest: artifact.digest,
        image: None,
        program,
        abi,
        template,
    })
}

fn request(args: &Args, abi: Abi) -> Result<Request<Full<Bytes>>, CommandError> {
    let body = match args.data.as_deref() {
        Some(data) => match data.strip_prefix('@') {
            Some(path) => {
                std::fs::read(path).map_err(|error| CommandError::file("the data", path, &error))?
            }
            None => data.as_bytes().to_vec(),
        },
        None if abi == Abi::Command && !io::stdin().is_terminal() => {
            let mut input = Vec::new();
            io::stdin()
                .lock()
                .read_to_end(&mut input)
                .map_err(|error| CommandError::file("the input", "-", &error))?;
            input
        }
        None => Vec::new(),
    };
    Request::builder()
        .method(args.method.clone())
        .uri(&args.path)
        .header("host", "localhost")
        .header("content-length", body.len())
        .body(Full::from(body))
        .map_err(|error| CommandError::usage(format!("the request makes no sense: {error}")))
}

fn call(
    request: Request<Full<Bytes>>,
) -> Call<impl http_body::Body<Data = Bytes, Error = Failure> + Send + Unpin + 'static> {
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    let full_uri = request.uri().clone();
    Call {
        id: CallId(1),
        request: request.map(|body| body.map_err(|never| match never {})),
        full_uri,
        script_name: String::new(),
        peer: here,
        local: here,
        received: Instant::now(),
        trace: None,
    }
}

async fn print<B>(
    response: Response<B>,
    abi: Abi,
    output: &mut Output,
) -> Result<ExitCode, CommandError>
where
    B: http_body::Body<Data = Bytes, Error = Failure>,
{
    let status = response.status();
    let mut body = std::pin::pin!(response.into_body());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|failure| CommandError::failure(failure.message))?;
        if let Ok(data) = frame.into_data() {
            output.data(&data)?;
        }
    }
    if abi == Abi::Http && !status.is_success() {
        output.note(format_args!("the handler answered {status}"));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// A program's own exit code is this command's; everything else is an error.
fn failed(failure: Failure, output: &mut Output) -> Result<ExitCode, CommandError> {
    if failure.reason == Reason::GuestExit {
        if let Some(written) = &failure.body {
            output.data(written)?;
        }
        // A shell knows a byte of it.
        let code = failure.exit.and_then(|code| u8::try_from(code & 0xff).ok());
        return Ok(ExitCode::from(code.filter(|code| *code != 0).unwrap_or(1)));
    }
    let reason = failure.reason;
    Err(CommandError::failure(format!("{} ({reason})", failure.message)).hint(reason.hint()))
}

/// Hears nothing.
pub(crate) struct Silent;

impl Observe for Silent {
    fn record(&self, _revision: &Revision) -> Arc<dyn Record> {
        Arc::new(Self)
    }
}

impl Record for Silent {
    fn started(&self) {}

    fn line(&self, _call: CallId, _stream: Stream, _line: &[u8]) {}

    fn ended(&self, _outcome: Outcome) {}
}

/// Passes what the guest says on.
struct Stderr;

impl Observe for Stderr {
    fn record(&self, _revision: &Revision) -> Arc<dyn Record> {
        Arc::new(Self)
    }
}

impl Record for Stderr {
    fn started(&self) {}

    fn line(&self, _call: CallId, _stream: Stream, line: &[u8]) {
        let mut output = Output::stdio();
        output.note(String::from_utf8_lossy(line));
    }

    fn ended(&self, _outcome: Outcome) {}
}
