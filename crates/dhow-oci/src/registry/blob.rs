//! Blobs in: written where they belong as they come, gone on with where a connection broke.

use http::header::{CONTENT_RANGE, RANGE, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode};
use reqwest::Response;

use super::failure::{Again, Failure};
use super::token::Access;
use super::transport::{Outgoing, authority};
use super::{RegistryError, Session};
use crate::image::descriptor::Descriptor;
use crate::image::error::PullError;
use crate::image::incoming::Incoming;

/// One try's failure: the registry's, or our own disk's.
enum Broken {
    Registry(Failure),
    Here(PullError),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Registry(failure)
    }
}

impl From<RegistryError> for Broken {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error.into())
    }
}

impl From<PullError> for Broken {
    fn from(error: PullError) -> Self {
        Self::Here(error)
    }
}

impl Session {
    /// Writes a blob into `into`, from where it or an earlier pull ended. No more blobs come at once than the limits
    /// say; the others wait. A try that brought bytes makes the count of tries begin anew.
    ///
    /// # Errors
    /// It is not there, not ours to have, too large, of another size than stated; or `into` refuses.
    pub async fn pull_blob(&self, blob: &Descriptor, into: &mut Incoming) -> Result<(), PullError> {
        let what = format!("{}@{}", self.image.path(), blob.digest);
        let most = self.transport.limits.blob;
        if blob.size > most {
            return Err(RegistryError::TooLarge { what, most }.into());
        }
        let _place = self.before_deadline(&what, self.places.acquire()).await?;
        into.resume().await?;
        let mut left_by_another = into.received() > 0;
        let mut failed = 0;
        loop {
            let before = into.received();
            let failure =
                match self.before_deadline(&what, self.try_blob(blob, into, &what)).await? {
                    // What a power cut left may be wrong; what came now alone is judged by the caller.
                    Ok(()) if left_by_another && !into.is_right() => {
                        left_by_another = false;
                        into.restart().await?;
                        continue;
                    }
                    Ok(()) => return Ok(()),
                    Err(Broken::Here(error)) => return Err(error),
                    Err(Broken::Registry(Failure {
                        error: error @ RegistryError::WrongSize { .. },
                        again: Again::Never,
                    })) => {
                        into.restart().await?;
                        return Err(error.into());
                    }
                    Err(Broken::Registry(failure)) => failure,
                };
            into.flush().await?;
            if into.received() > before {
                failed = 0;
            }
            self.wait_after(failure, failed, &what).await?;
            failed += 1;
        }
    }

    async fn try_blob(
        &self,
        blob: &Descriptor,
        into: &mut Incoming,
        what: &str,
    ) -> Result<(), Broken> {
        if into.received() == blob.size && blob.size > 0 {
            return Ok(());
        }
        let address = self.address(&format!("blobs/{}", blob.digest)).await?;
        let mut request = Outgoing::new(Method::GET, address, what);
        let from = into.received();
        if from > 0 {
            request = request.header(RANGE, range(from));
        }
        let mut response = self.ask(Access::Pull, &request).await?;
        match response.status() {
            StatusCode::OK => {
                if from > 0 {
                    into.restart().await?;
                }
            }
            StatusCode::PARTIAL_CONTENT if from > 0 => {
                check_range(&response, from, blob.size)?;
            }
            StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => {
                into.restart().await?;
                return Err(Failure::passing(protocol(&response, "it can't go on")).into());
            }
            _ => return Err(self.refused(response, what).await.into()),
        }
        let wrong_size =
            |found| RegistryError::WrongSize { what: what.to_owned(), wanted: blob.size, found };
        if let Some(length) = response.content_length()
            && into.received() + length != blob.size
        {
            return Err(wrong_size(into.received() + length).into());
        }
        while let Some(piece) = self.transport.piece(&mut response, what).await? {
            into.write(&piece).await?;
        }
        if into.received() == blob.size {
            return Ok(());
        }
        let short = wrong_size(into.received());
        // The end of a chunked body is said; the end of any other may be a broken connection.
        let said = response.headers().contains_key(TRANSFER_ENCODING);
        Err(if said { short.into() } else { Failure::passing(short).into() })
    }
}

fn range(from: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("bytes={from}-")).expect("digits are fit for a header")
}

/// `Content-Range: bytes FROM-LAST/SIZE` must go on where we are. A registry whose blob has another
/// size has another blob.
fn check_range(response: &Response, from: u64, size: u64) -> Result<(), RegistryError> {
    let header = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let told = header.and_then(parse_range);
    match told {
        Some((start, total)) if start == from && total.is_none_or(|total| total == size) => Ok(()),
        _ => Err(protocol(response, "it sends another part of a blob than was asked for")),
    }
}

fn parse_range(header: &str) -> Option<(u64, Option<u64>)> {
    let (part, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = part.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((start.parse().ok()?, total))
}

fn protocol(response: &Response, why: &str) -> RegistryError {
    RegistryError::Protocol { host: authority(response.url()), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_where_it_begins_and_of_how_much() {
        assert_eq!(parse_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_range("bytes 5-9/*"), Some((5, None)));
        for wrong in ["bytes */10", "5-9/10", "bytes 5-9", "bytes x-9/10", ""] {
            assert_eq!(parse_range(wrong), None, "{wrong}");
        }
    }
}
