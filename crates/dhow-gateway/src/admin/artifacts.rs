//! `POST /api/v1/artifacts`: a module comes in, is kept, judged and compiled.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use dhow_core::digest::Digest;
use dhow_core::ports::UploadError;
use futures_util::{StreamExt, stream};
use http_body::Frame;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::audit::Detail;
use super::error::ApiError;
use super::wire::{self, ArtifactEvent};
use super::{Admin, ndjson};

/// How long the rest of an upload is read after it was refused.
const DISCARD: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadQuery {
    program: Option<String>,
}

/// Takes a module and tells step by step what becomes of it.
///
/// Once the module is held, the steps go on without the client: what it waited for is done when it
/// asks again, and costs no more than the intake's own budgets. An upload that breaks off before
/// leaves nothing.
pub(super) async fn upload(
    State(admin): State<Admin>,
    query: Result<Query<UploadQuery>, QueryRejection>,
    body: Body,
) -> Result<Response, ApiError> {
    let Query(UploadQuery { program }) = query?;
    if program.as_deref().is_some_and(|program| !is_file_name(program)) {
        return Err(ApiError::parameter("program", "must be a file name of 1 to 255 bytes"));
    }
    let digest = store(&admin, body).await?;
    let detail = Extension(Detail(digest.to_string()));
    let (events, mut steps) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        // A client that has left hears nothing; the steps are few.
        let tell = |event| drop(events.send(event));
        let admitted =
            admin.intake.admit(&digest, &|progress| tell(ArtifactEvent::from(progress))).await;
        tell(match admitted {
            Ok(artifact) => {
                ArtifactEvent::Artifact { artifact: wire::Artifact::new(artifact, program) }
            }
            Err(refusal) => refusal.into(),
        });
    });
    let steps = ndjson::respond(stream::poll_fn(move |context| steps.poll_recv(context)));
    Ok((detail, steps).into_response())
}

async fn store(admin: &Admin, body: Body) -> Result<Digest, ApiError> {
    let (back, returned) = oneshot::channel();
    let lent = Lent { body, back: Some(back) };
    let stored = admin.uploads.put(Box::pin(lent), admin.upload_limit).await;
    if let Err(
        UploadError::TooLarge { .. }
        | UploadError::Full
        | UploadError::OverBudget { .. }
        | UploadError::Io(_),
    ) = &stored
        && let Ok(rest) = returned.await
    {
        // A connection that is closed on a client that still sends loses the answer.
        let rest = rest.into_data_stream().take_while(|piece| std::future::ready(piece.is_ok()));
        let _over = timeout(DISCARD, rest.for_each(|_| std::future::ready(()))).await;
    }
    Ok(stored?)
}

fn is_file_name(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.contains(['/', '\0'])
}

/// A body that comes back, as far as it was read, from whoever drops it.
struct Lent {
    body: Body,
    back: Option<oneshot::Sender<Body>>,
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.body).poll_frame(context).map_err(io::Error::other)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            // Nobody waits for one that was taken whole.
            drop(back.send(std::mem::take(&mut self.body)));
        }
    }
}
