//! `spec.auth`: how a caller shows who they are.

use dhow_core::access::{
    API_KEY_HEADER, Algorithm, ApiKey, ApiKeys, Auth, Issuer, KeySet, LEEWAY, MOST_API_KEYS,
    MOST_ISSUERS, MOST_KEY_SET,
};
use dhow_core::quantity::print_duration;
use http::{HeaderName, Uri};
use serde_json::{Value, json};

use super::access::{header_name, list, not_empty, texts};
use crate::fields::{self, Known, Object};
use crate::problem::FieldError;

const AUTH: Known = Known { fields: &["apiKeys", "jwt", "tokens"], unsupported: &[] };
const API_KEYS: Known = Known { fields: &["header", "keys"], unsupported: &[] };
const API_KEY: Known = Known { fields: &["name", "hash"], unsupported: &["secret"] };
const JWT: Known = Known {
    fields: &["issuer", "audiences", "algorithms", "jwksUrl", "jwks", "leeway"],
    unsupported: &[],
};
/// What the algorithms are when nobody says: what most issuers sign with.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];
/// Members of a key that only its owner may know (RFC 7518 section 6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The ways in of a function, where it says some.
pub(super) fn auth(spec: &Object<'_>, problems: &mut Vec<FieldError>) -> Option<Auth> {
    let said = spec.object("auth", &AUTH, problems)?;
    let before = problems.len();
    let auth = Auth {
        api_keys: api_keys(&said, problems),
        jwt: issuers(&said, problems),
        tokens: said.flag("tokens", problems).unwrap_or_default(),
    };
    // A function that nobody can call is a slip; one that is open by a slip would be worse.
    if auth == Auth::default() && problems.len() == before {
        let message = "names no way in; it has apiKeys, jwt and tokens";
        problems.push(FieldError::new(spec.at("auth"), message));
    }
    Some(auth)
}

fn api_keys(auth: &Object<'_>, problems: &mut Vec<FieldError>) -> Option<ApiKeys> {
    let said = auth.object("apiKeys", &API_KEYS, problems)?;
    let header = said.parsed("header", api_key_header, problems).unwrap_or(API_KEY_HEADER);
    let mut keys: Vec<ApiKey> = Vec::new();
    said.required("keys", problems)?;
    for (path, value) in list(&said, "keys", MOST_API_KEYS, problems) {
        let Some(key) = Object::open(path, value, &API_KEY, problems) else { continue };
        let name = key.required("name", problems);
        let name = name.and_then(|_| key.parsed("name", str::parse, problems));
        let hash = key.required("hash", problems);
        let hash = hash.and_then(|_| key.parsed("hash", str::parse, problems));
        let (Some(name), Some(hash)) = (name, hash) else { continue };
        if keys.iter().any(|other| other.name == name) {
            problems.push(FieldError::new(key.at("name"), "stands here twice"));
        } else if keys.iter().any(|other| other.hash == hash) {
            problems.push(FieldError::new(key.at("hash"), "is another key's, too"));
        } else {
            keys.push(ApiKey { name, hash });
        }
    }
    if keys.is_empty()
        && said.get("keys").is_some_and(|keys| keys.as_array().is_some_and(Vec::is_empty))
    {
        problems.push(FieldError::new(said.at("keys"), "is empty"));
    }
    Some(ApiKeys { header, keys })
}

/// The headers that every request has, or that a proxy or this server writes, hold no keys.
fn api_key_header(text: &str) -> Result<HeaderName, String> {
    let header = header_name(text)?;
    let taken = ["host", "connection", "content-length", "content-type", "transfer-encoding", "te"];
    if taken.contains(&header.as_str()) || header.as_str().starts_with("x-forwarded-") {
        return Err(format!("`{header}` means something else"));
    }
    Ok(header)
}

