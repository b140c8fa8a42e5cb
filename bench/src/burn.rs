//! A quick function beside endless loops, twice as many as there are cores: what its callers wait,
//! against what callers of a bare hyper server wait beside as many native loops of low priority.

use parking_lot::Mutex;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Args;
use crate::cold::Connection;
use crate::report::{median, percentile};
use crate::server::{Server, Threads};

/// Requests a second, spread over this many connections.
const RATE: u32 = 200;
const CONNECTIONS: u32 = 8;

/// p99 of each round, microseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Burn {
    pub(crate) loops: usize,
    pub(crate) hyper_p99: Vec<f64>,
    pub(crate) dhow_p99: Vec<f64>,
    /// Calls of the quick function that failed, over all rounds. Has to be 0.
    pub(crate) failed: usize,
}

impl Burn {
    pub(crate) fn ratio(&self) -> f64 {
        median(&self.dhow_p99) / median(&self.hyper_p99)
    }
}

pub(crate) fn measure(args: &Args) -> Result<Burn, String> {
    let loops = 2 * thread::available_parallelism().map_or(2, usize::from);
    let mut burn = Burn { loops, hyper_p99: vec![], dhow_p99: vec![], failed: 0 };
    for _ in 0..args.rounds {
        burn.hyper_p99.push(beside_native_loops(args, loops)?);
        let (p99, failed) = beside_guests(args, loops)?;
        burn.dhow_p99.push(p99);
        burn.failed += failed;
    }
    Ok(burn)
}

fn beside_native_loops(args: &Args, loops: usize) -> Result<f64, String> {
    struct Loops(Vec<Child>);
    impl Drop for Loops {
        fn drop(&mut self) {
            for child in &mut self.0 {
                drop(child.kill());
                drop(child.wait());
            }
        }
    }
    let server = Server::hyper(Threads::Shared)?;
    let mut children = Loops(Vec::new());
    for _ in 0..loops {
        let mut command = Command::new("nice");
        command.args(["-n", "19", "sh", "-c", "while :; do :; done"]).stdin(Stdio::null());
        children.0.push(command.spawn().map_err(|error| error.to_string())?);
    }
    let (p99, failed) = quick_calls(&server.address, "/", args.seconds)?;
    match failed {
        0 => Ok(p99),
        failed => Err(format!("{failed} calls of bare hyper failed")),
    }
}

fn beside_guests(args: &Args, loops: usize) -> Result<(f64, usize), String> {
    let server = Server::dhow(args, None)?;
    let burn = args.guests.join("c/burn/burn.wasm");
    let seconds = args.seconds + 30;
    let (cpu, wall) = (format!("{seconds}s"), format!("{seconds}s"));
    server.deploy(args, "burn", &burn, &["--cpu-time", &cpu, "--timeout", &wall])?;
    server.deploy(args, "quick", &args.guests.join("rust/http-lean/http-lean.wasm"), &[])?;
    thread::scope(|scope| {
        let burning: Vec<_> = (0..loops)
            .map(|_| {
                let address = server.address.clone();
                // Ends with the server: an endless loop has no answer.
                scope.spawn(move || Connection::open(&address)?.call("/function/burn"))
            })
            .collect();
        thread::sleep(Duration::from_millis(500));
        let result = quick_calls(&server.address, "/function/quick", args.seconds);
        let ended = burning.iter().filter(|one| one.is_finished()).count();
        drop(server.end());
        match ended {
            0 => result,
            _ => Err(format!("{ended} of {loops} endless loops ended before their time")),
        }
    })
}

/// Calls at a fixed rate, whatever the answers take. Latency counts from when a call was due, so
/// that a server which stalls is not spared the calls that it delayed. p99, and failed calls.
fn quick_calls(address: &str, path: &str, seconds: u64) -> Result<(f64, usize), String> {
    let latencies = Mutex::new(Vec::new());
    let failed = Mutex::new(0);
    let period = Duration::from_secs(1) * CONNECTIONS / RATE;
    let start = Instant::now() + Duration::from_millis(100);
    thread::scope(|scope| {
        for index in 0..CONNECTIONS {
            let (latencies, failed) = (&latencies, &failed);
            scope.spawn(move || {
                let mut mine = Vec::new();
                let mut connection = Connection::open(address).ok();
                let mut due = start + period * index / CONNECTIONS;
                while due < start + Duration::from_secs(seconds) {
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    let answered = connection.as_mut().is_some_and(|c| c.call(path).is_ok());
                    if !answered {
                        *failed.lock() += 1;
                        connection = Connection::open(address).ok();
                    }
                    mine.push(due.elapsed().as_secs_f64() * 1e6);
                    due += period;
                }
                latencies.lock().extend(mine);
            });
        }
    });
    let (latencies, failed) = (latencies.into_inner(), failed.into_inner());
    Ok((percentile(&latencies, 0.99), failed))
}
