//! Blobs out: looked for first, then uploaded in one piece or in several, gone on with where a
//! connection broke.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use dhow_core::digest::Digest;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::Response;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use url::Url;

use super::failure::Failure;
use super::redirect::target;
use super::token::Access;
use super::transport::{Outgoing, authority};
use super::{RegistryError, Session};

/// The smallest piece that a registry takes, where it says so.
const MIN_PIECE: HeaderName = HeaderName::from_static("oci-chunk-min-length");
/// The largest piece that a registry may demand, bytes: it is held in memory.
const MOST_PIECE: u64 = 64 << 20;

/// Where the bytes of a blob are.
#[derive(Debug, Clone)]
pub enum Content {
    /// In memory.
    Bytes(Bytes),
    /// In a file, which must not change meanwhile.
    File(PathBuf),
}

/// How far an upload is.
struct Upload {
    /// Where the next request goes; none before it began.
    at: Option<Url>,
    sent: u64,
    piece: u64,
    /// A piece broke: the registry is to say how much it has.
    unsure: bool,
}

impl Session {
    /// Makes sure that the registry has the blob. `hear` is told how many of its bytes are there.
    ///
    /// # Errors
    /// It is refused, or the content is not what digest and size say: the registry checks both.
    pub async fn push_blob(
        &self,
        digest: Digest,
        size: u64,
        content: &Content,
        hear: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let what = format!("{}@{digest}", self.image.path());
        let _place = self.before_deadline(&what, self.places.acquire()).await?;
        if self.persist(&what, || self.has_blob(digest, &what)).await? {
            hear(size);
            return Ok(());
        }
        let piece = self.transport.limits.chunk.clamp(1, MOST_PIECE);
        let mut upload = Upload { at: None, sent: 0, piece, unsure: false };
        let mut failed = 0;
        loop {
            let before = upload.sent;
            let step = self.try_upload(digest, size, content, &what, &mut upload, hear);
            let Err(failure) = self.before_deadline(&what, step).await? else { return Ok(()) };
            if upload.sent > before {
                failed = 0;
            }
            upload.unsure = true;
            self.wait_after(failure, failed, &what).await?;
            failed += 1;
        }
    }

