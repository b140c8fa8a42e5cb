//! `dhow deploy NAME SOURCE`: a manifest from flags, its module sent, put in force.

use clap_complete::engine::ArgValueCompleter;
use dhow_core::function::{Function, Source};
use dhow_core::name::FunctionName;
use dhow_dialects::native;
use dhow_dialects::problem::FieldError;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::complete;
use super::error::CommandError;
use super::output::Output;
use super::settings::Settings;
use super::upload::{self, Module};
use crate::images::place::Place;

/// What was typed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// The function's name: NAME or NAME.NAMESPACE
    #[arg(add = ArgValueCompleter::new(complete::functions))]
    pub name: String,
    /// The code: FILE.wasm, FILE.wat, an image's reference (HOST/PATH:TAG), or an image layout or
    /// archive
    pub source: String,
    /// A secret of the namespace with credentials for the image's registry; may be repeated
    #[arg(long = "pull-secret", value_name = "NAME")]
    pub pull_secrets: Vec<String>,
    /// The module within an image, and further words that its arguments begin with, instead of what
    /// the image itself starts; may be repeated
    #[arg(long = "command", value_name = "WORD", allow_hyphen_values = true)]
    pub command: Vec<String>,
    /// How the module is called: auto, http, command [default: auto]
    #[arg(long)]
    pub abi: Option<String>,
    /// How a command is called: stdio, keeper, cgi [default: stdio]
    #[arg(long)]
    pub io: Option<String>,
    /// A path that leads to the function, such as /users/{id} or /files/*; may be repeated
    #[arg(long = "route", value_name = "PATH")]
    pub routes: Vec<String>,
    /// A method that the routes are for; may be repeated [default: all]
    #[arg(long = "method", value_name = "METHOD", requires = "routes")]
    pub methods: Vec<String>,
    /// The host that the routes are for, such as example.com or *.example.com [default: any]
    #[arg(long, requires = "routes")]
    pub host: Option<String>,
    /// An argument of a command; may be repeated
    #[arg(long = "arg", value_name = "ARG", allow_hyphen_values = true)]
    pub args: Vec<String>,
    /// A variable of the environment; may be repeated
    #[arg(long = "env", short, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// What it may connect to, such as https://api.example.com, http://*.example.com:8080 or
    /// http://10.0.0.0/8, with methods before it as in "GET,HEAD https://a"; may be repeated
    #[arg(long = "allow-host", value_name = "RULE")]
    pub allow_hosts: Vec<String>,
    /// A secret of the namespace that it is given; may be repeated
    #[arg(long = "secret", value_name = "NAME")]
    pub secrets: Vec<String>,
    /// Memory of one instance, such as 128Mi
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory: Option<String>,
    /// Wall time of one call, such as 30s
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub timeout: Option<String>,
    /// CPU time of one call, such as 10s
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub cpu_time: Option<String>,
    /// CPU rate of all calls together, such as 500m or 2
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    pub cpu: Option<String>,
    /// Calls that run at once
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub concurrency: Option<u32>,
    /// Calls that wait for one of those places
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub queue: Option<u32>,
    /// Calls that one instance answers before it is dropped [default: 1, a fresh one for each]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub reuse: Option<u32>,
}

/// Runs the command.
///
/// # Errors
/// What went wrong; nothing is deployed then.
pub fn run(args: &Args, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let place = Place::of(&args.source)?;
    let mut function = function(args, &place, settings)?;
    let client = Client::new(settings);
    match function.source {
        Source::Image(_) => upload::pull(&mut function, &client, output)?,
        _ => {
            Module::at(&place, &args.command, output)?.upload(&client, output)?.give(&mut function)
        }
    }
    upload::put_in_force(&function, &client, output)
}

/// The function that the flags describe.
fn function(args: &Args, place: &Place, settings: &Settings) -> Result<Function, CommandError> {
    let name = settings.function(&args.name)?;
    native::decode(&manifest(args, place, &name)?).map_err(|problems| {
        CommandError::usage("this can't be deployed").fields(problems.into_iter().map(by_flag))
    })
}

