//! Running other programs.

use std::path::PathBuf;
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand};

/// Runs a program to its end, its output ours.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let line = format!("{program} {}", args.join(" "));
    match Command::new(program).args(args).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}` failed: {status}")),
        Err(error) => Err(format!("`{line}` can't be run: {error}")),
    }
}

/// What a program prints.
pub(crate) fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let line = format!("{program} {}", args.join(" "));
    let output = Command::new(program)
        .args(args)
        .output()
        .map_err(|error| format!("`{line}` can't be run: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{line}` failed: {}\n{said}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{line}` prints no text"))
}

/// What cargo knows of this workspace; with `resolved`, of all that is built into it on the machines
/// that dhow is made for.
pub(crate) fn metadata(resolved: bool) -> Result<Metadata, String> {
    let mut command = MetadataCommand::new();
    let options = match resolved {
        true => ["--filter-platform", "x86_64-unknown-linux-gnu"].map(str::to_owned).to_vec(),
        false => vec!["--no-deps".to_owned()],
    };
    command.other_options(options).exec().map_err(|error| format!("cargo metadata: {error}"))
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> Result<PathBuf, String> {
    metadata(false).map(|metadata| metadata.target_directory.into())
}
