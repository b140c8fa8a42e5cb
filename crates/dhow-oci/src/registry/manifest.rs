//! Manifests: bytes with a digest and a media type. What stands in them is the formats' matter.

use bytes::Bytes;
use dhow_core::digest::Digest;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sha2::{Digest as _, Sha256};

use super::failure::Failure;
use super::token::Access;
use super::transport::Outgoing;
use super::{RegistryError, Session};

/// What is accepted: manifests and indexes of OCI and Docker.
const KINDS: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A manifest or an index as its registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Of `bytes`, computed here.
    pub digest: Digest,
    /// As the registry names it, without parameters; empty when it does not.
    pub media_type: String,
    /// As they came.
    pub bytes: Bytes,
}

impl Session {
    /// The manifest that the session's image names. A tag is resolved by this: pull the rest by the
    /// digest that comes with it.
    ///
    /// # Errors
    /// It is not there, not ours to have, too large, or not what was asked for.
    pub async fn manifest(&self) -> Result<Manifest, RegistryError> {
        let selector = self.image.selector();
        self.select(&selector, self.image.digest()).await
    }

    /// One manifest of the session's repository: one that an index names.
    ///
    /// # Errors
    /// As [`Self::manifest`].
    pub async fn manifest_by_digest(&self, digest: Digest) -> Result<Manifest, RegistryError> {
        self.select(&digest.to_string(), Some(digest)).await
    }

    async fn select(
        &self,
        selector: &str,
        wanted: Option<Digest>,
    ) -> Result<Manifest, RegistryError> {
        let separator = if wanted.is_some() { '@' } else { ':' };
        let what = format!("{}{separator}{selector}", self.image.path());
        self.persist(&what, || self.get_manifest(selector, wanted, &what)).await
    }

    async fn get_manifest(
        &self,
        selector: &str,
        wanted: Option<Digest>,
        what: &str,
    ) -> Result<Manifest, Failure> {
        let address = self.address(&format!("manifests/{selector}")).await?;
        let request = Outgoing::new(Method::GET, address, what)
            .header(ACCEPT, HeaderValue::from_static(KINDS));
        let response = self.ask(Access::Pull, &request).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(response, what).await);
        }
        let media_type = media_type(response.headers());
        let said = said_digest(response.headers());
        let most = self.transport.limits.manifest;
        let bytes = self.transport.body(response, most, &format!("the manifest of {what}")).await?;
        let found = Digest::from_bytes(Sha256::digest(&bytes).into());
        for wanted in wanted.into_iter().chain(said) {
            if wanted != found {
                let what = format!("the manifest of {what}");
                return Err(RegistryError::WrongDigest { what, wanted, found }.into());
            }
        }
        Ok(Manifest { digest: found, media_type, bytes: bytes.into() })
    }

    /// Puts a manifest under the session's tag, or under its own digest where there is no tag.
    /// Everything it names must be there already.
    ///
    /// # Errors
    /// It is refused, or the registry keeps other bytes.
    pub async fn push_manifest(
        &self,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::from_bytes(Sha256::digest(&bytes).into());
        let kind = HeaderValue::from_str(media_type).map_err(|_| RegistryError::Setup {
            what: "the media type of a manifest".to_owned(),
            why: "it has characters that no header may have".to_owned(),
        })?;
        let what = format!("the manifest {digest}");
        let selector = match (self.image.tag(), self.image.digest()) {
            (Some(tag), _) => tag.to_owned(),
            (None, Some(_)) => digest.to_string(),
            (None, None) => self.image.selector(),
        };
        self.persist(&what, || async {
            let address = self.address(&format!("manifests/{selector}")).await?;
            let mut request =
                Outgoing::new(Method::PUT, address, &what).header(CONTENT_TYPE, kind.clone());
            request.body = bytes.clone();
            let response = self.ask(Access::Push, &request).await?;
            if response.status() != StatusCode::CREATED {
                return Err(self.refused(response, &what).await);
            }
            match said_digest(response.headers()) {
                Some(found) if found != digest => {
                    let what = what.clone();
                    Err(RegistryError::WrongDigest { what, wanted: digest, found }.into())
                }
                _ => Ok(digest),
            }
        })
        .await
    }
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_owned()
}

/// The digest that the registry says it gave or took. One of another kind than SHA-256 says nothing
/// that could be compared.
fn said_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}
