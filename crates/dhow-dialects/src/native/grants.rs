//! What a function may do beyond computing: `spec.network` and `spec.secrets`.

use dhow_core::grant::{Grants, MOST_RULES, MOST_SECRETS};
use dhow_core::name::Label;
use dhow_core::network::{AllowRule, Scheme};
use serde_json::{Value, json};

use super::access::list;
use crate::fields::{self, Known, Object, Shown};
use crate::problem::FieldError;

const NETWORK: Known = Known { fields: &["allow"], unsupported: &[] };

/// The grants of a function; without a field, it has none of that kind.
pub(super) fn decode(spec: &Object<'_>, problems: &mut Vec<FieldError>) -> Grants {
    Grants { network: network(spec, problems), secrets: secrets(spec, problems) }
}

/// Adds to `spec` what is granted.
pub(super) fn encode(grants: &Grants, spec: &mut Value) {
    let Grants { network, secrets } = grants;
    if !network.is_empty() {
        let allow: Vec<_> = network.iter().map(AllowRule::to_string).collect();
        spec["network"] = json!({"allow": allow});
    }
    if !secrets.is_empty() {
        spec["secrets"] = secrets.iter().map(Label::as_str).collect();
    }
}

fn secrets(spec: &Object<'_>, problems: &mut Vec<FieldError>) -> Vec<Label> {
    let mut names: Vec<Label> = Vec::new();
    for (path, value) in list(spec, "secrets", MOST_SECRETS, problems) {
        let Some(text) = fields::text(&path, value, problems) else { continue };
        match text.parse::<Label>() {
            Ok(name) if names.contains(&name) => {
                problems.push(FieldError::new(path, format!("`{name}` stands here twice")));
            }
            Ok(name) => names.push(name),
            Err(error) => problems.push(FieldError::new(path, error.to_string())),
        }
    }
    names
}

fn network(spec: &Object<'_>, problems: &mut Vec<FieldError>) -> Vec<AllowRule> {
    let Some(said) = spec.object("network", &NETWORK, problems) else { return vec![] };
    let mut rules = Vec::new();
    for (path, value) in list(&said, "allow", MOST_RULES, problems) {
        let Some(text) = fields::text(&path, value, problems) else { continue };
        match text.parse::<AllowRule>() {
            Ok(rule) if rules.contains(&rule) => {
                problems
                    .push(FieldError::new(path, format!("`{}` stands here twice", Shown(text))));
            }
            Ok(AllowRule { scheme: Some(Scheme::Tcp | Scheme::Udp), .. }) => {
                let message = format!(
                    "`{}`: streams and datagrams are part of the format, but are not supported by \
                     this version of dhow",
                    Shown(text)
                );
                problems.push(FieldError::new(path, message));
            }
            Ok(rule) => rules.push(rule),
            Err(error) => {
                problems.push(FieldError::new(path, format!("`{}`: {error}", Shown(text))));
            }
        }
    }
    rules
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Every grant there is.
    pub(in crate::native) fn full() -> Grants {
        Grants {
            network: ["https://api.example.com", "GET http://*.example.com:8000-8010", "*://*:*"]
                .map(|rule| rule.parse().unwrap())
                .to_vec(),
            secrets: ["token", "other"].map(|name| name.parse().unwrap()).to_vec(),
        }
    }
}
