//! Tokens: what a registry is shown, got from its token server, kept per access until they expire.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::RegistryError;
use super::challenge::Challenge;
use super::failure::{Failure, refusal};
use super::transport::{Outgoing, Transport, authority};
use crate::credentials::Credential;

/// How long a token lasts that does not say, as the distribution project's documents have it.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// How long before its end a token is not shown any more.
const MARGIN: Duration = Duration::from_secs(5);
/// Of a token server's answer beside the tokens, bytes.
const MOST_BESIDE: u64 = 16 << 10;

/// What is done with the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Access {
    /// Nothing: only who we are is looked at.
    Check,
    Pull,
    Push,
}

impl Access {
    fn scope(self, path: &str) -> Option<String> {
        match self {
            Self::Check => None,
            Self::Pull => Some(format!("repository:{path}:pull")),
            Self::Push => Some(format!("repository:{path}:pull,push")),
        }
    }
}

/// What is shown with a request, and until when.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) header: HeaderValue,
    until: Option<Instant>,
}

impl Shown {
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Option<SecretString>,
    access_token: Option<SecretString>,
    expires_in: Option<u64>,
}

/// Meets `challenge`. `None`: there is nothing that could be shown.
pub(super) async fn meet(
    transport: &Transport,
    registry: &Url,
    challenge: &Challenge,
    credential: Option<&Credential>,
    access: Access,
    path: &str,
) -> Result<Option<Shown>, Failure> {
    if let Some(Credential::RegistryToken(token)) = credential {
        return shown(transport, registry, "Bearer", token, None).map(Some);
    }
    match (challenge, credential) {
        (Challenge::Basic, Some(Credential::Basic { username, password })) => {
            Ok(Some(Shown { header: basic(username, password), until: None }))
        }
        (Challenge::Basic, _) => Ok(None),
        (Challenge::Bearer { realm, service, scope }, credential) => {
            let realm = token_server(registry, realm, |realm| transport.is_unchecked(realm))?;
            let scope = scope.clone().or_else(|| access.scope(path));
            let request = match credential {
                Some(Credential::IdentityToken(token)) => {
                    refresh(realm, service.as_deref(), scope.as_deref(), token)
                }
                _ => get(realm, service.as_deref(), scope.as_deref(), credential),
            };
            fetch(transport, registry, request, credential.is_some()).await.map(Some)
        }
    }
}

/// The token server, if it may be told who we are: not over plain text where the registry itself
/// is not plain text, unless an operator named it as one that may.
fn token_server(
    registry: &Url,
    realm: &str,
    is_named: impl Fn(&Url) -> bool,
) -> Result<Url, RegistryError> {
    let protocol = |why: &str| RegistryError::Protocol {
        host: authority(registry),
        why: format!("its token server {why}"),
    };
    let realm: Url = realm.parse().map_err(|_| protocol("has no address"))?;
    match realm.scheme() {
        "https" => {}
        "http" if registry.scheme() == "http" || is_named(&realm) => {}
        _ => return Err(protocol("is not reached over https")),
    }
    if !realm.username().is_empty() || realm.password().is_some() {
        return Err(protocol("has a name or password in its address"));
    }
    Ok(realm)
}

fn get(
    mut realm: Url,
    service: Option<&str>,
    scope: Option<&str>,
    credential: Option<&Credential>,
) -> Outgoing {
    {
        let mut query = realm.query_pairs_mut();
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        // Several scopes are parameters of their own.
        for scope in scope.into_iter().flat_map(|scope| scope.split(' ')) {
            query.append_pair("scope", scope);
        }
        if let Some(Credential::Basic { username, .. }) = credential {
            query.append_pair("account", username);
        }
    }
    let request = Outgoing::new(Method::GET, realm, "a token");
    match credential {
        Some(Credential::Basic { username, password }) => {
            request.header(AUTHORIZATION, basic(username, password))
        }
        _ => request,
    }
}

fn refresh(
    realm: Url,
    service: Option<&str>,
    scope: Option<&str>,
    token: &SecretString,
) -> Outgoing {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token");
    form.append_pair("client_id", "dhow");
    form.append_pair("refresh_token", token.expose_secret());
    for (name, value) in [("service", service), ("scope", scope)] {
        if let Some(value) = value {
            form.append_pair(name, value);
        }
    }
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    let mut request = Outgoing::new(Method::POST, realm, "a token").header(CONTENT_TYPE, kind);
    request.body = Bytes::from(form.finish());
    request
}

