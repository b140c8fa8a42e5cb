//! What stands before a function: who may call, from which pages, how often.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::rig::{Answer, Server, text, wait_for};

impl Server {
    /// Deploys the guest that tells the headers it sees, behind `spec`.
    fn deploy_behind(&self, name: &str, spec: &Value) {
        self.guest("http-kit");
        let mut spec = spec.clone();
        spec["source"] = json!({"path": "http-kit.wasm"});
        let manifest = json!({
            "apiVersion": "dhow.dev/v1alpha1",
            "kind": "Function",
            "metadata": {"name": name},
            "spec": spec,
        });
        let file = self.path().join(format!("{name}.json"));
        std::fs::write(&file, manifest.to_string()).unwrap();
        self.ok(&["apply", "-f", file.to_str().unwrap()]);
    }

    fn headers_of(&self, name: &str, headers: &[(&str, &str)]) -> Answer {
        self.call("GET", &format!("/function/{name}/headers"), headers, b"")
    }
}

fn hash(key: &str) -> String {
    let hex: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// An issuer of tokens, with a server for its keys.
struct Issuer {
    keys: Arc<Mutex<Vec<(String, Ed25519KeyPair)>>>,
    url: String,
}

impl Issuer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let keys = Arc::<Mutex<Vec<(String, Ed25519KeyPair)>>>::default();
        let served = keys.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                let jwk = |(id, pair): &(String, Ed25519KeyPair)| {
                    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
                    json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": id})
                };
                let set = json!({"keys": served.lock().iter().map(jwk).collect::<Vec<_>>()});
                let set = set.to_string();
                let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length:";
                write!(stream, "{head} {}\r\n\r\n{set}", set.len()).unwrap();
            }
        });
        Self { keys, url }
    }

    /// Signs with a new key from now on.
    fn rotate(&self, id: &str) {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        *self.keys.lock() = vec![(id.to_owned(), pair)];
    }

    /// What a manifest says of whom it trusts.
    fn auth(&self) -> Value {
        json!({"auth": {"jwt": [{
            "issuer": "https://issuer.example",
            "audiences": ["kit"],
            "algorithms": ["EdDSA"],
            "jwksUrl": self.url,
        }]}})
    }

    fn bearer(&self, claims: &Value) -> String {
        let keys = self.keys.lock();
        let (id, pair) = &keys[0];
        let header = json!({"alg": "EdDSA", "kid": id});
        let text = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        format!("Bearer {text}.{}", URL_SAFE_NO_PAD.encode(pair.sign(text.as_bytes())))
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_function_is_called_by_those_with_a_key_and_is_told_whose() {
    let server = Server::start();
    let made = server.dhow(&["auth", "key", "shop"]);
    let key = text(&made.stdout).trim().to_owned();
    assert!(text(&made.stderr).contains(&hash(&key)));
    let auth = json!({"apiKeys": {"keys": [{"name": "shop", "hash": hash(&key)}]}});
    server.deploy_behind("kit", &json!({"auth": auth, "routes": [{"path": "/headers"}]}));
    for path in ["/function/kit/headers", "/headers", "/async-function/kit"] {
        for headers in [vec![], vec![("x-api-key", "another key")], vec![("x-api-key", "")]] {
            let answer = server.call("GET", path, &headers, b"");
            assert_eq!((answer.status, answer.reason()), (401, "unauthorized"), "{path}");
            assert!(answer.json()["error"].as_str().unwrap().contains("x-api-key"));
        }
        let forged = [("x-dhow-client", "key:shop"), ("authorization", &*format!("Bearer {key}"))];
        assert_eq!(server.call("GET", path, &forged, b"").status, 401, "{path}");
    }
    let told = server.headers_of("kit", &[("x-api-key", &key), ("x-dhow-client", "eve")]);
    let told = told.text();
    assert!(told.contains("x-dhow-client: key:shop"), "{told}");
    assert!(!told.contains(&key) && !told.contains("eve"), "{told}");
    // Nor is it believed where nobody is asked.
    server.deploy_as("open", "http-kit", &[]);
    let told = server.headers_of("open", &[("x-dhow-client", "eve")]);
    assert!(!told.text().contains("eve"), "{}", told.text());
    // It stands before the function, whichever revision answers.
    server.deploy_behind("kit", &json!({"auth": auth, "env": [{"name": "NEW", "value": "1"}]}));
    assert_eq!(server.headers_of("kit", &[]).status, 401);
    server.deploy_behind("kit", &json!({}));
    assert_eq!(server.headers_of("kit", &[]).status, 200);
    // A rollback opens nothing: the revision was there before the key was asked for.
    server.deploy_behind("kit", &json!({"auth": auth, "env": [{"name": "NEW", "value": "2"}]}));
    server.ok(&["rollback", "kit"]);
    assert_eq!(server.headers_of("kit", &[]).status, 401);
    let listed = server.admin("GET", "/api/v1/functions", b"").json();
    assert_eq!(listed["items"][0]["manifest"]["spec"]["auth"]["tokens"], false);
    server.deploy_behind("kit", &json!({}));
    assert_eq!(server.headers_of("kit", &[]).status, 200);
}

#[test]
fn a_function_is_called_by_those_with_a_token_that_may_invoke_it() {
    let server = Server::start();
    server.deploy_behind("kit", &json!({"auth": {"tokens": true}}));
    let token = |name: &str, scope: &str| {
        let token = server.ok(&["token", "create", name, "--scope", scope]);
        format!("Bearer {}", token.trim())
    };
    let (caller, reader) = (token("caller", "invoke:default"), token("reader", "read"));
    let elsewhere = token("elsewhere", "invoke:shop");
    let call = |bearer: &str| server.headers_of("kit", &[("authorization", bearer)]);
    assert_eq!(server.headers_of("kit", &[]).headers["www-authenticate"], "Bearer realm=\"dhow\"");
    assert_eq!(call("Bearer dhow_wrong").status, 401);
    for bearer in [&reader, &elsewhere] {
        let answer = call(bearer);
        assert_eq!((answer.status, answer.reason()), (403, "forbidden"));
    }
    let told = call(&caller).text();
    assert!(told.contains("x-dhow-client: token:caller"), "{told}");
    assert!(
        !told.contains("authorization"),
        "a function is not shown what it could call others with"
    );
    server.ok(&["token", "revoke", "caller"]);
    assert_eq!(call(&caller).status, 401);
}

#[test]
fn a_function_believes_the_tokens_of_its_issuer_also_when_the_keys_change() {
    let issuer = Issuer::start();
    let address = issuer.url.trim_start_matches("http://").trim_end_matches("/jwks");
    let server = Server::with(&["--egress-allow", address]);
    issuer.rotate("first");
    server.deploy_behind("kit", &issuer.auth());
    let claims = |exp: u64, aud: &str| json!({"iss": "https://issuer.example", "aud": aud, "exp": exp, "sub": "ada"});
    let call = |bearer: &str| server.headers_of("kit", &[("authorization", bearer)]);
    let good = issuer.bearer(&claims(now() + 600, "kit"));
    let told = call(&good).text();
    assert!(told.contains("x-dhow-client: jwt:ada") && told.contains("authorization"), "{told}");
    for (bearer, why) in [
        (issuer.bearer(&claims(now() - 600, "kit")), "expired"),
        (issuer.bearer(&claims(now() + 600, "other")), "audience"),
        (format!("{good}x"), "signature"),
        ("Bearer x".to_owned(), "not one that"),
    ] {
        let answer = call(&bearer);
        assert_eq!(answer.status, 401, "{why}");
        assert!(answer.json()["error"].as_str().unwrap().contains(why), "{}", answer.text());
        let challenge = text(answer.headers["www-authenticate"].as_bytes());
        assert!(challenge.contains("invalid_token"), "{challenge}");
    }
    // The new key is looked for at once, unless that was done a moment ago.
    issuer.rotate("second");
    let new = issuer.bearer(&claims(now() + 600, "kit"));
    wait_for(|| (call(&new).status == 200).then_some(()));
    assert_eq!(call(&good).status, 401, "the old key is no longer the issuer's");
}

#[test]
fn keys_are_not_fetched_from_this_machine_unless_that_is_allowed() {
    let (server, issuer) = (Server::start(), Issuer::start());
    issuer.rotate("first");
    server.deploy_behind("kit", &issuer.auth());
    let claims = json!({"iss": "https://issuer.example", "aud": "kit", "exp": now() + 600});
    let answer = server.headers_of("kit", &[("authorization", &issuer.bearer(&claims))]);
    assert_eq!((answer.status, answer.reason()), (503, "not-ready"), "{}", answer.text());
}

#[test]
fn pages_that_may_call_are_told_so_by_the_gateway() {
    let server = Server::start();
    let cors = json!({
        "origins": ["https://app.example"],
        "methods": ["GET", "DELETE"],
        "headers": ["x-mine"],
        "maxAge": "60s",
    });
    let auth = json!({"apiKeys": {"keys": [{"name": "a", "hash": hash("k")}]}});
    let routes = json!([{"path": "/headers", "methods": ["GET"]}]);
    server.deploy_behind("kit", &json!({"cors": cors, "auth": auth, "routes": routes}));
    let preflight = |path: &str, origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "GET")];
        server.call("OPTIONS", path, &headers, b"")
    };
    for path in ["/function/kit/headers", "/headers"] {
        let answer = preflight(path, "https://app.example");
        assert_eq!(answer.status, 204, "{path}: {}", answer.text());
        assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example");
        assert_eq!(answer.headers["access-control-allow-methods"], "GET, DELETE");
        assert_eq!(answer.headers["access-control-allow-headers"], "x-mine");
        assert_eq!(answer.headers["access-control-max-age"], "60");
        let answer = preflight(path, "https://evil.example");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
    }
    for (origin, allowed) in [("https://app.example", true), ("https://evil.example", false)] {
        for (key, status) in [("k", 200), ("wrong", 401)] {
            let answer = server.headers_of("kit", &[("origin", origin), ("x-api-key", key)]);
            assert_eq!(answer.status, status);
            assert_eq!(answer.headers["vary"], "Origin");
            let told = answer.headers.contains_key("access-control-allow-origin");
            assert_eq!(told, allowed, "{origin} {key}");
        }
    }
    // A function that says nothing answers browsers itself.
    server.deploy("echo", &[]);
    assert_ne!(preflight("/function/echo", "https://app.example").status, 204);
}

