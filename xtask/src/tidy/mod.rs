//! The rules of this tree that no other tool holds: which crate may use which, how long files may
//! be, what text must not be committed, that guests can be built again. This module gathers what
//! the rules look at; the rules themselves are pure functions in the modules below.

mod arrows;
mod files;
mod guests;

use std::fs;

use crate::shell;

/// Where the build lines of guests are.
const BUILD_SCRIPT: &str = "guests/build.sh";

/// Looks at everything and names all that is wrong.
pub(crate) fn run() -> Result<(), String> {
    let metadata = shell::metadata(true)?;
    let mut wrong = arrows::check(&arrows::packages(&metadata)?);

    for package in metadata.workspace_packages() {
        let manifest = package.manifest_path.as_path();
        let text = fs::read_to_string(manifest).map_err(|why| format!("{manifest}: {why}"))?;
        wrong.extend(files::lints(&package.name, &text));
    }

    let listed = shell::output("git", &["ls-files"])?;
    let files: Vec<&str> = listed.lines().collect();
    for file in &files {
        match fs::read(file) {
            Ok(bytes) => wrong.extend(files::check(file, &bytes)),
            // Removed, and the removal not yet committed.
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
            Err(why) => wrong.push(format!("{file} can't be read: {why}")),
        }
    }

    let script =
        fs::read_to_string(BUILD_SCRIPT).map_err(|why| format!("{BUILD_SCRIPT}: {why}"))?;
    wrong.extend(guests::check(&files, &script));

    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!("this tree breaks its rules:\n  {}", wrong.join("\n  "))),
    }
}
