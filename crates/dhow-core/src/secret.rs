//! Secrets: named values that are kept for functions and shown to nobody else.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::name::Label;

/// The most bytes of a secret's values together: Kubernetes' limit of 1 MiB.
pub const MOST_BYTES: usize = 1 << 20;

/// The type of a secret that nobody gave one.
pub const OPAQUE: &str = "Opaque";

/// The type of a secret with credentials for registries, as Kubernetes names it.
pub const DOCKER_CONFIG_JSON: &str = "kubernetes.io/dockerconfigjson";

/// The key under which such a secret has Docker's `config.json`.
pub const DOCKER_CONFIG_KEY: &str = ".dockerconfigjson";

/// A secret's full name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretName {
    /// Whose functions it is for.
    pub namespace: Label,
    /// What it is called there.
    pub name: Label,
}

/// A secret. What is printed of it never shows a value.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// What it is for: [`OPAQUE`], or one of Kubernetes' types.
    pub kind: String,
    /// Values by key.
    pub values: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

/// What may be shown of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSummary {
    /// Which.
    pub name: SecretName,
    /// See [`Secret::kind`].
    pub kind: String,
    /// Its keys, sorted.
    pub keys: Vec<String>,
}

/// Why values are no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// Nothing is in it.
    #[error("a secret has at least one key")]
    Empty,
    /// A key that could not be a file's name.
    #[error(
        "`{0}` is not a key: it has 1 to 253 of a-z, A-Z, 0-9, `-`, `_` and `.`, and is not `..`"
    )]
    Key(String),
    /// Too much.
    #[error("a secret has at most {MOST_BYTES} bytes, this one has {0}")]
    TooLarge(usize),
}

impl Secret {
    /// Checks keys and size, by Kubernetes' rules.
    ///
    /// # Errors
    /// See [`BadSecret`].
    pub fn new(
        kind: String,
        values: BTreeMap<String, Zeroizing<Vec<u8>>>,
    ) -> Result<Self, BadSecret> {
        if values.is_empty() {
            return Err(BadSecret::Empty);
        }
        if let Some(key) = values.keys().find(|key| !is_key(key)) {
            return Err(BadSecret::Key(key.chars().take(253).collect()));
        }
        let bytes = values.values().map(|value| value.len()).sum();
        if bytes > MOST_BYTES {
            return Err(BadSecret::TooLarge(bytes));
        }
        Ok(Self { kind, values })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.values.keys().collect();
        f.debug_struct("Secret").field("kind", &self.kind).field("keys", &keys).finish()
    }
}

fn is_key(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && !matches!(text, "." | "..")
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(values: &[(&str, usize)]) -> Result<Secret, BadSecret> {
        let value = |length: usize| Zeroizing::new(vec![b'x'; length]);
        let values = values.iter().map(|(key, length)| ((*key).to_owned(), value(*length)));
        Secret::new(OPAQUE.to_owned(), values.collect())
    }

    #[test]
    fn keys_are_names_of_files_and_sizes_are_bounded() {
        assert!(secret(&[("a", 0), (".dockerconfigjson", MOST_BYTES)]).is_ok());
        assert_eq!(secret(&[]), Err(BadSecret::Empty));
        for wrong in ["", "..", ".", "a/b", "ä", &"k".repeat(254)] {
            assert!(matches!(secret(&[(wrong, 1)]), Err(BadSecret::Key(_))), "{wrong}");
        }
        let two = [("a", MOST_BYTES), ("b", 1)];
        assert_eq!(secret(&two), Err(BadSecret::TooLarge(MOST_BYTES + 1)));
    }

    #[test]
    fn no_value_is_printed() {
        let mut values = BTreeMap::new();
        values.insert("key".to_owned(), Zeroizing::new(b"hunter2".to_vec()));
        let secret = Secret::new(OPAQUE.to_owned(), values).unwrap();
        let printed = format!("{secret:?} {secret:#?}");
        assert!(printed.contains("key") && !printed.contains("hunter2"), "{printed}");
    }
}
