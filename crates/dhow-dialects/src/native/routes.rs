//! `spec.routes`: the syntax of paths, hosts and methods. Whether two routes get in each other's
//! way is decided by [`dhow_core::plan::routes`].

use dhow_core::route::Route;
use http::Method;

use crate::fields::{self, Known, Object, Shown};
use crate::problem::FieldError;

const ROUTE: Known = Known { fields: &["path", "methods", "host"], unsupported: &[] };

/// Routes of one function. More are a matter for a path with a parameter.
const MOST_ROUTES: usize = 100;
/// First segments that never reach a declared route.
const OWN: [&str; 7] =
    ["healthz", "readyz", "function", "async-function", "fission-function", "system", "ui"];
/// Bytes of one path.
const MOST_PATH: usize = 1024;

/// Every route that is said, or the problems noted.
pub(super) fn routes(spec: &Object<'_>, problems: &mut Vec<FieldError>) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for (index, (path, value)) in spec.list("routes", problems).enumerate() {
        if index == MOST_ROUTES {
            let message = format!("a function has at most {MOST_ROUTES} routes");
            problems.push(FieldError::new(spec.at("routes"), message));
            break;
        }
        let Some(route) = Object::open(path.as_str(), value, &ROUTE, problems)
            .and_then(|said| route(&said, problems))
        else {
            continue;
        };
        if routes.contains(&route) {
            problems.push(FieldError::new(path, "stands here twice"));
        } else {
            routes.push(route);
        }
    }
    routes
}

fn route(said: &Object<'_>, problems: &mut Vec<FieldError>) -> Option<Route> {
    let path =
        said.required("path", problems).and_then(|_| said.parsed("path", check_path, problems));
    let host = match said.get("host") {
        None => Some(None),
        Some(_) => said.parsed("host", host, problems).map(Some),
    };
    let methods = methods(said, problems);
    Some(Route { host: host?, path: path?, methods })
}

fn methods(said: &Object<'_>, problems: &mut Vec<FieldError>) -> Vec<Method> {
    let mut methods = Vec::new();
    for (path, value) in said.list("methods", problems) {
        let Some(method) = fields::text(&path, value, problems)
            .and_then(|text| fields::noted(path.clone(), method(text), problems))
        else {
            continue;
        };
        if methods.contains(&method) {
            problems.push(FieldError::new(path, format!("`{method}` stands here twice")));
        } else {
            methods.push(method);
        }
    }
    methods
}

/// RFC 9110 section 9.1: methods are case-sensitive, so `get` would never match.
fn method(text: &str) -> Result<Method, String> {
    let upper = !text.is_empty()
        && text.len() <= 32
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => Err("`CONNECT` can't be answered by a function".to_owned()),
        Ok(method) if upper => Ok(method),
        _ => Err(format!("`{}` is not a method such as GET or POST, in capitals", Shown(text))),
    }
}

/// A path of literal segments and `{name}`, with `/*` at its end or not.
fn check_path(text: &str) -> Result<String, String> {
    if text.len() > MOST_PATH {
        return Err(format!("has {} bytes; a path has at most {MOST_PATH}", text.len()));
    }
    let Some(rest) = text.strip_prefix('/') else {
        return Err("must begin with `/`".to_owned());
    };
    if let Some(own) = OWN.iter().find(|own| rest.split('/').next() == Some(**own)) {
        return Err(format!("begins with `/{own}`, which is the platform's own"));
    }
    let mut names = Vec::new();
    let count = rest.split('/').count();
    for (index, segment) in rest.split('/').enumerate() {
        let last = index + 1 == count;
        if segment.is_empty() && !last {
            return Err("has an empty segment, `//`".to_owned());
        }
        if segment == "*" && last {
            continue;
        }
        if segment.contains('*') {
            return Err("may have a `*` only as its last segment, `/*`".to_owned());
        }
        if segment.contains(['{', '}']) {
            let name = parameter(segment)?;
            if names.contains(&name) {
                return Err(format!("names the parameter `{name}` twice"));
            }
            names.push(name);
        } else {
            check_literal(segment)?;
        }
    }
    Ok(text.to_owned())
}

fn parameter(segment: &str) -> Result<&str, String> {
    segment
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .filter(|name| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        })
        .ok_or_else(|| {
            format!("`{}`: a parameter is a whole segment such as `{{id}}`", Shown(segment))
        })
}

/// RFC 3986 section 3.3, without what other places in a path stand for.
fn check_literal(segment: &str) -> Result<(), String> {
    if segment == "." || segment == ".." {
        return Err(format!("has the segment `{segment}`, which clients take away"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()+,;=:@%".contains(c);
    match segment.chars().find(|c| !allowed(*c)) {
        Some(c) => {
            Err(format!("has `{}`, which must be percent-encoded in a path", c.escape_debug()))
        }
        None => Ok(()),
    }
}

/// A DNS name in lower case, or `*.` and one. An address of version 4 has the form of a name.
fn host(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{}` is not a host name in lower case, such as example.com or *.example.com, \
             without a port",
            Shown(text)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_literals_parameters_and_a_last_star() {
        for right in
            ["/", "/*", "/a", "/a/", "/a/b.c/%20", "/users/{id}", "/{a}/{b_2}/*", "/a/{id}/"]
        {
            assert_eq!(check_path(right), Ok(right.to_owned()));
        }
        for (wrong, part) in [
            ("/healthz", "the platform's own"),
            ("/function/*", "the platform's own"),
            ("/system/{x}", "the platform's own"),
            ("", "begin with `/`"),
            ("a", "begin with `/`"),
            ("//", "empty segment"),
            ("/a//b", "empty segment"),
            ("/*/a", "last segment"),
            ("/a*", "last segment"),
            ("/**", "last segment"),
            ("/{}", "whole segment"),
            ("/{id", "whole segment"),
            ("/x{id}", "whole segment"),
            ("/{*rest}", "last segment"),
            ("/{1}", "whole segment"),
            ("/{a}/{a}", "twice"),
            ("/a/../b", "`..`"),
            ("/a?b", "percent-encoded"),
            ("/ä", "percent-encoded"),
            ("/a b", "percent-encoded"),
            ("/a\nb", "`\\n`"),
        ] {
            let message = check_path(wrong).unwrap_err();
            assert!(message.contains(part), "{wrong}: {message}");
        }
        assert!(check_path(&format!("/{}", "a".repeat(MOST_PATH))).is_err());
    }

    #[test]
    fn a_host_is_a_name_or_a_suffix() {
        for right in ["example.com", "*.example.com", "localhost", "127.0.0.1", "a-b.c"] {
            assert_eq!(host(right), Ok(right.to_owned()));
        }
        for wrong in
            ["", "*", "*.", "a..b", "a.", "Example.com", "a:80", "*.*.com", "a.*", "-a", "a_b"]
        {
            assert!(host(wrong).is_err(), "{wrong}");
        }
        assert!(host(&["a".repeat(63).as_str(); 4].join(".")).is_err());
    }

    #[test]
    fn a_method_is_in_capitals() {
        assert_eq!(method("GET"), Ok(Method::GET));
        assert_eq!(method("M-SEARCH").unwrap().as_str(), "M-SEARCH");
        for wrong in ["get", "", "G ET", "CONNECT", "GET\n"] {
            assert!(method(wrong).is_err(), "{wrong}");
        }
    }
}
