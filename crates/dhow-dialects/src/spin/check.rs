//! What holds for every application, however it was written down.

use std::collections::HashSet;

use dhow_core::application::{Application, MOST_COMPONENTS};
use dhow_core::plan::components::Components;

use super::template;
use crate::fields::Shown;
use crate::problem::FieldError;

/// Bytes of a component's id.
const MOST_ID: usize = 128;

/// Notes what is wrong with the application as a whole. `components` is the path of its components.
pub(super) fn check<S, F>(
    application: &Application<S, F>,
    components: &str,
    problems: &mut Vec<FieldError>,
) {
    let count = application.components.len();
    if count == 0 {
        problems.push(FieldError::new(components, "there are none"));
    } else if count > MOST_COMPONENTS {
        let message = format!("there are {count}; at most {MOST_COMPONENTS}");
        problems.push(FieldError::new(components, message));
    }
    if let Err(bad) = Components::new(application) {
        problems.push(FieldError::new("trigger", bad.to_string()));
    }
    let mut seen = HashSet::new();
    for component in &application.components {
        let path = format!("{components}.{}", Shown(&component.id));
        if !is_id(&component.id) {
            let message = format!(
                "an id has 1 to {MOST_ID} of letters, digits, `-`, `_` and `.`, and begins with one \
                 of the first two"
            );
            problems.push(FieldError::new(path.as_str(), message));
        }
        if !seen.insert(component.id.as_str()) {
            problems.push(FieldError::new(path.as_str(), "stands there twice"));
        }
        let variables = component.variables.iter();
        let outbound = component.outbound.iter().map(|host| ("allowed_outbound_hosts", host));
        for (name, text) in variables.map(|(name, text)| (name.as_str(), text)).chain(outbound) {
            // What a variable's value is shows when it is set.
            let known = |name: &str| application.variables.contains_key(name).then_some("");
            if let Err(bad) = template::fill(text, known) {
                problems.push(FieldError::new(format!("{path}.{}", Shown(name)), bad.to_string()));
            }
        }
        for (name, value) in &component.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                let path = format!("{path}.environment.{}", Shown(name));
                problems.push(FieldError::new(path, "is no variable of an environment"));
            }
        }
    }
}

/// Ids are shown, and name hosts when components call each other.
fn is_id(id: &str) -> bool {
    (1..=MOST_ID).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// `path` as names alone, with `/` between. One that begins with `/` is below the root all the same.
pub(super) fn inside(path: &str) -> Result<String, &'static str> {
    if path.contains('\0') || path.len() > 4096 {
        return Err("is no file's path");
    }
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => return Err("climbs with `..`"),
            name => names.push(name),
        }
    }
    Ok(names.join("/"))
}
