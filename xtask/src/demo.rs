//! The first command of the README: a running dhow with the samples in it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::shell;

/// A sample: its name, its module, how it is deployed, and how it is called with curl.
struct Sample {
    name: &'static str,
    module: &'static str,
    options: &'static [&'static str],
    curl: &'static [&'static str],
    /// Part of what it says.
    says: &'static str,
}

const SAMPLES: &[Sample] = &[
    Sample {
        name: "hello",
        module: "guests/c/hello/hello.wasm",
        options: &[],
        curl: &["/function/hello"],
        says: "Hello, world!",
    },
    Sample {
        name: "handler",
        module: "guests/rust/http-std/http-std.wasm",
        options: &["--route", "/greet"],
        curl: &["/greet"],
        says: "Hello, world!",
    },
    Sample {
        name: "sort",
        module: "guests/c/sort/sort.wasm",
        options: &["--io", "keeper"],
        curl: &["-d", "{\"args\":[\"3\",\"1\",\"2\"]}", "/function/sort"],
        says: "1 2 3",
    },
    Sample {
        name: "cgi",
        module: "guests/c/cgi/cgi.wasm",
        options: &["--io", "cgi"],
        curl: &["/function/cgi/a/path?a=query"],
        says: "QUERY_STRING=a=query",
    },
    Sample {
        name: "leak",
        module: "guests/wat/leak.wat",
        options: &[],
        curl: &["/function/leak"],
        says: "g0 d1 b0",
    },
];

/// Builds, starts, deploys, says how to call. Goes on until it is interrupted, or, to `check`,
/// until each sample has been called once.
#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
pub(crate) fn run(check: bool) -> Result<(), String> {
    shell::run("cargo", &["build", "--release", "-p", "dhow"])?;
    let dhow = shell::target_folder()?.join("release/dhow");
    // From here on there is something to end and to take away, whatever ends us.
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).map_err(|why| why.to_string())?;
    }
    let mut server = Server::start(&dhow, check)?;
    for sample in SAMPLES {
        let mut command = Command::new(&dhow);
        command.args(["deploy", sample.name, sample.module]).args(sample.options);
        let deployed = command.env("DHOW_SERVER", &server.admin).stdout(Stdio::null()).status();
        if !deployed.is_ok_and(|status| status.success()) {
            return Err(format!("{} can't be deployed", sample.name));
        }
    }
    println!("\ndhow runs. Its functions are called so:\n");
    for sample in SAMPLES {
        println!("  {}", server.curl(sample));
    }
    if check {
        for sample in SAMPLES {
            server.call(sample)?;
        }
        println!("\nEach was called and answered.");
        return Ok(());
    }
    println!("\n  {} list", dhow.display());
    println!("\nCtrl-C ends it.");
    while !ended.load(Ordering::Relaxed) {
        if let Some(status) = server.process.try_wait().map_err(|why| why.to_string())? {
            return Err(format!("dhow ended by itself: {status}"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A dhow that runs. Ends when dropped.
struct Server {
    process: Child,
    /// The data folder, which goes with the server.
    data: PathBuf,
    gateway: String,
    admin: String,
}

impl Server {
    /// On the usual ports; to check, on any that are free, with a data folder that goes.
    fn start(dhow: &Path, check: bool) -> Result<Self, String> {
        let data = std::env::temp_dir().join(format!("dhow-demo-{}", std::process::id()));
        let mut command = Command::new(dhow);
        command.arg("up").arg("--data").arg(&data);
        if check {
            let any = "127.0.0.1:0";
            command.args(["--listen", any, "--admin", any, "--metrics", any]);
        }
        let process = command
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{} can't be run: {error}", dhow.display()))?;
        let mut server = Self { process, data, gateway: String::new(), admin: String::new() };
        let mut lines = server.process.stdout.take().map(BufReader::new).into_iter().flat_map(
            // Ready once it has told its last address.
            |out| out.lines().map_while(Result::ok).take(3),
        );
        let mut address =
            |of: &str| lines.next()?.strip_prefix(of).map(|rest| rest.trim().to_owned());
        match (address("gateway "), address("admin "), address("metrics ")) {
            (Some(gateway), Some(admin), Some(_)) => {
                (server.gateway, server.admin) = (gateway, admin);
                Ok(server)
            }
            _ => Err("dhow did not start; it said why above".to_owned()),
        }
    }

    fn arguments(&self, sample: &Sample) -> Vec<String> {
        let mut arguments: Vec<String> = sample.curl.iter().map(|arg| (*arg).to_owned()).collect();
        if let Some(path) = arguments.last_mut() {
            *path = format!("{}{path}", self.gateway);
        }
        arguments
    }

    fn curl(&self, sample: &Sample) -> String {
        let quote = |arg: String| match arg.contains(['{', '?', ' ']) {
            true => format!("'{arg}'"),
            false => arg,
        };
        let arguments: Vec<_> = self.arguments(sample).into_iter().map(quote).collect();
        format!("curl {}", arguments.join(" "))
    }

    fn call(&self, sample: &Sample) -> Result<(), String> {
        let mut arguments = self.arguments(sample);
        arguments.splice(0..0, ["-sS".to_owned(), "--max-time".to_owned(), "30".to_owned()]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let answer = shell::output("curl", &arguments)?;
        match answer.contains(sample.says) {
            true => Ok(()),
            false => Err(format!("{} answers {answer:?}, without {:?}", sample.name, sample.says)),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Politely: it may be answering a call. A Ctrl-C in a terminal has told it already, and it
        // may have ended; then there is nobody to tell.
        if let Ok(pid) = i32::try_from(self.process.id())
            && let (Some(pid), Ok(None)) = (Pid::from_raw(pid), self.process.try_wait())
        {
            let _ = kill_process(pid, Signal::TERM);
        }
        drop(self.process.wait());
        drop(std::fs::remove_dir_all(&self.data));
    }
}