    async fn has_blob(&self, digest: Digest, what: &str) -> Result<bool, Failure> {
        let address = self.address(&format!("blobs/{digest}")).await?;
        let request = Outgoing::new(Method::HEAD, address, what);
        let response = self.ask(Access::Push, &request).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refused(response, what).await),
        }
    }

    async fn try_upload(
        &self,
        digest: Digest,
        size: u64,
        content: &Content,
        what: &str,
        upload: &mut Upload,
        hear: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), Failure> {
        if upload.unsure && upload.at.is_some() {
            self.ask_how_far(size, what, upload).await?;
        }
        if upload.at.is_none() {
            self.begin_upload(what, upload).await?;
        }
        hear(upload.sent);
        // What fits into one piece goes with the request that ends the upload.
        while size > upload.piece && upload.sent < size {
            self.send_piece(size, content, what, upload).await?;
            hear(upload.sent);
        }
        let rest = read(content, upload.sent, size - upload.sent).await?;
        let Some(at) = &upload.at else { return Err(nowhere(what, &self.transport.endpoint)) };
        let mut address = at.clone();
        address.query_pairs_mut().append_pair("digest", &digest.to_string());
        let mut request = Outgoing::new(Method::PUT, address, what).header(CONTENT_TYPE, octets());
        request.body = rest;
        let response = self.ask(Access::Push, &request).await?;
        if response.status() != StatusCode::CREATED {
            return Err(self.refused(response, what).await);
        }
        hear(size);
        Ok(())
    }

    async fn begin_upload(&self, what: &str, upload: &mut Upload) -> Result<(), Failure> {
        let request = Outgoing::new(Method::POST, self.address("blobs/uploads/").await?, what);
        let response = self.ask(Access::Push, &request).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.refused(response, what).await);
        }
        if let Some(least) = number(response.headers(), &MIN_PIECE) {
            if least > MOST_PIECE {
                let what = format!("a piece of {what} as the registry wants it");
                return Err(RegistryError::TooLarge { what, most: MOST_PIECE }.into());
            }
            upload.piece = upload.piece.max(least);
        }
        upload.at = Some(self.next_address(&response, what).await?);
        upload.sent = 0;
        upload.unsure = false;
        Ok(())
    }

    async fn send_piece(
        &self,
        size: u64,
        content: &Content,
        what: &str,
        upload: &mut Upload,
    ) -> Result<(), Failure> {
        let Some(at) = upload.at.clone() else {
            return Err(nowhere(what, &self.transport.endpoint));
        };
        let length = upload.piece.min(size - upload.sent);
        let range = format!("{}-{}", upload.sent, upload.sent + length - 1);
        let range = HeaderValue::from_str(&range).expect("digits are fit for a header");
        let mut request = Outgoing::new(Method::PATCH, at, what)
            .header(CONTENT_TYPE, octets())
            .header(CONTENT_RANGE, range);
        request.body = read(content, upload.sent, length).await?;
        let response = self.ask(Access::Push, &request).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.refused(response, what).await);
        }
        upload.at = Some(self.next_address(&response, what).await?);
        upload.sent += length;
        Ok(())
    }

    /// Asks a broken upload for how much of it arrived; one that is gone begins anew.
    async fn ask_how_far(&self, size: u64, what: &str, upload: &mut Upload) -> Result<(), Failure> {
        let Some(at) = upload.at.clone() else { return Ok(()) };
        let response = self.ask(Access::Push, &Outgoing::new(Method::GET, at, what)).await?;
        let arrived = response.headers().get(RANGE).and_then(|value| value.to_str().ok());
        let arrived =
            arrived.and_then(|range| range.trim_start_matches("bytes=").strip_prefix("0-"));
        let arrived = arrived.and_then(|last| last.parse::<u64>().ok());
        match (response.status(), arrived) {
            // Of nothing at all, registries say `0-0`, as they do of one byte: begin anew.
            (StatusCode::NO_CONTENT, Some(last)) if last > 0 && last < size => {
                upload.at = Some(self.next_address(&response, what).await?);
                upload.sent = last + 1;
                upload.unsure = false;
            }
            _ => upload.at = None,
        }
        Ok(())
    }

    async fn next_address(&self, response: &Response, what: &str) -> Result<Url, Failure> {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        target(response.url(), location).map_err(|bad| {
            let host = authority(response.url());
            RegistryError::Redirect { host, what: what.to_owned(), why: bad.to_string() }.into()
        })
    }
}

fn nowhere(what: &str, host: &str) -> Failure {
    let (host, what) = (host.to_owned(), what.to_owned());
    RegistryError::Redirect { host, what, why: "without saying where to".to_owned() }.into()
}

fn octets() -> HeaderValue {
    HeaderValue::from_static("application/octet-stream")
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// `length` bytes of the content, from `from` on.
async fn read(content: &Content, from: u64, length: u64) -> Result<Bytes, Failure> {
    match content {
        Content::Bytes(bytes) => {
            let range = usize::try_from(from).ok().zip(usize::try_from(from + length).ok());
            range
                .and_then(|(from, to)| bytes.get(from..to))
                .map(|part| bytes.slice_ref(part))
                .ok_or_else(|| {
                    let what = "the content of a blob".to_owned();
                    let found = bytes.len() as u64;
                    RegistryError::WrongSize { what, wanted: from + length, found }.into()
                })
        }
        Content::File(file) => read_file(file, from, length)
            .await
            .map_err(|source| RegistryError::Disk { file: file.clone(), source }.into()),
    }
}

async fn read_file(file: &Path, from: u64, length: u64) -> std::io::Result<Bytes> {
    let mut file = tokio::fs::File::open(file).await?;
    file.seek(std::io::SeekFrom::Start(from)).await?;
    let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
    file.read_exact(&mut bytes).await?;
    Ok(bytes.into())
}
