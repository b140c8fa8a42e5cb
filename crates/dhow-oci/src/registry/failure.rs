//! A failed try: why, and whether another may do better.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::RETRY_AFTER;
use reqwest::Response;

use super::RegistryError;
use super::transport::{Transport, authority};
use super::wait::retry_after;

/// The most of an error's body that is read, bytes.
const MOST_BODY: u64 = 64 << 10;

/// A failed try.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: RegistryError,
    pub(super) again: Again,
}

/// Whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It would be the same.
    Never,
    /// It may pass; after our own wait, or after at least this long.
    After(Option<Duration>),
}

impl Failure {
    /// One that may pass.
    pub(super) fn passing(error: RegistryError) -> Self {
        Self { error, again: Again::After(None) }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self { error, again: Again::Never }
    }
}

/// What an answer that is not the wanted one means. `known`: whether credentials were shown.
pub(super) async fn refusal(
    transport: &Transport,
    response: Response,
    what: &str,
    known: bool,
) -> Failure {
    let status = response.status();
    let host = authority(response.url());
    let what = what.to_owned();
    let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = header.and_then(|value| retry_after(value, SystemTime::now()));
    // The code is for people; without a readable body there is none.
    let body = transport.body(response, MOST_BODY, &what).await.unwrap_or_default();
    let code = error_code(&body);
    match status {
        StatusCode::UNAUTHORIZED => RegistryError::LoginRequired { host, what, known }.into(),
        StatusCode::FORBIDDEN => RegistryError::Denied { host, what, code }.into(),
        StatusCode::NOT_FOUND => RegistryError::NotFound { host, what, code }.into(),
        StatusCode::TOO_MANY_REQUESTS => Failure {
            error: RegistryError::RateLimited { host, after },
            again: Again::After(after),
        },
        status => {
            let again = if status.is_server_error() { Again::After(after) } else { Again::Never };
            let status = status.as_u16();
            Failure { error: RegistryError::Refused { host, what, status, code }, again }
        }
    }
}

/// The first code of a registry's error document. Only what looks like one: the rest of the text
/// is the registry's, and could be anything.
fn error_code(body: &[u8]) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(body).ok()?;
    let code = document.get("errors")?.get(0)?.get("code")?.as_str()?;
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    (code.len() <= 40 && code.bytes().all(plain)).then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_registrys_words_only_a_code_is_kept() {
        let body = br#"{"errors": [{"code": "NAME_UNKNOWN", "message": "hunter2"}]}"#;
        assert_eq!(error_code(body).as_deref(), Some("NAME_UNKNOWN"));
        for other in [&br#"{"errors": [{"code": "see evil.com"}]}"#[..], b"{}", b"<html>", b""] {
            assert_eq!(error_code(other), None);
        }
    }
}