/// The flags as a manifest, so that the one reader of manifests judges them.
fn manifest(args: &Args, place: &Place, name: &FunctionName) -> Result<Value, CommandError> {
    let mut spec = Map::new();
    let mut source = match place {
        Place::Image(reference) => json!({"image": reference.to_string()}),
        Place::Module(_) | Place::Layout(..) | Place::Archive(..) => json!({"path": args.source}),
    };
    if !args.pull_secrets.is_empty() {
        source["pullSecrets"] = json!(args.pull_secrets);
    }
    // Of an image that is here, this command takes the module out itself.
    if !args.command.is_empty() && !matches!(place, Place::Layout(..) | Place::Archive(..)) {
        source["command"] = json!(args.command);
    }
    spec.insert("source".to_owned(), source);
    let mut say = |field: &str, value: Value| spec.insert(field.to_owned(), value);
    if let Some(abi) = &args.abi {
        say("abi", json!(abi));
    }
    if let Some(io) = &args.io {
        say("io", json!(io));
    }
    say("args", json!(args.args));
    say("env", args.env.iter().map(|variable| env(variable)).collect::<Result<_, _>>()?);
    say(
        "limits",
        json!({
            "memory": args.memory,
            "timeout": args.timeout,
            "cpuTime": args.cpu_time,
            "cpu": args.cpu,
            "concurrency": args.concurrency,
            "queue": args.queue,
        }),
    );
    say("secrets", json!(args.secrets));
    say("network", json!({"allow": args.allow_hosts}));
    say("reuse", json!({"calls": args.reuse}));
    let route = |path| json!({"path": path, "methods": args.methods, "host": args.host});
    say("routes", args.routes.iter().map(route).collect());
    Ok(json!({
        "apiVersion": native::API_VERSION,
        "kind": native::KIND,
        "metadata": {"name": name.name.as_str(), "namespace": name.namespace.as_str()},
        "spec": spec,
    }))
}

fn env(variable: &str) -> Result<Value, CommandError> {
    let (name, value) = variable.split_once('=').ok_or_else(|| {
        CommandError::usage(format!("--env is `{variable}`, without a `=`"))
            .hint("write --env NAME=VALUE")
    })?;
    Ok(json!({"name": name, "value": value}))
}