async fn fetch(
    transport: &Transport,
    registry: &Url,
    mut request: Outgoing,
    known: bool,
) -> Result<Shown, Failure> {
    let asked = Instant::now();
    let host = authority(&request.address);
    // Taken out of the headers: the transport shows it to the token server's own origin alone.
    let authorization = request.headers.remove(AUTHORIZATION);
    let response = transport.exchange(&request, authorization.as_ref()).await?;
    if !response.status().is_success() {
        return Err(match refusal(transport, response, "a token", known).await {
            // Token servers answer so to a wrong password.
            Failure { error: RegistryError::Refused { host, what, status: 400, .. }, .. }
                if known =>
            {
                RegistryError::LoginRequired { host, what, known }.into()
            }
            other => other,
        });
    }
    let most = transport.limits.token as u64 * 3 + MOST_BESIDE;
    let body = SecretBody(transport.body(response, most, "the answer of a token server").await?);
    let answer: Answer = serde_json::from_slice(&body.0).map_err(|_| RegistryError::Protocol {
        host: host.clone(),
        why: "a token server's answer is not JSON with a token".to_owned(),
    })?;
    let given = |token: &SecretString| !token.expose_secret().is_empty();
    let token = answer.token.filter(given).or_else(|| answer.access_token.filter(given));
    let token = token.ok_or_else(|| RegistryError::Protocol {
        host,
        why: "a token server's answer has no token".to_owned(),
    })?;
    let life = answer.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
    // One that is nearly over when it comes is still shown once: the answer to a 401 uses it.
    let until = asked.checked_add(life.saturating_sub(MARGIN));
    shown(transport, registry, "Bearer", &token, until)
}

/// A token server's answer, not for printing.
struct SecretBody(Vec<u8>);

fn shown(
    transport: &Transport,
    registry: &Url,
    scheme: &str,
    token: &SecretString,
    until: Option<Instant>,
) -> Result<Shown, Failure> {
    let token = token.expose_secret();
    let most = transport.limits.token;
    if token.len() > most {
        let what = format!("a token for {}", authority(registry));
        return Err(RegistryError::TooLarge { what, most: most as u64 }.into());
    }
    let mut header = HeaderValue::from_str(&format!("{scheme} {token}")).map_err(|_| {
        RegistryError::Protocol {
            host: authority(registry),
            why: "a token has characters that no header may have".to_owned(),
        }
    })?;
    header.set_sensitive(true);
    Ok(Shown { header, until })
}

fn basic(username: &str, password: &SecretString) -> HeaderValue {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let pair = SecretString::from(format!("{username}:{}", password.expose_secret()));
    let text = format!("Basic {}", STANDARD.encode(pair.expose_secret()));
    let mut header = HeaderValue::from_str(&text).expect("base64 is fit for a header");
    header.set_sensitive(true);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_server_is_not_told_in_plain_text_who_we_are() {
        let url = |text: &str| -> Url { text.parse().unwrap() };
        let (secure, plain) = (url("https://a.io/"), url("http://localhost:5000/"));
        let none = |_: &Url| false;
        assert!(token_server(&secure, "https://auth.a.io/token", none).is_ok());
        assert!(token_server(&plain, "http://localhost:5001/token", none).is_ok());
        assert!(token_server(&secure, "http://auth.a.io/token", |_| true).is_ok());
        for realm in ["http://auth.a.io/token", "file:///x", "", "https://u:p@auth.a.io/"] {
            let error = token_server(&secure, realm, none).unwrap_err();
            assert_eq!(error.reason(), "bad-registry", "{realm}");
            assert!(!error.to_string().contains("u:p"), "{error}");
        }
    }

    #[test]
    fn a_refresh_token_is_in_no_debugging() {
        let realm = "https://auth.a.io/token?x=hunter2".parse().unwrap();
        let request = refresh(realm, None, None, &"hunter2".into());
        assert!(!format!("{request:?}").contains("hunter2"), "{request:?}");
        assert!(request.body.ends_with(b"hunter2"));
    }

    #[test]
    fn what_is_asked_for_is_in_the_query_and_the_password_is_not() {
        let credential =
            Credential::Basic { username: "me".to_owned(), password: "hunter2".into() };
        let realm = "https://auth.a.io/token?x=1".parse().unwrap();
        let request = get(realm, Some("reg"), Some("one two"), Some(&credential));
        let address = request.address.as_str();
        let wanted = "https://auth.a.io/token?x=1&service=reg&scope=one&scope=two&account=me";
        assert_eq!(address, wanted);
        assert!(!format!("{request:?}").contains("hunter2"), "{request:?}");
        assert!(request.headers[AUTHORIZATION].is_sensitive());
    }
}
