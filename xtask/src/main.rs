//! The verbs of development. `./x VERB` installs what a verb needs and calls it here.

mod demo;
mod shell;
mod steps;
mod tidy;

use std::env;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
usage: ./x VERB
  demo [--check]  build dhow, start it, deploy the samples; --check calls each once and ends
  test            every test there is
  check           formatting, lints and the rules of this tree: the quick part of `test`
  tidy            the rules of this tree alone
  guests          rebuild every guest, the committed ones too
  fuzz            the fuzz targets, each with its planted bug
  bench [ARGS]    measure dhow beside its peers; --help has the arguments";

#[expect(clippy::print_stderr, reason = "a tool for a terminal")]
fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let verb = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    // From wherever it is called: all that verbs name is named from the root of the tree.
    // As `cargo run` says it now: clones may share one target folder, and with it this program.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR");
    let root = Path::new(&manifest.unwrap_or_else(|| "xtask".into())).join("..");
    if let Err(why) = env::set_current_dir(&root) {
        eprintln!("{} can't be entered: {why}", root.display());
        return ExitCode::FAILURE;
    }
    let done = match verb.as_str() {
        "demo" => demo::run(rest.iter().any(|arg| arg == "--check")),
        "test" => steps::run(steps::ALL),
        "check" => steps::run(steps::QUICK),
        "tidy" => tidy::run(),
        "guests" => shell::run("guests/build.sh", &["all"]),
        "fuzz" => shell::run("bash", &["fuzz/check.sh"]),
        "bench" => bench(&rest),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Measures the dhow that is named, or else one that is built for it.
fn bench(args: &[String]) -> Result<(), String> {
    let mut build = vec!["build", "--release", "-p", "dhow-bench"];
    if !args.iter().any(|arg| arg == "--dhow" || arg.starts_with("--dhow=") || arg == "--help") {
        build.extend(["-p", "dhow"]);
    }
    shell::run("cargo", &build)?;
    let program = shell::target_folder()?.join("release/dhow-bench");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    shell::run(&program.to_string_lossy(), &args)
}
