//! Requests a second, and the server's CPU for each, under load.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Args;
use crate::load::{self, Load};
use crate::server::{Server, Threads};

/// Connections at once.
pub(crate) const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// What is measured, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    Hyper,
    HyperPerCore,
    ServeDefault,
    ServeMemoryTuned,
    ServeTuned,
    ServeReuse20,
    ServeP3Default,
    DhowLean,
    DhowStd,
    DhowCommand,
    DhowP3,
    DhowP3Reuse128,
}

pub(crate) const SUBJECTS: [Subject; 12] = [
    Subject::Hyper,
    Subject::HyperPerCore,
    Subject::ServeDefault,
    Subject::ServeMemoryTuned,
    Subject::ServeTuned,
    Subject::ServeReuse20,
    Subject::ServeP3Default,
    Subject::DhowLean,
    Subject::DhowStd,
    Subject::DhowCommand,
    Subject::DhowP3,
    Subject::DhowP3Reuse128,
];

/// One cell of one round.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) subject: Subject,
    pub(crate) connections: usize,
    pub(crate) round: usize,
    #[serde(flatten)]
    pub(crate) load: Load,
    /// CPU of the server per request, microseconds.
    pub(crate) cpu: f64,
}

/// wasmtime's pool with its memories tuned; tables are given back to the kernel after each call,
/// as is the default.
const MEMORY_TUNED: &[&str] =
    &["-O", "pooling-allocator=y,pooling-memory-keep-resident=1048576,pooling-pagemap-scan=auto"];
/// wasmtime's pool with the settings that dhow uses itself.
const TUNED: &[&str] = &[
    "-O",
    "pooling-allocator=y,pooling-memory-keep-resident=1048576,pooling-table-keep-resident=65536,\
     pooling-pagemap-scan=auto,pooling-decommit-batch-size=16",
];
const REUSE_20: &[&str] = &["--max-instance-reuse-count", "20"];
const P3: &[&str] = &["-S", "p3=y", "-W", "component-model-async=y"];
/// `wasmtime serve` reuses an instance of WASI 0.2 never, one of 0.3 up to 128 times, 16 at a time.
const REUSE_128: &str = "{calls: 128, concurrent: 16}";

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hyper => "bare hyper, shared runtime",
            Self::HyperPerCore => "bare hyper, runtime per core",
            Self::ServeDefault => "wasmtime serve, lean",
            Self::ServeMemoryTuned => "wasmtime serve, memories tuned",
            Self::ServeTuned => "wasmtime serve, pool tuned",
            Self::ServeReuse20 => "wasmtime serve, reuse 20",
            Self::ServeP3Default => "wasmtime serve, p3 (reuse 128)",
            Self::DhowLean => "dhow http lean, fresh",
            Self::DhowStd => "dhow http std, fresh",
            Self::DhowCommand => "dhow command, fresh",
            Self::DhowP3 => "dhow http p3, fresh",
            Self::DhowP3Reuse128 => "dhow http p3, reuse 128",
        }
    }

    fn start(self, args: &Args) -> Result<(Server, String), String> {
        let guest = |path: &str| -> PathBuf { args.guests.join(path) };
        let (lean, lean_p3) =
            (guest("rust/http-lean/http-lean.wasm"), guest("rust/http-lean-p3/http-lean-p3.wasm"));
        let hyper = |threads| {
            let server = Server::hyper(threads)?;
            let url = format!("http://{}/", server.address);
            Ok((server, url))
        };
        let serve = |guest: &PathBuf, options: &[&str]| {
            let server = Server::wasmtime(args, guest, options)?;
            let url = format!("http://{}/", server.address);
            Ok((server, url))
        };
        let dhow = |guest: PathBuf, reuse: Option<&str>| {
            let server = Server::dhow(args, None)?;
            match reuse {
                None => server.deploy(args, "f", &guest, &[])?,
                Some(reuse) => apply(args, &server, &guest, reuse)?,
            }
            let url = format!("http://{}/function/f", server.address);
            Ok((server, url))
        };
        match self {
            Self::Hyper => hyper(Threads::Shared),
            Self::HyperPerCore => hyper(Threads::PerCore),
            Self::ServeDefault => serve(&lean, &[]),
            Self::ServeMemoryTuned => serve(&lean, MEMORY_TUNED),
            Self::ServeTuned => serve(&lean, TUNED),
            Self::ServeReuse20 => serve(&lean, REUSE_20),
            Self::ServeP3Default => serve(&lean_p3, P3),
            Self::DhowLean => dhow(lean, None),
            Self::DhowStd => dhow(guest("rust/http-std/http-std.wasm"), None),
            Self::DhowCommand => dhow(guest("c/hello/hello.wasm"), None),
            Self::DhowP3 => dhow(lean_p3, None),
            Self::DhowP3Reuse128 => dhow(lean_p3, Some(REUSE_128)),
        }
    }
}

/// Deploys with an instance's reuse, which only a manifest says in full.
fn apply(args: &Args, server: &Server, guest: &PathBuf, reuse: &str) -> Result<(), String> {
    let io = |error: std::io::Error| error.to_string();
    let guest = std::fs::canonicalize(guest).map_err(io)?;
    let manifest = tempfile::Builder::new().suffix(".yaml").tempfile().map_err(io)?;
    let text = format!(
        "apiVersion: dhow.dev/v1alpha1\nkind: Function\nmetadata: {{name: f}}\n\
         spec: {{source: {{path: {}}}, reuse: {reuse}}}\n",
        guest.display()
    );
    std::fs::write(manifest.path(), text).map_err(io)?;
    server.apply(args, manifest.path())
}

/// All subjects in turn, so many rounds.
#[expect(clippy::print_stderr, reason = "a tool for a terminal; a run takes long")]
pub(crate) fn measure(args: &Args) -> Result<Vec<Sample>, String> {
    let subjects: Vec<Subject> =
        SUBJECTS.into_iter().filter(|one| args.wants_subject(one.name())).collect();
    if subjects.is_empty() {
        return Err(format!("no row has a name with {}", args.subject.join(" or ")));
    }
    let mut samples = Vec::new();
    for round in 0..args.rounds {
        for &subject in &subjects {
            let (server, url) = subject.start(args)?;
            // Neither first calls nor a cold CPU are what this is about.
            load::run(&url, 16, 1)?;
            for connections in CONNECTIONS {
                let before = server.cpu()?;
                let load = load::run(&url, connections, args.seconds)
                    .map_err(|why| format!("{}: {why}", subject.name()))?;
                let cpu = (server.cpu()? - before) * 1e6 / load.requests;
                eprintln!(
                    "round {round} {:<32} c{connections:<3} {:>9.0}/s {cpu:>6.1} us",
                    subject.name(),
                    load.per_second
                );
                samples.push(Sample { subject, connections, round, load, cpu });
            }
        }
    }
    Ok(samples)
}
