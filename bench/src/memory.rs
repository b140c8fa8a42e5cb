//! What deployed functions that nobody calls cost: one module under thousands of names.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Args;
use crate::server::Server;

/// Functions in one manifest.
const BATCH: usize = 500;
/// Deploying ends here, with as many functions as there are by then.
const PATIENCE: Duration = Duration::from_secs(120);

/// Resident bytes of dhow.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Memory {
    pub(crate) functions: usize,
    pub(crate) deploying_seconds: f64,
    /// Before anything was deployed.
    pub(crate) empty: u64,
    /// In the process that deployed them.
    pub(crate) deployed: u64,
    /// After a restart with all of them.
    pub(crate) restarted: u64,
    /// How long that restart took, to ready.
    pub(crate) start_seconds: f64,
}

impl Memory {
    /// Bytes for each function in a process that has started with them.
    #[expect(clippy::cast_precision_loss, reason = "memory of one machine")]
    pub(crate) fn each(&self) -> f64 {
        (self.restarted as f64 - self.empty as f64) / self.functions as f64
    }
}

pub(crate) fn measure(args: &Args) -> Result<Memory, String> {
    let server = Server::dhow(args, None)?;
    let empty = server.memory()?;
    let guest = args.guests.join("rust/http-lean/http-lean.wasm");
    let guest = fs::canonicalize(&guest).map_err(|why| format!("{}: {why}", guest.display()))?;

    let began = Instant::now();
    let mut functions = 0;
    while functions < args.functions && began.elapsed() < PATIENCE {
        let until = (functions + BATCH).min(args.functions);
        let mut text = String::new();
        for index in functions..until {
            let path = guest.display();
            writeln!(
                text,
                "---\napiVersion: dhow.dev/v1alpha1\nkind: Function\n\
                 metadata: {{name: f{index}}}\nspec: {{source: {{path: {path}}}}}"
            )
            .map_err(|why| why.to_string())?;
        }
        let manifest = tempfile::Builder::new().suffix(".yaml").tempfile();
        let manifest = manifest.map_err(|why| why.to_string())?;
        fs::write(manifest.path(), text).map_err(|why| why.to_string())?;
        server.apply(args, manifest.path())?;
        functions = until;
    }
    let deploying_seconds = began.elapsed().as_secs_f64();
    let deployed = server.memory()?;

    let data = server.end();
    let began = Instant::now();
    let server = Server::dhow(args, data)?;
    let start_seconds = began.elapsed().as_secs_f64();
    // What the start itself needed is given back by then, or is not.
    std::thread::sleep(Duration::from_secs(1));
    let restarted = server.memory()?;
    Ok(Memory { functions, deploying_seconds, empty, deployed, restarted, start_seconds })
}
