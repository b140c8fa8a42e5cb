//! `spec.auth`, `spec.cors` and `spec.rateLimit`: what stands before a function. Their bounds and
//! defaults are [`dhow_core::access`]'s.

use std::fmt::Display;

use dhow_core::access::{Access, MOST_ENTRIES, RATE_CALLS, RATE_PER, Rate, RateLimits};
use dhow_core::quantity::print_duration;
use http::HeaderName;
use serde_json::{Value, json};

use super::{auth, cors};
use crate::fields::{self, Known, Object, Shown};
use crate::problem::FieldError;

const RATE_LIMIT: Known = Known { fields: &["function", "client"], unsupported: &[] };
const RATE: Known = Known { fields: &["calls", "per", "burst"], unsupported: &[] };

/// What stands before a function; a field that is absent or wrong has its default.
pub(super) fn access(spec: &Object<'_>, problems: &mut Vec<FieldError>) -> Access {
    Access {
        auth: auth::auth(spec, problems),
        cors: cors::cors(spec, problems),
        rate: rates(spec, problems),
    }
}

fn rates(spec: &Object<'_>, problems: &mut Vec<FieldError>) -> RateLimits {
    let Some(said) = spec.object("rateLimit", &RATE_LIMIT, problems) else {
        return RateLimits::default();
    };
    RateLimits {
        function: rate(&said, "function", problems),
        client: rate(&said, "client", problems),
    }
}

fn rate(limits: &Object<'_>, name: &str, problems: &mut Vec<FieldError>) -> Option<Rate> {
    let said = limits.object(name, &RATE, problems)?;
    said.required("calls", problems)?;
    let calls = said.count("calls", RATE_CALLS, problems)?;
    Some(Rate {
        calls,
        per: said.duration("per", RATE_PER, problems).unwrap_or(RATE_PER.default),
        burst: said.count("burst", RATE_CALLS, problems).unwrap_or(calls),
    })
}

/// The elements of a list that is not too long.
pub(super) fn list<'v>(
    said: &Object<'v>,
    name: &str,
    most: usize,
    problems: &mut Vec<FieldError>,
) -> Vec<(String, &'v Value)> {
    let elements: Vec<_> = said.list(name, problems).take(most + 1).collect();
    if elements.len() > most {
        problems.push(FieldError::new(said.at(name), format!("has more than {most} entries")));
    }
    elements
}

/// A list of texts that `parse` understands.
pub(super) fn texts<T, E: Display>(
    said: &Object<'_>,
    name: &str,
    parse: impl Fn(&str) -> Result<T, E>,
    problems: &mut Vec<FieldError>,
) -> Vec<T> {
    let mut parsed = Vec::new();
    for (path, value) in list(said, name, MOST_ENTRIES, problems) {
        let Some(text) = fields::text(&path, value, problems) else { continue };
        let result = parse(text).map_err(|error| error.to_string());
        parsed.extend(fields::noted(path, result, problems));
    }
    parsed
}

pub(super) fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("is empty") } else { Ok(text.to_owned()) }
}

pub(super) fn header_name(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| format!("`{}` is not the name of a header", Shown(text)))
}