#[test]
fn calls_come_at_the_pace_that_a_function_sets() {
    let server = Server::start();
    let keys = ["a", "b"].map(|name| json!({"name": name, "hash": hash(name)}));
    let limits = json!({
        "client": {"calls": 2, "per": "1h"},
        "function": {"calls": 3, "per": "1h"},
    });
    let spec = json!({"auth": {"apiKeys": {"keys": keys}}, "rateLimit": limits});
    server.deploy_behind("kit", &spec);
    let call = |key: &str| server.headers_of("kit", &[("x-api-key", key)]);
    assert_eq!([call("a").status, call("a").status], [200, 200]);
    let refused = call("a");
    assert_eq!((refused.status, refused.reason()), (429, "rate-limit"));
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1700..=1800).contains(&wait), "{wait}");
    assert!(refused.json()["error"].as_str().unwrap().contains("rateLimit.client"));
    assert_eq!(call("b").status, 200, "each client has its own");
    let refused = call("b");
    assert_eq!(refused.status, 429);
    assert!(refused.json()["error"].as_str().unwrap().contains("rateLimit.function"));
    assert_eq!(call("nobody").status, 401, "strangers use nothing up");
    // Deploying something else does not fill the buckets.
    server.deploy("hello", &[]);
    assert_eq!(call("b").status, 429);
    assert_eq!(server.metric("dhow_requests_refused_total{reason=\"rate-limit\"}"), Some(3.0));
}
