use std::io;

use bytes::Bytes;
use dhow_core::ports::BackupError;
use http::StatusCode;
use http_body_util::BodyExt as _;

use super::rig::Rig;

#[tokio::test]
async fn the_archive_comes_as_it_is_made() {
    let rig = Rig::new().await;
    let pieces = ["one ", "two"].map(|piece| Ok(Bytes::from(piece)));
    rig.backup.0.lock().push(Ok(Vec::from(pieces)));
    let answer = rig.send(rig.request("GET", "/api/v1/backup"), "").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/gzip");
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "one two");
}

#[tokio::test]
async fn an_archive_that_breaks_off_does_not_look_whole() {
    let rig = Rig::new().await;
    let pieces = vec![Ok(Bytes::from("one")), Err(io::Error::other("the disk failed"))];
    rig.backup.0.lock().push(Ok(pieces));
    let answer = rig.send(rig.request("GET", "/api/v1/backup"), "").await;
    assert!(answer.into_body().collect().await.is_err());
}

#[tokio::test]
async fn why_there_is_none_is_told() {
    let rig = Rig::new().await;
    for (error, status, reason, says) in [
        (BackupError::Busy, StatusCode::CONFLICT, "busy", "another backup"),
        (BackupError::Full, StatusCode::INSUFFICIENT_STORAGE, "storage-full", "disk is full"),
        (
            BackupError::Failed("a file is damaged".to_owned()),
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "a file is damaged",
        ),
    ] {
        rig.backup.0.lock().push(Err(error));
        let (found, problem) = rig.json("GET", "/api/v1/backup", "").await;
        assert_eq!((found, problem["reason"].as_str()), (status, Some(reason)));
        assert!(problem["error"].as_str().unwrap().contains(says), "{problem}");
    }
}
