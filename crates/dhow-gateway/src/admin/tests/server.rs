use dhow_core::abi::Abi;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::rig::{Lines, Rig, path, read};

#[tokio::test]
async fn a_server_tells_what_it_is() {
    let rig = Rig::new().await;
    let answer = rig.send(rig.request("GET", "/healthz"), "").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok\n");
    let (_, version) = rig.json("GET", "/api/v1/version", "").await;
    assert_eq!(version, json!({"version": "1.2.3", "gateway": "http://127.0.0.1:8080"}));
    let (status, document) = rig.json("GET", "/api/v1/openapi.json", "").await;
    assert_eq!((status.as_u16(), &document["openapi"]), (200, &json!("3.1.0")));
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_same_shape() {
    let rig = Rig::new().await;
    for (method, path, status, reason) in [
        ("GET", "/api/v1/nothing", 404, "not-found"),
        ("GET", "/", 404, "not-found"),
        ("POST", "/api/v1/functions", 405, "method-not-allowed"),
        ("PATCH", "/api/v1/namespaces/default/functions/hello", 405, "method-not-allowed"),
    ] {
        let (answered, problem) = rig.json(method, path, "").await;
        assert_eq!((answered.as_u16(), &problem["reason"]), (status, &json!(reason)), "{path}");
        assert!(problem["error"].is_string() && problem["hint"].is_string());
    }
    let answer = rig.send(rig.request("PATCH", &path("hello")), "").await;
    let allowed = answer.headers()["allow"].to_str().unwrap().to_owned();
    for method in ["GET", "PUT", "DELETE"] {
        assert!(allowed.contains(method), "{allowed}");
    }
}

#[tokio::test]
async fn a_strangers_page_reaches_nothing() {
    let rig = Rig::new().await;
    let own = rig.address.to_string();
    for (headers, ours) in [
        (vec![("host", own.as_str())], true),
        (vec![("host", own.as_str()), ("origin", &format!("http://{own}"))], true),
        (vec![("host", own.as_str()), ("origin", "http://evil.example")], false),
        (vec![("host", own.as_str()), ("sec-fetch-site", "cross-site")], false),
        (vec![("host", "evil.example")], false),
        (vec![], false),
    ] {
        for path in ["/api/v1/functions", "/healthz", "/nothing"] {
            let request = http::Request::builder().uri(path);
            let request = headers
                .iter()
                .fold(request, |request, (name, value)| request.header(*name, *value));
            let answer = rig.send(request, "").await;
            if ours {
                assert_ne!(answer.status(), 403, "{headers:?}");
                continue;
            }
            let (status, problem) = read(answer).await;
            assert_eq!(status, 403, "{headers:?}");
            assert_eq!(problem["reason"], "foreign-origin");
        }
    }
}

#[tokio::test]
async fn requests_end_before_the_server_does() {
    let mut rig = Rig::new().await;
    rig.module(&[Abi::Http], &[]);
    rig.intake.gate.forget_permits(Semaphore::MAX_PERMITS);
    let upload = rig.request("POST", "/api/v1/artifacts");
    let mut lines = Lines::of(rig.send(upload, &b"\x01"[..]).await);
    lines.next().await;
    rig.stop.take().unwrap().send(()).unwrap();
    // The listener is gone first, and what goes on goes on.
    while TcpStream::connect(rig.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    rig.intake.gate.add_permits(1);
    assert_eq!(lines.all().await.last().unwrap()["event"], "artifact");
    rig.server.await.unwrap();
}
