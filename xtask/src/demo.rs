//! The first command of the README: a running dhow with the samples in it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
    server.process.wait().map(drop).map_err(|error| error.to_string())
}

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
        let mut process = command
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{} can't be run: {error}", dhow.display()))?;
        let lines =
            process.stdout.take().map(BufReader::new).into_iter().flat_map(|out| out.lines());
        let addresses: Vec<String> = lines
            .take(3)
            .filter_map(|line| line.ok()?.split_whitespace().nth(1).map(str::to_owned))
            .collect();
        match addresses.as_slice() {
            [gateway, admin, _] => {
                let (gateway, admin) = (gateway.clone(), admin.clone());
                Ok(Self { process, data, gateway, admin })
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
        // It may have been interrupted together with us.
        drop(self.process.kill());
        drop(self.process.wait());
        drop(std::fs::remove_dir_all(&self.data));
    }
}
