//! What is printed: a line for each check, or all of it for machines.

use serde_json::{Value, json};

use super::finding::{Check, Done, Level, Look, Remedy};
use super::table::CHECKS;
use crate::cli::colour;
use crate::cli::error::CommandError;
use crate::cli::output::{Format, Output};

/// Prints what was found.
///
/// # Errors
/// When it can't be written.
pub(super) fn print(
    done: &[Done],
    format: Format,
    output: &mut Output,
) -> Result<(), CommandError> {
    match format {
        Format::Json | Format::Yaml => {
            let checks: Vec<Value> = done.iter().map(value).collect();
            let document = json!({
                "faults": count(done, Level::Fault),
                "notices": count(done, Level::Notice),
                "checks": checks,
            });
            output.value(&document, format)?;
        }
        Format::Name => {
            for one in done.iter().filter(|one| one.is_wrong()) {
                output.line(one.check.name)?;
            }
        }
        Format::Table | Format::Wide => people(done, output)?,
    }
    Ok(())
}

/// Prints the checks that there are.
///
/// # Errors
/// When it can't be written.
pub(super) fn list(format: Format, output: &mut Output) -> Result<(), CommandError> {
    match format {
        Format::Json | Format::Yaml => {
            let checks: Vec<Value> = CHECKS.iter().map(described).collect();
            output.value(&json!({"checks": checks}), format)?;
        }
        Format::Name => {
            for check in CHECKS {
                output.line(check.name)?;
            }
        }
        Format::Table | Format::Wide => {
            for check in CHECKS {
                let Check { name, about, found, .. } = check;
                output.line(format_args!("{name} ({})", level(check.level)))?;
                output.line(format_args!("  looks at    {about}"))?;
                output.line(format_args!("  wrong when  {found}"))?;
                output.line(match check.remedy {
                    Remedy::Fixed(what) => format!("  --fix       {what}"),
                    Remedy::Explained(what) => format!("  advice      {what}"),
                })?;
            }
        }
    }
    Ok(())
}

fn people(done: &[Done], output: &mut Output) -> Result<(), CommandError> {
    let width = CHECKS.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for one in done {
        let name = one.check.name;
        let line = |state: &str, style, text: &str, output: &mut Output| {
            let state = output.styled(style, format_args!("{state:<8}"));
            output.line(format_args!("{state}{name:<width$}  {text}"))
        };
        match &one.look {
            Look::Good(what) => line("good", colour::GOOD, what, output)?,
            Look::Skipped(why) => line("skipped", anstyle::Style::new(), why, output)?,
            Look::Wrong(_) => {
                for (finding, fixed) in one.findings() {
                    let (state, style) = match (fixed, one.check.level) {
                        (Some(Ok(())), _) => ("fixed", colour::GOOD),
                        (_, Level::Fault) => ("fault", colour::ERROR),
                        (_, Level::Notice) => ("notice", colour::NOTICE),
                    };
                    line(state, style, &finding.what, output)?;
                    match fixed {
                        Some(Ok(())) => {}
                        Some(Err(error)) => {
                            output.line(format_args!("{:<8}not fixed: {error}", ""))?;
                        }
                        None => output.line(format_args!("{:<8}do: {}", "", finding.advice))?,
                    }
                }
            }
        }
    }
    let (faults, notices) = (count(done, Level::Fault), count(done, Level::Notice));
    output.line(format_args!("{} checks: {faults} faults, {notices} notices", done.len()))?;
    Ok(())
}

/// Checks of this level by which something stays wrong.
fn count(done: &[Done], level: Level) -> usize {
    done.iter().filter(|one| one.check.level == level && one.is_wrong()).count()
}

fn value(done: &Done) -> Value {
    let (state, detail) = match &done.look {
        Look::Good(what) => ("good", what.as_str()),
        Look::Skipped(why) => ("skipped", why.as_str()),
        Look::Wrong(_) if done.is_wrong() => ("wrong", ""),
        Look::Wrong(_) => ("fixed", ""),
    };
    let findings: Vec<Value> = done
        .findings()
        .map(|(finding, fixed)| {
            json!({
                "what": finding.what,
                "advice": finding.advice,
                "fixable": finding.fix.is_some(),
                "fixed": matches!(fixed, Some(Ok(()))),
                "error": fixed.and_then(|fixed| fixed.as_ref().err()).map(ToString::to_string),
            })
        })
        .collect();
    json!({
        "name": done.check.name,
        "level": level(done.check.level),
        "state": state,
        "detail": detail,
        "findings": findings,
    })
}

fn described(check: &Check) -> Value {
    let (fixed, text) = match check.remedy {
        Remedy::Fixed(what) => (true, what),
        Remedy::Explained(what) => (false, what),
    };
    json!({
        "name": check.name,
        "level": level(check.level),
        "looksAt": check.about,
        "wrongWhen": check.found,
        "fixed": fixed,
        "remedy": text,
    })
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Fault => "fault",
        Level::Notice => "notice",
    }
}
