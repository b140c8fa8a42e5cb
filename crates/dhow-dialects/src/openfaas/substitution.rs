//! `${NAME}` in a `stack.yml`, replaced before it is read, as faas-cli does it (drone/envsubst).
//!
//! Known are `${NAME}` and a text in its place where the variable is empty or not there:
//! `${NAME:-TEXT}`, `${NAME:=TEXT}`, `${NAME=TEXT}`; `$${NAME}` is `${NAME}`. What else the original
//! can do is refused by name.

use crate::fields::Shown;
use crate::problem::FieldError;

/// `text` with its variables replaced by what `variable` says of them.
///
/// # Errors
/// Every place that can't be replaced, by its line.
pub(super) fn substitute(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Vec<FieldError>> {
    let mut replaced = String::with_capacity(text.len());
    let mut problems = vec![];
    let mut rest = text;
    while let Some(begin) = rest.find("${") {
        let (before, from) = rest.split_at(begin);
        if let Some(before) = before.strip_suffix('$') {
            replaced.push_str(before);
            replaced.push_str("${");
            rest = &from[2..];
            continue;
        }
        replaced.push_str(before);
        let line = text[..text.len() - from.len()].matches('\n').count() + 1;
        let mut wrong = |message: String| {
            problems.push(FieldError::new(format!("line {line}"), message));
        };
        let Some(end) = from.find('}') else {
            wrong("`${` has no `}`".to_owned());
            rest = "";
            break;
        };
        let inside = &from[2..end];
        match value(inside, variable) {
            Some(value) => replaced.push_str(&value),
            None => wrong(format!(
                "`${{{}}}` can't be replaced; known are ${{NAME}} and ${{NAME:-TEXT}}",
                Shown(inside)
            )),
        }
        rest = &from[end + 1..];
    }
    replaced.push_str(rest);
    if problems.is_empty() { Ok(replaced) } else { Err(problems) }
}

fn value(inside: &str, variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let (name, rest) = inside.split_at(end.unwrap_or(inside.len()));
    let instead = match rest {
        "" => "",
        rest => [":-", ":=", "="].iter().find_map(|sign| rest.strip_prefix(sign))?,
    };
    // A variable inside of the other text would end at the first brace.
    if name.is_empty() || instead.contains("${") {
        return None;
    }
    let said = variable(name).filter(|said| !said.is_empty());
    Some(said.unwrap_or_else(|| instead.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "TAG" => Some("v1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_and_may_have_something_in_their_place() {
        for (text, replaced) in [
            ("image: a:${TAG}", "image: a:v1"),
            ("${TAG:-x}${NONE:-http://a:1/}${EMPTY:=y}${NONE=z}", "v1http://a:1/yz"),
            ("${NONE}|${EMPTY}", "|"),
            ("$${TAG} $TAG $ {TAG}", "${TAG} $TAG $ {TAG}"),
            ("no variable at all: $", "no variable at all: $"),
        ] {
            assert_eq!(substitute(text, &variable).as_deref(), Ok(replaced), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_named_by_its_line() {
        for text in ["${TAG^}", "${TAG:0:1}", "${}", "${TAG:-${TAG}}", "${TAG", "${TAG/a/b}"] {
            let problems = substitute(&format!("a\n{text}\n"), &variable).unwrap_err();
            assert_eq!(problems[0].path, "line 2", "{text}");
        }
    }
}
