//! One document of credentials: Docker's `config.json`, podman's `auth.json`, or the body of a
//! `kubernetes.io/dockerconfigjson` secret. They are one format. From bytes to values, no I/O.
//!
//! Keys of `auths` are a host, a host with a path (podman: the longest path that fits wins), or a
//! web address as old Docker wrote it; a host may hold `*`, as Kubernetes reads pull secrets.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::Credential;
use crate::reference::canonical_host;

/// The largest document that is read, bytes.
pub(super) const LARGEST: usize = 1 << 20;

/// One document of credentials.
#[derive(Debug, Clone, Default)]
pub struct DockerConfig {
    entries: Vec<Entry>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// As [`key`] writes it.
    key: String,
    credential: Credential,
}

/// A document that can't be used. It names keys, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    /// It is larger than any real one.
    #[error("it has more than {LARGEST} bytes")]
    TooLarge,
    /// It is no JSON of this shape.
    #[error("it is not Docker's config.json: line {line}, column {column}")]
    Json {
        /// Counted from one.
        line: usize,
        /// Counted from one.
        column: usize,
    },
    /// An entry's `auth` is not base64 of `NAME:PASSWORD`.
    #[error("auths.{0:?}.auth is not base64 of NAME:PASSWORD")]
    Auth(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    auths: Option<BTreeMap<String, Auth>>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Auth {
    auth: Option<SecretString>,
    username: Option<String>,
    password: Option<SecretString>,
    identitytoken: Option<SecretString>,
    registrytoken: Option<SecretString>,
}

impl DockerConfig {
    /// Reads a document.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadConfig> {
        if bytes.len() > LARGEST {
            return Err(BadConfig::TooLarge);
        }
        if bytes.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        // serde's own message may quote the text; line and column are enough.
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| BadConfig::Json { line: error.line(), column: error.column() })?;
        let mut entries = Vec::new();
        for (name, auth) in document.auths.unwrap_or_default() {
            if let Some(credential) = auth.credential(&name)? {
                entries.push(Entry { key: key(&name), credential });
            }
        }
        let helpers = document.cred_helpers.unwrap_or_default();
        Ok(Self {
            entries,
            helpers: helpers.into_iter().map(|(host, helper)| (key(&host), helper)).collect(),
            store: document.creds_store.filter(|store| !store.is_empty()),
        })
    }

    /// What the document itself holds for `path` at `host`.
    pub fn credential(&self, host: &str, path: &str) -> Option<&Credential> {
        let wanted = format!("{}/{path}", canonical_host(host));
        self.entries
            .iter()
            .filter_map(|entry| fit(&entry.key, &wanted).map(|fit| (fit, entry)))
            .max_by_key(|(fit, _)| *fit)
            .map(|(_, entry)| &entry.credential)
    }

    /// The registries that there are entries or helpers of their own for.
    pub(super) fn hosts(&self) -> impl Iterator<Item = String> {
        let entries = self.entries.iter().map(|entry| entry.key.as_str());
        let keys = entries.chain(self.helpers.keys().map(String::as_str));
        keys.map(|key| key.split('/').next().unwrap_or(key).to_owned())
    }

    /// The name of the helper that keeps the credentials of `host`: `X` of `docker-credential-X`.
    pub fn helper(&self, host: &str) -> Option<&str> {
        let named = self.helpers.get(&canonical_host(host)).filter(|name| !name.is_empty());
        named.or(self.store.as_ref()).map(String::as_str)
    }
}

impl Auth {
    fn credential(self, name: &str) -> Result<Option<Credential>, BadConfig> {
        let given = |secret: &SecretString| !secret.expose_secret().is_empty();
        if let Some(token) = self.registrytoken.filter(given) {
            return Ok(Some(Credential::RegistryToken(token)));
        }
        if let Some(token) = self.identitytoken.filter(given) {
            return Ok(Some(Credential::IdentityToken(token)));
        }
        if let Some(auth) = self.auth.filter(given) {
            return basic(&auth).map(Some).ok_or_else(|| BadConfig::Auth(name.to_owned()));
        }
        Ok(match (self.username.filter(|name| !name.is_empty()), self.password) {
            (Some(username), Some(password)) => Some(Credential::Basic { username, password }),
            // Docker leaves an empty entry where a helper keeps the credentials.
            _ => None,
        })
    }
}

fn basic(auth: &SecretString) -> Option<Credential> {
    let auth = auth.expose_secret().trim();
    let bytes = STANDARD.decode(auth).or_else(|_| STANDARD_NO_PAD.decode(auth)).ok()?;
    let text = SecretString::from(String::from_utf8(bytes).ok()?);
    let (username, password) = text.expose_secret().split_once(':')?;
    if username.is_empty() {
        return None;
    }
    // Old Docker padded the text with zero bytes.
    let password = password.trim_end_matches('\0');
    Some(Credential::Basic { username: username.to_owned(), password: password.into() })
}

/// A key of `auths` as host and path: without scheme, and without the `/v1/` that Docker wrote.
pub(super) fn key(written: &str) -> String {
    let bare = written.split_once("://").map_or(written, |(_, rest)| rest);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = path.trim_matches('/');
    let path = if written.contains("://") && matches!(path, "v1" | "v2") { "" } else { path };
    let host = canonical_host(host);
    if path.is_empty() { host } else { format!("{host}/{path}") }
}

/// How well `key` fits `wanted` (host and repository): more is better.
fn fit(key: &str, wanted: &str) -> Option<(bool, usize)> {
    let (key_host, key_path) = key.split_once('/').unwrap_or((key, ""));
    let (host, path) = wanted.split_once('/').unwrap_or((wanted, ""));
    let literal = key_host == host;
    let path_fits = key_path.is_empty()
        || path == key_path
        || path.strip_prefix(key_path).is_some_and(|rest| rest.starts_with('/'));
    ((literal || host_matches(key_host, host)) && path_fits).then_some((literal, key_path.len()))
}

