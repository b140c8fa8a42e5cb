//! `WWW-Authenticate`: what a registry wants to be shown. Text to values, nothing else.

/// One way to say who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token from a token server.
    Bearer {
        /// The token server.
        realm: String,
        /// What it calls the registry.
        service: Option<String>,
        /// What the token must allow.
        scope: Option<String>,
    },
}

/// The longest header that is read, bytes.
const LONGEST: usize = 8 << 10;

/// The first challenge of `header` that can be met; Bearer before Basic.
pub(super) fn read<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let all: Vec<Challenge> =
        headers.filter(|header| header.len() <= LONGEST).flat_map(challenges).collect();
    let bearer = all.iter().position(|found| matches!(found, Challenge::Bearer { .. }));
    all.into_iter().nth(bearer.unwrap_or(0))
}

/// RFC 9110, 11.6.1: schemes, each with comma-separated parameters, all in one comma-separated list.
fn challenges(header: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = token(rest);
        if word.is_empty() {
            break;
        }
        match after.trim_start_matches(' ').strip_prefix('=') {
            // `scheme` alone, or before its parameters.
            None => {
                found.push((word.to_ascii_lowercase(), Vec::new()));
                rest = after;
            }
            Some(value) => {
                let Some((value, after)) = value_of(value.trim_start_matches(' ')) else { break };
                if let Some((_, parameters)) = found.last_mut() {
                    parameters.push((word.to_ascii_lowercase(), value));
                }
                rest = after;
            }
        }
    }
    found.into_iter().filter_map(|(scheme, parameters)| challenge(&scheme, parameters)).collect()
}

fn challenge(scheme: &str, mut parameters: Vec<(String, String)>) -> Option<Challenge> {
    let mut take = |name: &str| {
        let at = parameters.iter().position(|(known, _)| known == name)?;
        Some(parameters.swap_remove(at).1)
    };
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer {
            realm: take("realm")?,
            service: take("service"),
            scope: take("scope").filter(|scope| !scope.is_empty()),
        }),
        _ => None,
    }
}

fn token(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)))
        .unwrap_or(text.len());
    text.split_at(end)
}

/// A quoted string or a token, and what follows it.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        // Some registries leave the quotes off addresses; a bare value ends at a comma or space.
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        })
    }

    #[test]
    fn what_registries_send_is_read() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let scope = Some("repository:a/b:pull,push");
        let at = "https://auth.docker.io/token";
        assert_eq!(read([hub].into_iter()), bearer(at, Some("registry.docker.io"), scope));
        for (headers, wanted) in [
            (vec![r#"Basic realm="x""#], Some(Challenge::Basic)),
            (vec!["Basic"], Some(Challenge::Basic)),
            (vec![r#"bearer realm="https://a/t""#], bearer("https://a/t", None, None)),
            (
                vec![r#"Bearer realm=https://a/t, service=s"#],
                bearer("https://a/t", Some("s"), None),
            ),
            (vec![r#"Bearer realm="a\"b", scope="""#], bearer("a\"b", None, None)),
            (
                vec![r#"Basic realm="x, y", Bearer realm="https://a/t""#],
                bearer("https://a/t", None, None),
            ),
            (vec!["Basic", r#"Bearer realm="r""#], bearer("r", None, None)),
            (vec![r#"Bearer service="s""#], None),
            (vec!["Negotiate abc=="], None),
            (vec![r#"Bearer realm="never ends"#], None),
            (vec![""], None),
        ] {
            assert_eq!(read(headers.iter().copied()), wanted, "{headers:?}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_to_its_end(header in "[ -~\\p{L}]{0,200}") {
            read([header.as_str()].into_iter());
        }
    }
}