/// The fields of `access` that say something.
pub(super) fn encode(access: &Access, spec: &mut Value) {
    let Access { auth, cors, rate } = access;
    if let Some(auth) = auth {
        spec["auth"] = auth::encode(auth);
    }
    if let Some(cors) = cors {
        spec["cors"] = cors::encode(cors);
    }
    let RateLimits { function, client } = rate;
    for (name, rate) in [("function", function), ("client", client)] {
        if let Some(Rate { calls, per, burst }) = rate {
            spec["rateLimit"][name] =
                json!({"calls": calls, "per": print_duration(*per), "burst": burst});
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use dhow_core::access::{
        API_KEY_HEADER, Algorithm, ApiKey, ApiKeys, Auth, Cors, Issuer, KeySet, Origins,
    };
    use dhow_core::digest::Digest;
    use http::Method;

    use super::super::{decode, encode};
    use super::*;

    const SET: &str = r#"{"keys":[{"crv":"Ed25519","kty":"OKP","x":"AA"}]}"#;

    /// Everything that can be said.
    pub(in super::super) fn full() -> Access {
        let key = |name: &str, byte| ApiKey {
            name: name.parse().unwrap(),
            hash: Digest::from_bytes([byte; 32]),
        };
        let issuer = |name: &str, keys| Issuer {
            issuer: name.to_owned(),
            audiences: vec!["api".to_owned(), "other".to_owned()],
            algorithms: vec![Algorithm::EdDsa, Algorithm::Ps256],
            keys,
            leeway: Duration::from_secs(5),
        };
        Access {
            auth: Some(Auth {
                api_keys: Some(ApiKeys {
                    header: API_KEY_HEADER,
                    keys: vec![key("shop", 1), key("other", 2)],
                }),
                jwt: vec![
                    issuer("https://one", KeySet::Url("https://one/jwks".to_owned())),
                    issuer("https://two", KeySet::Inline(SET.to_owned())),
                ],
                tokens: true,
            }),
            cors: Some(Cors {
                origins: Origins::These(vec!["https://app.example".to_owned()]),
                methods: vec![Method::GET, Method::PUT],
                headers: vec![HeaderName::from_static("x-mine")],
                expose: vec![HeaderName::from_static("x-seen")],
                credentials: true,
                max_age: Duration::from_secs(60),
            }),
            rate: RateLimits {
                function: Some(Rate { calls: 100, per: Duration::from_secs(60), burst: 7 }),
                client: Some(Rate { calls: 1, per: Duration::from_secs(1), burst: 1 }),
            },
        }
    }

    fn document(spec: &str) -> Value {
        let mut spec: Value = serde_saphyr::from_str(spec).unwrap();
        spec["source"] = json!({"path": "a.wasm"});
        json!({
            "apiVersion": "dhow.dev/v1alpha1",
            "kind": "Function",
            "metadata": {"name": "a"},
            "spec": spec,
        })
    }

    fn read(spec: &str) -> Access {
        decode(&document(spec)).unwrap_or_else(|problems| panic!("{problems:?}")).access
    }

    fn wrong(spec: &str) -> Vec<String> {
        let problems = decode(&document(spec)).expect_err(spec);
        problems.into_iter().map(|problem| problem.path).collect()
    }

    #[test]
    fn nothing_said_is_open_and_everything_said_is_kept() {
        assert!(read("args: []").is_open());
        let mut function = decode(&document("args: []")).unwrap();
        function.access = full();
        assert_eq!(decode(&encode(&function)), Ok(function));
    }

    #[test]
    fn what_is_left_out_has_a_safe_default() {
        let access = read(
            "auth: {jwt: [{issuer: i, audiences: [a], jwksUrl: 'https://i/k'}]}\n\
             cors: {origins: ['https://a.example']}\nrateLimit: {client: {calls: 5}}",
        );
        let auth = access.auth.unwrap();
        assert!(!auth.tokens && auth.api_keys.is_none());
        assert_eq!(auth.jwt[0].algorithms, [Algorithm::Rs256, Algorithm::Es256]);
        assert_eq!(auth.jwt[0].leeway, Duration::from_secs(30));
        let cors = access.cors.unwrap();
        assert!(!cors.credentials && cors.headers.is_empty());
        assert_eq!(cors.methods, [Method::GET, Method::HEAD, Method::POST]);
        let rate = Rate { calls: 5, per: Duration::from_secs(1), burst: 5 };
        assert_eq!(access.rate, RateLimits { function: None, client: Some(rate) });
    }

    #[test]
    fn every_wrong_field_is_named() {
        let digest = Digest::from_bytes([1; 32]);
        for (spec, paths) in [
            ("auth: {}", vec!["spec.auth"]),
            ("auth: {tokens: false}", vec!["spec.auth"]),
            ("auth: {tokens: yes please, keys: 1}", vec!["spec.auth.keys", "spec.auth.tokens"]),
            ("auth: {apiKeys: {}}", vec!["spec.auth.apiKeys.keys"]),
            ("auth: {apiKeys: {keys: []}}", vec!["spec.auth.apiKeys.keys"]),
            (
                "auth: {apiKeys: {header: 'a b', keys: [{name: A, hash: x}, {secret: s}]}}",
                vec![
                    "spec.auth.apiKeys.header",
                    "spec.auth.apiKeys.keys[0].name",
                    "spec.auth.apiKeys.keys[0].hash",
                    "spec.auth.apiKeys.keys[1].secret",
                    "spec.auth.apiKeys.keys[1].name",
                    "spec.auth.apiKeys.keys[1].hash",
                ],
            ),
            (
                &format!(
                    "auth: {{apiKeys: {{keys: [{{name: a, hash: '{digest}'}}, \
                     {{name: b, hash: '{digest}'}}]}}}}"
                ),
                vec!["spec.auth.apiKeys.keys[1].hash"],
            ),
            (
                "auth: {apiKeys: {header: Host, keys: []}}",
                vec!["spec.auth.apiKeys.header", "spec.auth.apiKeys.keys"],
            ),
            (
                "auth: {jwt: [{issuer: '', audiences: [], algorithms: [none, HS256, RS257]}]}",
                vec![
                    "spec.auth.jwt[0].issuer",
                    "spec.auth.jwt[0].audiences",
                    "spec.auth.jwt[0].algorithms[0]",
                    "spec.auth.jwt[0].algorithms[1]",
                    "spec.auth.jwt[0].algorithms[2]",
                    "spec.auth.jwt[0].algorithms",
                    "spec.auth.jwt[0].jwksUrl",
                ],
            ),
            (
                "auth: {jwt: [{issuer: i, audiences: [a], leeway: 1h, jwksUrl: 'http://i/k'}]}",
                vec!["spec.auth.jwt[0].jwksUrl", "spec.auth.jwt[0].leeway"],
            ),
            (
                "auth: {jwt: [{issuer: i, audiences: [a], jwks: {keys: [{kty: oct, k: x}]}}]}",
                vec!["spec.auth.jwt[0].jwks.keys[0].kty", "spec.auth.jwt[0].jwks.keys[0].k"],
            ),
            (
                "auth: {jwt: [{issuer: i, audiences: [a], jwks: {keys: [{kty: RSA, d: x}]}}]}",
                vec!["spec.auth.jwt[0].jwks.keys[0].d"],
            ),
            ("cors: {}", vec!["spec.cors.origins"]),
            (
                "cors: {origins: ['*'], credentials: true, maxAge: 25h}",
                vec!["spec.cors.credentials", "spec.cors.maxAge"],
            ),
            (
                "cors: {origins: ['https://a/', 'a', 'https://A', 'https://a:443', '*', null]}",
                vec![
                    "spec.cors.origins[0]",
                    "spec.cors.origins[1]",
                    "spec.cors.origins[2]",
                    "spec.cors.origins[3]",
                    "spec.cors.origins[4]",
                    "spec.cors.origins[5]",
                    "spec.cors.origins",
                ],
            ),
            (
                "cors: {origins: ['https://a'], methods: [get], headers: ['x y']}",
                vec!["spec.cors.methods[0]", "spec.cors.headers[0]"],
            ),
            (
                "rateLimit: {function: {calls: 0}, client: {per: 1s}, other: 1}",
                vec![
                    "spec.rateLimit.other",
                    "spec.rateLimit.function.calls",
                    "spec.rateLimit.client.calls",
                ],
            ),
            (
                "rateLimit: {client: {calls: 1, per: 0s, burst: 0}}",
                vec!["spec.rateLimit.client.per", "spec.rateLimit.client.burst"],
            ),
        ] {
            assert_eq!(wrong(spec), paths, "{spec}");
        }
    }
}