/// Whether a host with `*` in its labels means `host`. A star never spans a dot.
fn host_matches(pattern: &str, host: &str) -> bool {
    pattern.contains('*')
        && pattern.split('.').count() == host.split('.').count()
        && pattern.split('.').zip(host.split('.')).all(|(pattern, label)| star(pattern, label))
}

/// Whether `text` is `pattern` with something for each `*`. What lies between two stars is taken
/// where it comes first: if the rest fits behind a later place, it fits behind that, too.
fn star(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let (between, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut text) = text.strip_prefix(head).and_then(|text| text.strip_suffix(tail)) else {
        return false;
    };
    between.split('*').all(|part| match text.find(part) {
        Some(at) => {
            text = &text[at + part.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> DockerConfig {
        DockerConfig::parse(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error}"))
    }

    fn shown(found: Option<&Credential>) -> String {
        match found {
            None => "none".to_owned(),
            Some(Credential::Basic { username, password }) => {
                format!("{username}:{}", password.expose_secret())
            }
            Some(Credential::IdentityToken(token)) => format!("identity {}", token.expose_secret()),
            Some(Credential::RegistryToken(token)) => format!("registry {}", token.expose_secret()),
        }
    }

    #[test]
    fn every_form_of_an_entry_is_read() {
        for (entry, wanted) in [
            (r#"{"auth": "bWU6cGE6c3M="}"#, "me:pa:ss"),
            (r#"{"auth": "bWU6cGE6c3M"}"#, "me:pa:ss"),
            (r#"{"username": "me", "password": "pass"}"#, "me:pass"),
            (r#"{"username": "me", "password": "pass", "email": "me@example.com"}"#, "me:pass"),
            (r#"{"auth": "MDAwMDo=", "identitytoken": "idt"}"#, "identity idt"),
            (r#"{"registrytoken": "rt"}"#, "registry rt"),
            (r#"{}"#, "none"),
            (r#"{"auth": ""}"#, "none"),
        ] {
            let config = parse(&format!(r#"{{"auths": {{"example.com": {entry}}}}}"#));
            assert_eq!(shown(config.credential("example.com", "a/b")), wanted, "{entry}");
            assert_eq!(shown(config.credential("other.com", "a/b")), "none");
        }
    }

    #[test]
    fn keys_are_read_in_every_way_they_were_ever_written() {
        for (key, host) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("docker.io", "docker.io"),
            ("https://example.com", "example.com"),
            ("https://example.com/v2/", "example.com"),
            ("http://example.com:5000/", "example.com:5000"),
            ("Example.com", "example.com"),
            ("*.azurecr.io", "mine.azurecr.io"),
            ("mi*.azurecr.io", "mine.azurecr.io"),
        ] {
            let config = parse(&format!(r#"{{"auths": {{"{key}": {{"auth": "bWU6cA=="}}}}}}"#));
            assert_eq!(shown(config.credential(host, "a/b")), "me:p", "{key}");
            let others = ["azurecr.io", "a.mine.azurecr.io", "evil.com", "example.com.evil.com"];
            for other in others {
                assert_eq!(shown(config.credential(other, "a/b")), "none", "{key} {other}");
            }
        }
    }

    #[test]
    fn stars_stand_for_anything_and_many_of_them_take_no_longer() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*", "a", true),
            ("a*b", "ab", true),
            ("a*a", "a", false),
            ("a*b*c", "axbxbxc", true),
            ("*ab*ab*", "xabxab", true),
            ("*ab*ab*", "xabab", true),
            ("*ab*ab*", "xaba", false),
            ("a*b", "ac", false),
        ] {
            assert_eq!(star(pattern, text), fits, "{pattern} {text}");
        }
        // Trying each star at each place, this would not end.
        assert!(!star(&format!("{}b", "*a".repeat(30)), &"a".repeat(63)));
    }

    #[test]
    fn the_longest_path_that_fits_wins() {
        let config = parse(
            r#"{"auths": {
                "example.com": {"username": "host", "password": "p"},
                "example.com/team": {"username": "team", "password": "p"},
                "example.com/team/app": {"username": "app", "password": "p"},
                "*.com/team/app/x": {"username": "star", "password": "p"}}}"#,
        );
        for (path, who) in [
            ("a/b", "host:p"),
            ("team/b", "team:p"),
            ("teams/b", "host:p"),
            ("team/app", "app:p"),
            ("team/app/x", "app:p"),
        ] {
            assert_eq!(shown(config.credential("example.com", path)), who, "{path}");
        }
    }

    #[test]
    fn a_helper_for_one_host_goes_before_the_one_for_all() {
        let config =
            parse(r#"{"credsStore": "desktop", "credHelpers": {"gcr.io": "gcloud", "x.io": ""}}"#);
        assert_eq!(config.helper("gcr.io"), Some("gcloud"));
        assert_eq!(config.helper("x.io"), Some("desktop"));
        assert_eq!(parse("{}").helper("gcr.io"), None);
        assert_eq!(parse("").helper("gcr.io"), None);
    }

    #[test]
    fn what_is_wrong_is_named_and_not_quoted() {
        let text = r#"{"auths": {"example.com": {"auth": "hunter2"}}}"#;
        let error = DockerConfig::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error, BadConfig::Auth("example.com".to_owned()));
        let text = r#"{"auths": {"example.com": "hunter2"}}"#;
        let error = DockerConfig::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(error, BadConfig::Json { line: 1, .. }), "{error:?}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert_eq!(DockerConfig::parse(&vec![b' '; LARGEST + 1]).unwrap_err(), BadConfig::TooLarge);
    }
}
