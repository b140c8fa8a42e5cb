//! Tokens: made, listed, revoked. Their secrets are said once, in the answer that makes them.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use dhow_core::quantity::parse_duration;
use dhow_core::token::{Grant, MOST_GRANTS, Token};
use dhow_dialects::problem::FieldError;
use http::StatusCode;
use serde::Deserialize;

use super::Admin;
use super::credentials::{fresh_secret, hash};
use super::error::ApiError;
use super::path::label;
use super::time::now_ms;
use super::wire::{Items, NewToken, TokenStatus};

/// How long a token may hold.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A token that somebody wants.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    name: String,
    scopes: Vec<String>,
    /// How long it shall hold, such as `90d`; absent is for ever.
    #[serde(default)]
    expires: Option<String>,
}

pub(super) async fn create(
    State(admin): State<Admin>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<(StatusCode, Json<NewToken>), ApiError> {
    let Json(wanted) = wanted?;
    let secret = fresh_secret().map_err(|error| ApiError::internal(error.to_string()))?;
    let token = read(&wanted, &secret, now_ms())?;
    admin.tokens.create_token(token.clone()).await?;
    Ok((StatusCode::CREATED, Json(NewToken::new(&token, secret))))
}

/// By name.
pub(super) async fn list(State(admin): State<Admin>) -> Json<Items<TokenStatus>> {
    let now_ms = now_ms();
    let tokens = admin.tokens.tokens();
    Json(Items { items: tokens.iter().map(|token| TokenStatus::new(token, now_ms)).collect() })
}

pub(super) async fn revoke(
    State(admin): State<Admin>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    admin.tokens.revoke_token(label("name", &name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The token that is wanted, or every field of it that is wrong.
fn read(wanted: &Wanted, secret: &str, now_ms: u64) -> Result<Token, ApiError> {
    let mut fields = vec![];
    let name = wanted.name.parse();
    let name = name.map_err(|error| fields.push(FieldError::new("name", format!("{error}"))));
    let mut grants: Vec<Grant> = vec![];
    for (index, scope) in wanted.scopes.iter().enumerate().take(MOST_GRANTS + 1) {
        match scope.parse() {
            Ok(grant) => grants.push(grant),
            Err(error) => {
                fields.push(FieldError::new(format!("scopes[{index}]"), format!("{error}")));
            }
        }
    }
    if wanted.scopes.is_empty() || wanted.scopes.len() > MOST_GRANTS {
        let message = format!("has {} scopes; a token has 1 to {MOST_GRANTS}", wanted.scopes.len());
        fields.push(FieldError::new("scopes", message));
    }
    let expires = wanted.expires.as_deref().map(expiry).transpose();
    let expires = expires.map_err(|message| fields.push(FieldError::new("expires", message)));
    match (name, expires) {
        (Ok(name), Ok(expires)) if fields.is_empty() => Ok(Token {
            name,
            hash: hash(secret),
            grants,
            created_ms: now_ms,
            expires_ms: expires.map(|length| now_ms.saturating_add(millis(length))),
        }),
        _ => Err(ApiError::invalid("this is no token", fields)),
    }
}

/// A length of time, also in days: a token holds for many of them.
fn expiry(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let length = match days {
        Some(days) => Duration::from_secs(u64::from(days) * 24 * 3600),
        None => parse_duration(text).map_err(|error| error.to_string())?,
    };
    if length.is_zero() || length > LONGEST {
        return Err("a token holds for at least a moment, and at most ten years".to_owned());
    }
    Ok(length)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, scopes: &[&str], expires: Option<&str>) -> Wanted {
        Wanted {
            name: name.to_owned(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            expires: expires.map(str::to_owned),
        }
    }

    #[test]
    fn a_token_is_what_was_wanted_without_its_secret() {
        let token = read(&wanted("ci", &["deploy:shop"], Some("1h")), "secret", 1000).unwrap();
        assert_eq!(token.name.as_str(), "ci");
        assert_eq!(token.grants[0].to_string(), "deploy:shop");
        assert_eq!((token.created_ms, token.expires_ms), (1000, Some(3_601_000)));
        assert_eq!(token.hash, hash("secret"));
        assert_eq!(read(&wanted("ci", &["read"], None), "s", 1).unwrap().expires_ms, None);
        let days = read(&wanted("ci", &["read"], Some("2d")), "s", 1).unwrap();
        assert_eq!(days.expires_ms, Some(2 * 24 * 3_600_000 + 1));
    }

    #[test]
    fn every_wrong_field_is_named() {
        let error = read(&wanted("A", &["read", "x"], Some("0s")), "s", 1).unwrap_err();
        let paths: Vec<_> = error.fields.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(paths, ["name", "scopes[1]", "expires"]);
        assert_eq!(read(&wanted("a", &[], None), "s", 1).unwrap_err().fields[0].path, "scopes");
        let many = vec!["read"; MOST_GRANTS + 1];
        assert_eq!(read(&wanted("a", &many, None), "s", 1).unwrap_err().fields[0].path, "scopes");
        for expires in ["90", "-1s", "100000d", "soon"] {
            let error = read(&wanted("a", &["read"], Some(expires)), "s", 1).unwrap_err();
            assert_eq!(error.fields[0].path, "expires", "{expires}");
        }
    }
}
