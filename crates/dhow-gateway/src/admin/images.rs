//! `POST /api/v1/namespaces/NS/images`: the server pulls an image, and its module is judged and compiled.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use axum::routing::{self, MethodRouter};
use bytes::Bytes;
use dhow_core::digest::Digest;
use dhow_core::function::ImageSource;
use dhow_core::name::Label;
use dhow_core::ports::Transfer;
use futures_util::stream;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::error::ApiError;
use super::wire::{self, ArtifactEvent};
use super::{Admin, ndjson, path};

/// Bytes of a request.
const MOST_REQUEST: usize = 64 << 10;
/// How often one blob's progress is told.
const TELL_EVERY: Duration = Duration::from_millis(100);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wanted {
    reference: String,
    #[serde(default)]
    pull_secrets: Vec<String>,
    #[serde(default)]
    command: Vec<String>,
}

pub(super) fn route() -> MethodRouter<Admin> {
    routing::post(pull).layer(DefaultBodyLimit::max(MOST_REQUEST))
}

/// Pulls an image and tells step by step what becomes of it. When the client leaves, a pull ends;
/// what has come by then is there for the next one.
async fn pull(
    State(admin): State<Admin>,
    path::Namespace(namespace): path::Namespace,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let image = read(&body?)?;
    let (events, mut steps) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        tokio::select! {
            () = tell_all(&admin, &namespace, &image, &events) => {}
            () = events.closed() => {}
        }
    });
    Ok(ndjson::respond(stream::poll_fn(move |context| steps.poll_recv(context))))
}

fn read(body: &[u8]) -> Result<ImageSource, ApiError> {
    let Wanted { reference, pull_secrets, command } = serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid(format!("the request is not valid: {error}"), vec![]))?;
    let pull_secrets = pull_secrets.iter().map(|text| path::label("pullSecrets", text));
    let pull_secrets = pull_secrets.collect::<Result<_, _>>()?;
    Ok(ImageSource { reference, pull_secrets, command })
}

async fn tell_all(
    admin: &Admin,
    namespace: &Label,
    image: &ImageSource,
    events: &mpsc::UnboundedSender<ArtifactEvent>,
) {
    // A client that has left hears nothing.
    let tell = |event| drop(events.send(event));
    let pace = Pace::default();
    let hear = |transfer: Transfer| {
        if pace.is_due(&transfer, Instant::now()) {
            tell(ArtifactEvent::from(transfer));
        }
    };
    let pulled = match admin.images.pull(namespace, image, &hear).await {
        Ok(pulled) => pulled,
        Err(refusal) => return tell(refusal.into()),
    };
    for message in &pulled.warnings {
        tell(ArtifactEvent::Warning { message: message.clone() });
    }
    let step = |progress| tell(ArtifactEvent::from(progress));
    tell(match admin.intake.admit(&pulled.blob, &step).await {
        Ok(artifact) => {
            ArtifactEvent::Artifact { artifact: wire::Artifact::of_image(artifact, pulled) }
        }
        Err(refusal) => refusal.into(),
    });
}

/// Lets through what a person can follow, and the end of each blob.
#[derive(Default)]
struct Pace(Mutex<HashMap<Digest, Instant>>);

impl Pace {
    fn is_due(&self, transfer: &Transfer, now: Instant) -> bool {
        let mut told = self.0.lock();
        let last = told.get(&transfer.blob);
        let is_due = transfer.received >= transfer.size
            || last.is_none_or(|last| now.duration_since(*last) >= TELL_EVERY);
        if is_due {
            told.insert(transfer.blob, now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_blob_is_told_of_now_and_then_and_at_its_end() {
        let (pace, begin) = (Pace::default(), Instant::now());
        let transfer = |blob: u8, received| Transfer {
            blob: Digest::from_bytes([blob; 32]),
            received,
            size: 9,
        };
        let told = [(1, 1, 0), (1, 2, 50), (2, 1, 50), (1, 3, 120), (1, 4, 130), (1, 9, 140)].map(
            |(blob, received, ms)| {
                pace.is_due(&transfer(blob, received), begin + Duration::from_millis(ms))
            },
        );
        assert_eq!(told, [true, false, true, true, false, true]);
    }
}
