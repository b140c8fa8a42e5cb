//! Texts in which `{{ name }}` stands for a variable of the application.

/// Why a text is no template, or has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// `{{` without `}}`.
    #[error("has `{{{{` without `}}}}`")]
    Open,
    /// A variable that nobody declared, or that has no value.
    #[error("names the variable `{0}`, which the application does not have")]
    Unknown(String),
}

/// `text` with every variable replaced by what `value` says of it.
///
/// # Errors
/// When the text is no template, or `value` knows nothing of a variable.
pub fn fill<'v>(
    text: &str,
    value: impl Fn(&str) -> Option<&'v str>,
) -> Result<String, BadTemplate> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or(BadTemplate::Open)?;
        let name = name.trim();
        filled.push_str(before);
        filled.push_str(value(name).ok_or_else(|| BadTemplate::Unknown(name.to_owned()))?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, BadTemplate> {
        fill(text, |name| (name == "host").then_some("example.com"))
    }

    #[test]
    fn variables_are_filled_in_and_nothing_else_changes() {
        assert_eq!(
            filled("https://{{host}}:{{ host }}/"),
            Ok("https://example.com:example.com/".into())
        );
        assert_eq!(filled("plain { text }"), Ok("plain { text }".into()));
        assert_eq!(filled("{{ port }}"), Err(BadTemplate::Unknown("port".into())));
        assert_eq!(filled("a {{ host"), Err(BadTemplate::Open));
    }
}
