//! `GET /api/v1/backup`: a copy of everything that is kept.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use dhow_core::ports::BackupError;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::error::ApiError;
use super::{Admin, time};

/// The archive, from the moment of the request. One that breaks off is none.
pub(super) async fn archive(State(admin): State<Admin>) -> Result<Response, ApiError> {
    let archive = admin.backup.begin(time::now_ms()).await?;
    let head = [(CONTENT_TYPE, "application/gzip"), (CACHE_CONTROL, "no-store")];
    Ok((head, Body::new(archive)).into_response())
}

impl From<BackupError> for ApiError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Busy => Self::new(
                StatusCode::CONFLICT,
                "busy",
                error.to_string(),
                "wait until it has ended; one that its reader has left ends within a minute",
            ),
            BackupError::Full => Self {
                message: "the disk is full: the catalog is copied beside its place".to_owned(),
                ..Self::storage_full()
            },
            BackupError::Failed(_) => Self::internal(error),
        }
    }
}
