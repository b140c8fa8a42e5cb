//! The tests, step by step, each with its time.

use std::time::Instant;

use crate::{shell, tidy};

/// One step: its name, and what it does.
type Step = (&'static str, fn() -> Result<(), String>);

/// Everything.
pub(crate) const ALL: &[Step] = &[
    ("fmt", fmt),
    ("tidy", tidy::run),
    ("shellcheck", shellcheck),
    ("deny", deny),
    ("guests", guests),
    ("clippy", clippy),
    ("test", test),
    ("fuzz", fuzz),
];

/// What takes little time.
pub(crate) const QUICK: &[Step] = &[("fmt", fmt), ("tidy", tidy::run), ("clippy", clippy)];

/// Runs the steps in order, to the first that fails.
#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
pub(crate) fn run(steps: &[Step]) -> Result<(), String> {
    let mut passed = 0;
    for (name, step) in steps {
        println!("== {name}");
        let began = Instant::now();
        if let Err(why) = step() {
            println!("== {name} failed after {} s", began.elapsed().as_secs());
            println!("{passed} passed, 1 failed");
            return Err(format!("{name}: {why}"));
        }
        println!("== {name} passed in {} s", began.elapsed().as_secs());
        passed += 1;
    }
    println!("{passed} passed, 0 failed");
    Ok(())
}

fn fmt() -> Result<(), String> {
    shell::run("cargo", &["fmt", "--all", "--check"])
}

fn clippy() -> Result<(), String> {
    let lint = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    shell::run("cargo", &lint)
}

fn shellcheck() -> Result<(), String> {
    let files = shell::output("git", &["ls-files", "x", ".ci/run", "*.sh"])?;
    shell::run("shellcheck", &files.lines().collect::<Vec<_>>())
}

/// Advisories need a database from elsewhere, so they are not part of this.
fn deny() -> Result<(), String> {
    shell::run("cargo", &["deny", "--log-level", "error", "check", "bans", "licenses", "sources"])
}

fn guests() -> Result<(), String> {
    shell::run("guests/build.sh", &["check"])?;
    ["go", "js", "python"]
        .into_iter()
        .try_for_each(|language| shell::run("guests/build.sh", &[language]))
}

fn test() -> Result<(), String> {
    shell::run("cargo", &["test", "--workspace", "--quiet"])
}

fn fuzz() -> Result<(), String> {
    shell::run("bash", &["fuzz/check.sh"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_that_fails_ends_the_run() {
        let steps: &[Step] = &[
            ("one", || Ok(())),
            ("two", || Err("broken".to_owned())),
            ("three", || panic!("not to be reached")),
        ];
        assert_eq!(run(steps), Err("two: broken".to_owned()));
        assert_eq!(run(&steps[..1]), Ok(()));
    }
}