/// Names what was typed where the manifest has a field.
fn by_flag(problem: FieldError) -> FieldError {
    const FLAGS: [(&str, &str); 18] = [
        ("spec.source.command", "--command"),
        ("spec.source.pullSecrets", "--pull-secret"),
        ("spec.source", "SOURCE"),
        ("spec.abi", "--abi"),
        ("spec.io", "--io"),
        ("spec.args", "--arg"),
        ("spec.env", "--env"),
        ("spec.limits.memory", "--memory"),
        ("spec.limits.timeout", "--timeout"),
        ("spec.limits.cpuTime", "--cpu-time"),
        ("spec.limits.cpu", "--cpu"),
        ("spec.limits.concurrency", "--concurrency"),
        ("spec.limits.queue", "--queue"),
        ("spec.reuse.calls", "--reuse"),
        ("spec.network", "--allow-host"),
        ("spec.secrets", "--secret"),
        ("spec.routes", "--route"),
        ("metadata.name", "NAME"),
    ];
    let FieldError { path, message } = problem;
    let flag = match path.rsplit_once('.') {
        Some((route, "host")) if route.starts_with("spec.routes") => Some("--host"),
        _ if path.starts_with("spec.routes") && path.contains(".methods") => Some("--method"),
        _ => FLAGS
            .iter()
            .find(|(field, _)| {
                path.strip_prefix(field)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
            })
            .map(|(_, flag)| *flag),
    };
    FieldError { path: flag.map_or(path, str::to_owned), message }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;
    use dhow_core::abi::{Abi, Io};
    use dhow_core::function::{ImageSource, Source, Template};
    use dhow_core::limits::Limits;

    use super::*;
    use crate::cli::settings;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn typed(line: &str) -> Result<Function, CommandError> {
        let line = Line::try_parse_from(format!("deploy {line}").split(' ')).unwrap();
        let settings = Settings::resolve(&settings::Args::default(), |_| None).unwrap();
        let source = line.args.source.as_str();
        let place = match source.contains(':') {
            true => Place::of(source).unwrap(),
            false => Place::Module(source.into()),
        };
        function(&line.args, &place, &settings)
    }

    #[test]
    fn nothing_said_means_every_default() {
        let function = typed("hello dir/hello.wasm").unwrap();
        assert_eq!(function.name.to_string(), "hello.default");
        assert_eq!(function.source, Source::Path("dir/hello.wasm".to_owned()));
        assert_eq!(function.template, Template::default());
        assert_eq!((function.abi, function.routes.len()), (None, 0));
    }

    #[test]
    fn a_reference_is_an_image() {
        let function = typed("hello ghcr.io/me/hello:v1 --pull-secret one --pull-secret two");
        let pull_secrets = ["one", "two"].map(|name| name.parse().unwrap()).to_vec();
        let reference = "ghcr.io/me/hello:v1".to_owned();
        let image = ImageSource { reference, pull_secrets, command: vec![] };
        assert_eq!(function.unwrap().source, Source::Image(image.clone()));
        let function = typed(
            "hello ghcr.io/me/hello:v1 --pull-secret one --pull-secret two --command /b.wasm \
             --command -v",
        );
        let command = ["/b.wasm", "-v"].map(str::to_owned).to_vec();
        let image = Source::Image(ImageSource { command, ..image });
        assert_eq!(function.unwrap().source, image);
        let error = typed("hello a.wasm --command /b.wasm").unwrap_err();
        assert!(error.details[0].starts_with("--command: "), "{error:?}");
        let error = typed("hello a.wasm --pull-secret one").unwrap_err();
        assert!(error.details[0].starts_with("--pull-secret: "), "{error:?}");
    }

    #[test]
    fn every_flag_has_its_field() {
        let function = typed(
            "hello.shop a.wat --abi command --io cgi --route /a --route /b/* --method GET \
             --method POST --host example.com --arg -v --arg=x --env A=1 -e B=x=y --memory 64Mi \
             --timeout 5s --cpu-time 2s --cpu 0.5 --concurrency 3 --queue 0 --reuse 20 --allow-host https://a.example",
        )
        .unwrap();
        assert_eq!(function.name.to_string(), "hello.shop");
        assert_eq!((function.abi, function.template.io), (Some(Abi::Command), Io::Cgi));
        assert_eq!(function.template.args, ["-v", "x"]);
        let env =
            [("A", "1"), ("B", "x=y")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(function.template.env, env);
        let limits = Limits {
            memory: 64 << 20,
            timeout: Duration::from_secs(5),
            cpu_time: Duration::from_secs(2),
            cpu_millis: Some(500),
            concurrency: 3,
            queue: 0,
            ..Limits::default()
        };
        assert_eq!(function.template.limits, limits);
        assert_eq!(function.template.reuse.calls, 20);
        assert_eq!(function.template.grants.network, ["https://a.example".parse().unwrap()]);
        let paths: Vec<_> = function.routes.iter().map(|route| route.path.as_str()).collect();
        assert_eq!(paths, ["/a", "/b/*"]);
        for route in &function.routes {
            assert_eq!(route.host.as_deref(), Some("example.com"));
            assert_eq!(route.methods, [http::Method::GET, http::Method::POST]);
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_flag() {
        let error = typed(
            "hello a.wasm --abi x --io y --route a --method get --host A --env =1 --memory 1 \
             --timeout 5 --cpu-time=-1s --cpu z --concurrency 0 --reuse 0 --allow-host a",
        )
        .unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let mut flags: Vec<_> =
            error.details.iter().map(|line| line.split(':').next().unwrap()).collect();
        flags.sort_unstable();
        assert_eq!(
            flags,
            [
                "--abi",
                "--allow-host",
                "--concurrency",
                "--cpu",
                "--cpu-time",
                "--env",
                "--host",
                "--io",
                "--memory",
                "--method",
                "--reuse",
                "--route",
                "--timeout",
            ]
        );
        assert_eq!(typed("hello a.wasm --env A").unwrap_err().exit_code(), 2);
        assert_eq!(typed("Hello a.wasm").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_method_without_a_route_is_for_nothing() {
        let line = ["deploy", "hello", "a.wasm", "--method", "GET"];
        assert!(Line::try_parse_from(line).is_err());
    }
}
