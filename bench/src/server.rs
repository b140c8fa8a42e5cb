//! Servers under measurement: started, found ready, looked at in `/proc`, ended.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Args;
use crate::usage;

/// A server that runs. Ends when dropped.
pub(crate) struct Server {
    process: Child,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    /// dhow's admin address.
    admin: String,
    /// dhow's data, which goes with it unless it is taken.
    pub(crate) data: Option<TempDir>,
}

/// How bare hyper uses its cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// One runtime whose workers share the connections.
    Shared,
    /// A runtime and a listener on each core, the kernel spreads the connections.
    PerCore,
}

impl Server {
    /// Bare hyper.
    pub(crate) fn hyper(threads: Threads) -> Result<Self, String> {
        let address = free_address()?;
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(this.with_file_name("hyper-plain"));
        command.arg(&address);
        if threads == Threads::PerCore {
            command.arg("per-core");
        }
        Self::spawn(command, address)
    }

    /// `wasmtime serve`.
    pub(crate) fn wasmtime(args: &Args, guest: &Path, options: &[&str]) -> Result<Self, String> {
        let address = free_address()?;
        let mut command = Command::new(&args.wasmtime);
        command.args(["serve", "-S", "cli=y", "--addr", &address]).args(options).arg(guest);
        Self::spawn(command, address)
    }

    fn spawn(mut command: Command, address: String) -> Result<Self, String> {
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{command:?} can't be run: {error}"))?;
        let mut server = Self { process, address, admin: String::new(), data: None };
        server.wait()?;
        Ok(server)
    }

    /// dhow with an empty data folder, or with one it had before.
    pub(crate) fn dhow(args: &Args, data: Option<TempDir>) -> Result<Self, String> {
        Self::dhow_with(args, data, &[])
    }

    /// The same, with more options.
    pub(crate) fn dhow_with(
        args: &Args,
        data: Option<TempDir>,
        options: &[&str],
    ) -> Result<Self, String> {
        let data = match data {
            Some(data) => data,
            None => tempfile::tempdir().map_err(|error| error.to_string())?,
        };
        let any = "127.0.0.1:0";
        let process = Command::new(args.dhow())
            .args(["up", "--listen", any, "--admin", any, "--metrics", any, "--data"])
            .arg(data.path())
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{} can't be run: {error}", args.dhow().display()))?;
        let (address, admin) = (String::new(), String::new());
        let mut server = Self { process, address, admin, data: Some(data) };
        let out = server.process.stdout.take().ok_or("dhow has no output")?;
        // Ready once it has told its last address.
        let addresses: Vec<String> = BufReader::new(out)
            .lines()
            .take(3)
            .filter_map(|line| Some(line.ok()?.split_once("http://")?.1.to_owned()))
            .collect();
        let [address, admin, _] = addresses.as_slice() else {
            return Err("dhow did not start".to_owned());
        };
        (server.address, server.admin) = (address.clone(), format!("http://{admin}"));
        Ok(server)
    }

    /// Deploys a function on dhow.
    pub(crate) fn deploy(
        &self,
        args: &Args,
        name: &str,
        guest: &Path,
        options: &[&str],
    ) -> Result<(), String> {
        self.client(Command::new(args.dhow()).args(["deploy", name]).arg(guest).args(options))
    }

    /// Applies a manifest to dhow.
    pub(crate) fn apply(&self, args: &Args, manifest: &Path) -> Result<(), String> {
        self.client(Command::new(args.dhow()).args(["apply", "-f"]).arg(manifest))
    }

    fn client(&self, command: &mut Command) -> Result<(), String> {
        let output = command.env("DHOW_SERVER", &self.admin).output();
        let output = output.map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn wait(&mut self) -> Result<(), String> {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            if TcpStream::connect(&self.address).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(format!("a server ended at once: {status}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("a server does not answer".to_owned())
    }

    /// CPU seconds used so far, user and system, with children.
    pub(crate) fn cpu(&self) -> Result<f64, String> {
        usage::cpu(self.process.id())
    }

    /// Bytes of memory that are this process' share.
    pub(crate) fn pss(&self) -> Result<u64, String> {
        usage::pss(self.process.id())
    }

    /// Ends the server; its data stays.
    pub(crate) fn end(mut self) -> Option<TempDir> {
        self.stop();
        self.data.take()
    }

    fn stop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_address() -> Result<String, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.to_string()).map_err(|error| error.to_string())
}
