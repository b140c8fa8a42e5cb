//! Many functions on one server: thousands of names, a thousand modules and more, several kinds of
//! guest, each called once and then left alone. What they cost in memory and at the start, and
//! what a call of one of them waits beside all the others.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Args;
use crate::cold::{Connection, distinct};
use crate::report::{median, percentile};
use crate::server::Server;

/// Functions in one manifest.
const BATCH: usize = 500;
/// Each module is that of so many functions.
const SHARED_BY: usize = 10;
/// Functions of the server that the crowded one is compared with.
const FEW: usize = 10;
/// How long they are left alone: what is given back after a while is given back by then.
const IDLE: Duration = Duration::from_secs(90);
/// Warm calls of one round, and of one server's turn in it.
const CALLS: usize = 5000;
const TURN: usize = 50;
/// The kinds of guest, in turn.
const KINDS: [(&str, &str); 3] = [
    ("http (WASI 0.2)", "rust/http-lean/http-lean.wasm"),
    ("command", "c/hello/hello.wasm"),
    ("http (WASI 0.3)", "rust/http-lean-p3/http-lean-p3.wasm"),
];

/// The most that is good enough: bytes (PSS), seconds from start to ready, and times the p99 of a
/// call beside ten functions.
pub(crate) const MOST_MEMORY: u64 = 200 << 20;
pub(crate) const MOST_START: f64 = 3.0;
pub(crate) const MOST_SLOWDOWN: f64 = 1.2;

/// What so many functions cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Density {
    pub(crate) functions: usize,
    pub(crate) modules: usize,
    pub(crate) kinds: Vec<String>,
    pub(crate) deploying_seconds: f64,
    /// PSS before anything was deployed, bytes.
    pub(crate) empty: u64,
    /// From the start of a process with all of them to ready.
    pub(crate) start_seconds: f64,
    /// PSS of that process before a call.
    pub(crate) uncalled: u64,
    /// PSS once each was called once and then left alone.
    pub(crate) idle: u64,
    /// p99 of a warm call of one function, each round, microseconds: beside few others, beside all.
    pub(crate) few_p99: Vec<f64>,
    pub(crate) many_p99: Vec<f64>,
}

impl Density {
    /// How many times longer a call takes beside all others: the median of the rounds' ratios, since
    /// the two of one round had the same machine.
    pub(crate) fn slowdown(&self) -> f64 {
        let rounds = self.many_p99.iter().zip(&self.few_p99);
        median(&rounds.map(|(many, few)| many / few).collect::<Vec<_>>())
    }
}

pub(crate) fn measure(args: &Args) -> Result<Density, String> {
    let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
    let few = Server::dhow(args, None)?;
    let empty = few.pss()?;
    deploy(args, &few, folder.path(), 0..FEW)?;

    let began = Instant::now();
    let many = Server::dhow(args, None)?;
    for first in (0..args.functions).step_by(BATCH) {
        let until = (first + BATCH).min(args.functions);
        deploy(args, &many, folder.path(), first..until)?;
    }
    let deploying_seconds = began.elapsed().as_secs_f64();

    let data = many.end();
    let began = Instant::now();
    let many = Server::dhow(args, data)?;
    let start_seconds = began.elapsed().as_secs_f64();
    let uncalled = many.pss()?;
    let mut connection = Connection::open(&many.address)?;
    for index in 0..args.functions {
        connection.call(&format!("/function/f{index}"))?;
    }
    std::thread::sleep(IDLE);
    let idle = many.pss()?;

    let (mut few_p99, mut many_p99) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let [few, many] = warm_calls([&few, &many])?;
        few_p99.push(few);
        many_p99.push(many);
    }
    Ok(Density {
        functions: args.functions,
        modules: args.functions.div_ceil(SHARED_BY),
        kinds: KINDS.map(|(name, _)| name.to_owned()).to_vec(),
        deploying_seconds,
        empty,
        start_seconds,
        uncalled,
        idle,
        few_p99,
        many_p99,
    })
}

/// p99 of calls of the first function of each server, over one connection. They take turns of a few
/// calls, so that what else the machine does meets both.
fn warm_calls(servers: [&Server; 2]) -> Result<[f64; 2], String> {
    let mut connections = Vec::new();
    for server in servers {
        let mut connection = Connection::open(&server.address)?;
        connection.call("/function/f0")?;
        connections.push((connection, Vec::new()));
    }
    for _ in 0..CALLS / TURN {
        for (connection, taken) in &mut connections {
            for _ in 0..TURN {
                taken.push(connection.call("/function/f0")?);
            }
        }
    }
    let mut p99 = connections.iter().map(|(_, taken)| percentile(taken, 0.99));
    Ok(std::array::from_fn(|_| p99.next().unwrap_or_default()))
}

/// Deploys the functions of these numbers; `folder` has their modules.
fn deploy(
    args: &Args,
    server: &Server,
    folder: &Path,
    numbers: std::ops::Range<usize>,
) -> Result<(), String> {
    let mut text = String::new();
    for number in numbers {
        let path = module(args, folder, number / SHARED_BY)?;
        writeln!(
            text,
            "---\napiVersion: dhow.dev/v1alpha1\nkind: Function\n\
             metadata: {{name: f{number}}}\nspec: {{source: {{path: {}}}}}",
            path.display()
        )
        .map_err(|why| why.to_string())?;
    }
    let manifest = folder.join("functions.yaml");
    fs::write(&manifest, text).map_err(|why| why.to_string())?;
    server.apply(args, &manifest)
}

/// The module of this number, as a file.
fn module(args: &Args, folder: &Path, number: usize) -> Result<PathBuf, String> {
    let path = folder.join(format!("{number}.wasm"));
    if !path.exists() {
        let (_, guest) = KINDS[number % KINDS.len()];
        let guest = args.guests.join(guest);
        let bytes = fs::read(&guest).map_err(|why| format!("{}: {why}", guest.display()))?;
        fs::write(&path, distinct(&bytes, number)).map_err(|why| why.to_string())?;
    }
    Ok(path)
}
