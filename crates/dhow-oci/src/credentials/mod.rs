//! Who we are towards a registry: Docker's and podman's files, their helpers, pull secrets, and
//! `login`.
//!
//! [`Places`] says which files there are; [`Keychain`] reads them when asked; [`DockerConfig`] is
//! one such document from bytes. Nothing here speaks to a registry or reads the environment.

mod document;
mod helper;
mod keychain;
mod login;
mod places;

pub use document::{BadConfig, DockerConfig};
pub use helper::HelperError;
pub use keychain::{CredentialsError, Keychain};
pub use login::{LoginError, Stored, login};
pub use places::Places;
pub use secrecy::{ExposeSecret, SecretString};

/// What is shown to a registry, or to its token server.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A name and a password, or a personal access token in its place.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// An OAuth2 refresh token, given to the token server for short-lived ones.
    IdentityToken(SecretString),
    /// A token that the registry itself takes.
    RegistryToken(SecretString),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_in_what_is_printed() {
        let secret = || SecretString::from("hunter2");
        for credential in [
            Credential::Basic { username: "me".to_owned(), password: secret() },
            Credential::IdentityToken(secret()),
            Credential::RegistryToken(secret()),
        ] {
            assert!(!format!("{credential:?} {credential:#?}").contains("hunter2"));
        }
    }
}
