//! Tokens, in the catalog's file: their hashes, never their secrets.

use std::sync::Arc;

use dhow_core::name::Label;
use dhow_core::ports::{BoxFuture, TokenError, Tokens};
use dhow_core::token::{Grant, MOST_TOKENS, Token};
use dhow_disk::is_full;
use serde_json::json;

use super::{EmbeddedCatalog, Inner, records};

impl Tokens for EmbeddedCatalog {
    fn tokens(&self) -> Arc<Vec<Token>> {
        Arc::clone(&self.0.tokens.lock())
    }

    fn create_token(&self, token: Token) -> BoxFuture<'_, Result<(), TokenError>> {
        Box::pin(self.changing_tokens(move |inner| inner.create_token(token)))
    }

    fn revoke_token(&self, name: Label) -> BoxFuture<'_, Result<(), TokenError>> {
        Box::pin(self.changing_tokens(move |inner| inner.revoke_token(name)))
    }
}

impl EmbeddedCatalog {
    async fn changing_tokens(
        &self,
        work: impl FnOnce(&Inner) -> Result<(), TokenError> + Send + 'static,
    ) -> Result<(), TokenError> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .unwrap_or_else(|error| Err(TokenError::Storage(error.to_string())))
    }
}

impl Inner {
    fn create_token(&self, token: Token) -> Result<(), TokenError> {
        let mut disk = self.disk.lock();
        let before = Arc::clone(&self.tokens.lock());
        let place = match find(&before, &token.name) {
            Ok(_) => return Err(TokenError::Exists(token.name)),
            Err(place) => place,
        };
        if before.len() >= MOST_TOKENS {
            return Err(TokenError::TooMany { most: MOST_TOKENS });
        }
        let record = encode(&token);
        if decode(&record).as_ref() != Ok(&token) {
            let name = &token.name;
            return Err(TokenError::Storage(format!("`{name}` would not read back as it is")));
        }
        disk.put_token(token.name.as_str(), &record).map_err(storage)?;
        let mut tokens = Vec::clone(&before);
        tokens.insert(place, token);
        *self.tokens.lock() = Arc::new(tokens);
        Ok(())
    }

    fn revoke_token(&self, name: Label) -> Result<(), TokenError> {
        let mut disk = self.disk.lock();
        let before = Arc::clone(&self.tokens.lock());
        let Ok(place) = find(&before, &name) else { return Err(TokenError::NotFound(name)) };
        disk.remove_token(name.as_str()).map_err(storage)?;
        let mut tokens = Vec::clone(&before);
        tokens.remove(place);
        *self.tokens.lock() = Arc::new(tokens);
        Ok(())
    }
}

/// The tokens of these records, by name.
pub(super) fn read(records: &[Vec<u8>]) -> Result<Vec<Token>, String> {
    let mut tokens = records.iter().map(|bytes| decode(bytes)).collect::<Result<Vec<_>, _>>()?;
    tokens.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(tokens)
}

fn find(tokens: &[Token], name: &Label) -> Result<usize, usize> {
    tokens.binary_search_by(|token| token.name.cmp(name))
}

fn encode(token: &Token) -> Vec<u8> {
    let Token { name, hash, grants, created_ms, expires_ms } = token;
    json!({
        "name": name.as_str(),
        "hash": hash.to_string(),
        "scopes": grants.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "createdMs": created_ms,
        "expiresMs": expires_ms,
    })
    .to_string()
    .into_bytes()
}

/// A record with a field that is missing or wrong is none: a token must not come to hold for
/// longer, or for more, than was said.
fn decode(bytes: &[u8]) -> Result<Token, String> {
    let record = records::parse(bytes)?;
    let wrong = |field: &str, why: &dyn std::fmt::Display| format!("a token's `{field}`: {why}");
    let scopes = record["scopes"].as_array().ok_or("a token's `scopes` is not a list")?;
    let grants: Vec<Grant> = scopes
        .iter()
        .map(|scope| {
            let text = scope.as_str().ok_or("a token's scope is not text")?;
            text.parse().map_err(|error| wrong("scopes", &error))
        })
        .collect::<Result<_, String>>()?;
    let expires_ms = match record.get("expiresMs") {
        Some(serde_json::Value::Null) => None,
        _ => Some(records::number(&record, "expiresMs")?),
    };
    Ok(Token {
        name: records::text(&record, "name")?.parse().map_err(|error| wrong("name", &error))?,
        hash: records::text(&record, "hash")?.parse().map_err(|error| wrong("hash", &error))?,
        grants,
        created_ms: records::number(&record, "createdMs")?,
        expires_ms,
    })
}

fn storage(error: redb::Error) -> TokenError {
    match error {
        redb::Error::Io(error) if is_full(&error) => TokenError::Full,
        error => TokenError::Storage(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use dhow_core::digest::Digest;

    use super::*;
    use crate::folder::DataFolder;

    fn token(name: &str, scope: &str, expires_ms: Option<u64>) -> Token {
        Token {
            name: name.parse().unwrap(),
            hash: Digest::from_bytes([name.len() as u8; 32]),
            grants: vec![scope.parse().unwrap()],
            created_ms: 5,
            expires_ms,
        }
    }

    fn open(path: &std::path::Path) -> EmbeddedCatalog {
        EmbeddedCatalog::open(&Arc::new(DataFolder::open(path).unwrap())).unwrap()
    }

    fn names(catalog: &EmbeddedCatalog) -> Vec<String> {
        catalog.tokens().iter().map(|token| token.name.to_string()).collect()
    }

    #[tokio::test]
    async fn tokens_outlive_the_process_and_revoked_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = open(folder.path());
        assert!(catalog.tokens().is_empty());
        let (b, a) = (token("b", "deploy:shop", None), token("a", "read", Some(9)));
        catalog.create_token(b.clone()).await.unwrap();
        catalog.create_token(a.clone()).await.unwrap();
        catalog.create_token(token("gone", "admin", None)).await.unwrap();
        catalog.revoke_token("gone".parse().unwrap()).await.unwrap();
        assert_eq!(*catalog.tokens(), [a.clone(), b.clone()]);
        let version = catalog.0.snapshot.borrow().version;
        drop(catalog);
        let catalog = open(folder.path());
        assert_eq!(*catalog.tokens(), [a, b]);
        // They are no change of what is deployed: nobody waits for the gateway to take them up.
        assert_eq!(catalog.0.snapshot.borrow().version, version);
    }

    #[tokio::test]
    async fn a_name_is_used_once_and_what_is_not_there_is_not_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = open(folder.path());
        catalog.create_token(token("a", "read", None)).await.unwrap();
        let again = catalog.create_token(token("a", "admin", None)).await;
        assert!(matches!(again, Err(TokenError::Exists(_))));
        let none = catalog.revoke_token("b".parse().unwrap()).await;
        assert!(matches!(none, Err(TokenError::NotFound(_))));
        assert_eq!(names(&catalog), ["a"]);
        assert_eq!(catalog.tokens()[0].grants[0].to_string(), "read");
    }

    #[test]
    fn a_record_that_says_less_is_refused() {
        let whole: serde_json::Value =
            serde_json::from_slice(&encode(&token("a", "read", Some(9)))).unwrap();
        assert!(decode(whole.to_string().as_bytes()).is_ok());
        for field in ["name", "hash", "scopes", "createdMs", "expiresMs"] {
            let mut less = whole.clone();
            less.as_object_mut().unwrap().remove(field);
            assert!(decode(less.to_string().as_bytes()).is_err(), "{field}");
        }
    }
}
