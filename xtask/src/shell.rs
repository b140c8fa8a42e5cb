//! Running other programs.

use std::path::PathBuf;
use std::process::Command;

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

/// What cargo knows of this workspace.
pub(crate) fn metadata() -> Result<serde_json::Value, String> {
    let text = output("cargo", &["metadata", "--no-deps", "--format-version", "1"])?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata prints no JSON: {error}"))
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> Result<PathBuf, String> {
    let metadata = metadata()?;
    let folder = metadata["target_directory"].as_str();
    folder.map(PathBuf::from).ok_or_else(|| "cargo has no target folder".to_owned())
}
