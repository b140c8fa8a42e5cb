//! The parent of a compiling child: starts it, waits for it, reads its report.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use dhow_core::digest::Digest;
use dhow_core::ports::Refusal;
use dhow_core::quantity::{print_bytes, print_duration};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::compile::worker::{Orders, WORKER_NAME};
use crate::compile::{Look, Report, report};
use crate::config::CompileBudget;

/// The most of a child's report or complaint that is read, bytes.
const MOST_SAID: u64 = 1 << 20;
/// `SIGXCPU` on Linux.
const SIGXCPU: i32 = 24;

/// Compiles `module`, which must have that digest, into the new file `code`.
///
/// # Errors
/// The module's fault, or that it cost more than its budget. `code` may then exist, unfinished.
pub(crate) async fn compile(
    compiler: &Path,
    budget: &CompileBudget,
    (digest, module): (Digest, File),
    code: &Path,
) -> Result<Look, Refusal> {
    let orders = Orders {
        code: code.to_owned(),
        digest,
        module: budget.module,
        memory: budget.memory,
        cpu: budget.cpu.as_secs().max(1),
    };
    let mut child = Command::new(compiler)
        .arg0(WORKER_NAME)
        .args(orders.to_args())
        .env_clear()
        .stdin(module)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| broken(format!("the compiler can't be started: {error}")))?;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let stdout = child.stdout.take().expect("stdout is piped").take(MOST_SAID);
    let stderr = child.stderr.take().expect("stderr is piped").take(MOST_SAID);
    let heard = async {
        let (mut stdout, mut stderr) = (stdout, stderr);
        let said = tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err));
        (said, child.wait().await)
    };
    let Ok((said, status)) = tokio::time::timeout(budget.wall, heard).await else {
        return Err(too_costly(format!("{} of time", print_duration(budget.wall))));
    };
    let status = status.map_err(|error| broken(error.to_string()))?;
    if let (Err(error), _) | (_, Err(error)) = said {
        return Err(broken(error.to_string()));
    }
    match serde_json::from_slice(&out) {
        Ok(Report::Compiled(look)) if status.success() => Ok(look),
        Ok(Report::Refused { reason, message, hint }) => {
            Err(report::refusal(&reason, message, hint))
        }
        _ => Err(died(status, &String::from_utf8_lossy(&err), budget)),
    }
}

fn died(status: ExitStatus, said: &str, budget: &CompileBudget) -> Refusal {
    let out_of_memory = said.contains("memory allocation of") || said.contains("Cannot allocate");
    match status.signal() {
        Some(SIGXCPU) => too_costly(format!("{} of CPU time", print_duration(budget.cpu))),
        _ if out_of_memory => too_costly(format!("{} of memory", print_bytes(budget.memory))),
        _ => {
            let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing");
            tracing::error!(%status, said, "the compiler died");
            broken(format!("the compiler died ({status}); it said: {last}"))
        }
    }
}

fn too_costly(what: String) -> Refusal {
    Refusal {
        reason: "compile-limit",
        message: format!("compiling the module takes more than {what}"),
        hint: "make the module smaller".to_owned(),
    }
}

fn broken(message: String) -> Refusal {
    Refusal {
        reason: "internal",
        message,
        hint: "the server stays up; its log tells more".to_owned(),
    }
}

/// How often a waiting client hears that a compilation still goes on.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_millis(500);