fn issuers(auth: &Object<'_>, problems: &mut Vec<FieldError>) -> Vec<Issuer> {
    let mut issuers: Vec<Issuer> = Vec::new();
    for (path, value) in list(auth, "jwt", MOST_ISSUERS, problems) {
        let Some(said) = Object::open(path, value, &JWT, problems) else { continue };
        let name = said.required("issuer", problems);
        let name = name.and_then(|_| said.parsed("issuer", not_empty, problems));
        let audiences = said.required("audiences", problems);
        let audiences = audiences.map(|_| texts(&said, "audiences", not_empty, problems));
        if audiences.as_ref().is_some_and(Vec::is_empty) {
            let message = "is empty; a token for anybody is none for this function";
            problems.push(FieldError::new(said.at("audiences"), message));
        }
        let algorithms = match said.get("algorithms") {
            None => ALGORITHMS.to_vec(),
            Some(_) => texts(&said, "algorithms", str::parse, problems),
        };
        if algorithms.is_empty() {
            problems.push(FieldError::new(said.at("algorithms"), "is empty"));
        }
        let keys = key_set(&said, problems);
        let leeway = said.duration("leeway", LEEWAY, problems).unwrap_or(LEEWAY.default);
        let (Some(issuer), Some(audiences), Some(keys)) = (name, audiences, keys) else { continue };
        if issuers.iter().any(|other| other.issuer == issuer) {
            problems.push(FieldError::new(said.at("issuer"), "stands here twice"));
        } else {
            issuers.push(Issuer { issuer, audiences, algorithms, keys, leeway });
        }
    }
    issuers
}

fn key_set(jwt: &Object<'_>, problems: &mut Vec<FieldError>) -> Option<KeySet> {
    match (jwt.get("jwksUrl"), jwt.get("jwks")) {
        (Some(_), None) => jwt.parsed("jwksUrl", key_url, problems).map(KeySet::Url),
        (None, Some(set)) => {
            let before = problems.len();
            check_key_set(&jwt.at("jwks"), set, problems);
            (problems.len() == before).then(|| KeySet::Inline(set.to_string()))
        }
        (None, None) => {
            let message = "is missing; it is the address of the issuer's keys, or `jwks` has them";
            problems.push(FieldError::new(jwt.at("jwksUrl"), message));
            None
        }
        (Some(_), Some(_)) => {
            let message = "stands beside `jwksUrl`; the keys come from one place";
            problems.push(FieldError::new(jwt.at("jwks"), message));
            None
        }
    }
}

/// Whoever can change the keys on their way can make tokens: over the network, HTTPS alone.
fn key_url(text: &str) -> Result<String, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "is not an address")?;
    let host = uri.host().unwrap_or_default();
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("has a user name in it");
    }
    let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(text.to_owned()),
        Some("http") if is_here => Ok(text.to_owned()),
        Some("http") => Err("is http; it must be https, unless it is on this machine"),
        _ => Err("must begin with https://"),
    }
}

fn check_key_set(path: &str, set: &Value, problems: &mut Vec<FieldError>) {
    let mut wrong = |path: String, message: &str| problems.push(FieldError::new(path, message));
    if set.to_string().len() > MOST_KEY_SET {
        wrong(path.to_owned(), "is larger than 256Ki");
        return;
    }
    let at = fields::member(path, "keys");
    let Some(keys) = set["keys"].as_array().filter(|keys| !keys.is_empty()) else {
        wrong(at, "must be a list of keys (RFC 7517), and not empty");
        return;
    };
    for (index, key) in keys.iter().enumerate() {
        let at = format!("{at}[{index}]");
        if !matches!(key["kty"].as_str(), Some("RSA" | "EC" | "OKP")) {
            wrong(fields::member(&at, "kty"), "must be RSA, EC or OKP: public keys alone");
        }
        for private in PRIVATE.into_iter().filter(|private| !key[*private].is_null()) {
            wrong(fields::member(&at, private), "is the private part of the key; leave it out");
        }
    }
}

/// `auth` as a document has it.
pub(super) fn encode(auth: &Auth) -> Value {
    let Auth { api_keys, jwt, tokens } = auth;
    let mut written = json!({"tokens": tokens});
    if let Some(ApiKeys { header, keys }) = api_keys {
        let key = |ApiKey { name, hash }: &ApiKey| json!({"name": name.as_str(), "hash": hash.to_string()});
        let keys: Vec<_> = keys.iter().map(key).collect();
        written["apiKeys"] = json!({"header": header.as_str(), "keys": keys});
    }
    if !jwt.is_empty() {
        written["jwt"] = jwt.iter().map(encode_issuer).collect();
    }
    written
}

fn encode_issuer(issuer: &Issuer) -> Value {
    let Issuer { issuer, audiences, algorithms, keys, leeway } = issuer;
    let algorithms: Vec<_> = algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
    let mut written = json!({
        "issuer": issuer,
        "audiences": audiences,
        "algorithms": algorithms,
        "leeway": print_duration(*leeway),
    });
    match keys {
        KeySet::Url(url) => written["jwksUrl"] = json!(url),
        // It was JSON when it was read.
        KeySet::Inline(set) => {
            written["jwks"] = serde_json::from_str(set).unwrap_or(Value::Null);
        }
    }
    written
}
