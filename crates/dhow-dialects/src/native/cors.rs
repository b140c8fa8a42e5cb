//! `spec.cors`: which pages may call a function.

use dhow_core::access::{CORS_MAX_AGE, Cors, Origins};
use dhow_core::quantity::print_duration;
use http::{HeaderName, Method, Uri};
use serde_json::{Value, json};

use super::access::{header_name, texts};
use crate::fields::{Known, Object, Shown};
use crate::problem::FieldError;

const CORS: Known = Known {
    fields: &["origins", "methods", "headers", "exposeHeaders", "credentials", "maxAge"],
    unsupported: &[],
};
/// What methods a page may use when nobody says.
const METHODS: [Method; 3] = [Method::GET, Method::HEAD, Method::POST];
/// The pages that may call, where a function says some.
pub(super) fn cors(spec: &Object<'_>, problems: &mut Vec<FieldError>) -> Option<Cors> {
    let said = spec.object("cors", &CORS, problems)?;
    said.required("origins", problems);
    let any = said.get("origins").is_some_and(|origins| *origins == serde_json::json!(["*"]));
    let origins = match any {
        true => Origins::Any,
        false => Origins::These(texts(&said, "origins", origin, problems)),
    };
    if origins == Origins::These(vec![]) && said.get("origins").is_some_and(Value::is_array) {
        problems.push(FieldError::new(said.at("origins"), "is empty"));
    }
    let credentials = said.flag("credentials", problems).unwrap_or_default();
    if credentials && any {
        let message = "can't be true for every origin: any page could then act for its reader";
        problems.push(FieldError::new(said.at("credentials"), message));
    }
    let methods = match said.get("methods") {
        None => METHODS.to_vec(),
        Some(_) => texts(&said, "methods", method, problems),
    };
    Some(Cors {
        origins,
        methods,
        headers: texts(&said, "headers", header_name, problems),
        expose: texts(&said, "exposeHeaders", header_name, problems),
        credentials,
        max_age: said.duration("maxAge", CORS_MAX_AGE, problems).unwrap_or(CORS_MAX_AGE.default),
    })
}

fn method(text: &str) -> Result<Method, String> {
    let is_plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase());
    let method = text.parse().ok().filter(|_| is_plain);
    method.ok_or_else(|| format!("`{}` is not a method, such as GET", Shown(text)))
}

/// An origin as browsers send it: scheme, host in lower case, port unless it is the scheme's own.
fn origin(text: &str) -> Result<String, String> {
    let wrong = || format!("`{}` is not an origin, such as https://app.example", Shown(text));
    if text == "*" {
        return Err("`*` stands alone or not at all".to_owned());
    }
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?.as_str();
    let scheme = uri.scheme_str().ok_or_else(wrong)?;
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return Err(wrong()),
    };
    let written = format!("{scheme}://{authority}");
    let is_origin = written == text && !authority.contains('@') && !authority.ends_with(':');
    if !is_origin || text.chars().any(|c| c.is_ascii_uppercase()) {
        return Err(wrong());
    }
    match text.strip_suffix(default_port) {
        Some(short) => Err(format!("a browser writes it `{short}`")),
        None => Ok(written),
    }
}

/// `cors` as a document has it.
pub(super) fn encode(cors: &Cors) -> Value {
    let Cors { origins, methods, headers, expose, credentials, max_age } = cors;
    let names = |names: &[HeaderName]| -> Value { names.iter().map(HeaderName::as_str).collect() };
    json!({
        "origins": match origins {
            Origins::Any => json!(["*"]),
            Origins::These(origins) => json!(origins),
        },
        "methods": methods.iter().map(Method::as_str).collect::<Vec<_>>(),
        "headers": names(headers),
        "exposeHeaders": names(expose),
        "credentials": credentials,
        "maxAge": print_duration(*max_age),
    })
}
