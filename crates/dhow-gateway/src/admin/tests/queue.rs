use std::time::Duration;

use dhow_core::queue::Answer;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::fake_calls::dead;
use super::rig::{Rig, SECRET, read};

fn path(id: u128) -> String {
    format!("/api/v1/calls/{id:032x}")
}

fn ids(listed: &Value) -> Vec<&str> {
    let items = listed["items"].as_array().unwrap();
    items.iter().map(|item| item["call_id"].as_str().unwrap().trim_start_matches('0')).collect()
}

#[tokio::test]
async fn calls_are_listed_shown_tried_again_and_forgotten() {
    let rig = Rig::new().await;
    *rig.calls.views.lock() = vec![dead(3, "f"), dead(2, "g.shop"), dead(1, "f")];
    let (_, listed) = rig.json("GET", "/api/v1/calls?limit=2", "").await;
    assert_eq!(ids(&listed), ["3", "2"]);
    let next = listed["next"].as_str().unwrap();
    let (_, listed) = rig.json("GET", &format!("/api/v1/calls?limit=2&after={next}"), "").await;
    assert_eq!((ids(&listed), &listed["next"]), (vec!["1"], &Value::Null));
    let (_, listed) = rig.json("GET", "/api/v1/calls?namespace=shop&state=dead", "").await;
    assert_eq!(ids(&listed), ["2"]);

    let (status, shown) = rig.json("GET", &path(3), "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&shown["reason"], &shown["created"]),
        (&json!("trap"), &json!("1970-01-01T00:00:00.000Z"))
    );
    let (_, retried) = rig.json("POST", &format!("{}/retry", path(3)), "").await;
    assert_eq!(retried["state"], "waiting");
    let (status, refused) = rig.json("POST", &format!("{}/retry", path(3)), "").await;
    assert_eq!((status, &refused["reason"]), (StatusCode::CONFLICT, &json!("conflict")));
    assert_eq!(rig.json("DELETE", &path(3), "").await.0, StatusCode::NO_CONTENT);
    assert_eq!(rig.json("GET", &path(3), "").await.0, StatusCode::NOT_FOUND);
    let (_, purged) = rig.json("DELETE", "/api/v1/calls?function=f", "").await;
    assert_eq!(purged, json!({"purged": 1}));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let rig = Rig::new().await;
    for (path, parameter) in [
        ("/api/v1/calls?state=asleep", "state"),
        ("/api/v1/calls?limit=0", "limit"),
        ("/api/v1/calls?after=x", "after"),
        ("/api/v1/calls/x", "call"),
    ] {
        let (status, refused) = rig.json("GET", path, "").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(refused["fields"][0]["path"], parameter, "{path}");
    }
}

#[tokio::test]
async fn an_answer_comes_without_the_guests_headers() {
    let rig = Rig::new().await;
    *rig.calls.views.lock() = vec![dead(1, "f")];
    assert_eq!(rig.json("GET", &format!("{}/result", path(1)), "").await.0, StatusCode::NOT_FOUND);
    let mut headers = HeaderMap::new();
    headers.insert("set-cookie", HeaderValue::from_static("a=b"));
    headers.insert("content-type", HeaderValue::from_static("text/html"));
    let (status, body) = (StatusCode::CREATED, "<script>".into());
    let answer = Answer { status, headers, body, is_cut: false, took: Duration::ZERO };
    *rig.calls.answer.lock() = Some(answer);
    let request = rig.request("GET", &format!("{}/result", path(1)));
    let answer = rig.send(request, "").await;
    assert_eq!(answer.headers()["x-function-status"], "201");
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    assert!(!answer.headers().contains_key("set-cookie"));
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "<script>");
}

#[tokio::test]
async fn a_token_of_one_namespace_finds_no_call_of_another() {
    let rig = Rig::asking().await;
    *rig.calls.views.lock() =
        vec![dead(4, "f"), dead(3, "g.shop"), dead(2, "f"), dead(1, "g.shop")];
    let send = async |secret: &str, method: &str, path: &str| {
        let request = rig.request(method, path).header("authorization", format!("Bearer {secret}"));
        read(rig.send(request, "").await).await
    };
    let request = rig
        .request("POST", "/api/v1/tokens")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {SECRET}"));
    let made = json!({"name": "shop", "scopes": ["deploy:shop"]}).to_string();
    let (status, token) = read(rig.send(request, made).await).await;
    assert!(status.is_success(), "{token}");
    let token = token["token"].as_str().unwrap_or_else(|| panic!("{token}")).to_owned();
    let (_, listed) = send(&token, "GET", "/api/v1/calls?limit=1").await;
    assert_eq!(ids(&listed), ["3"]);
    let (_, listed) = send(&token, "GET", "/api/v1/calls").await;
    assert_eq!(ids(&listed), ["3", "1"]);
    for (method, path, status) in [
        ("GET", path(4), StatusCode::NOT_FOUND),
        ("POST", format!("{}/retry", path(4)), StatusCode::NOT_FOUND),
        ("DELETE", path(4), StatusCode::NOT_FOUND),
        ("DELETE", "/api/v1/calls".to_owned(), StatusCode::FORBIDDEN),
        ("DELETE", "/api/v1/calls?namespace=default".to_owned(), StatusCode::FORBIDDEN),
        ("GET", path(3), StatusCode::OK),
        ("DELETE", path(3), StatusCode::NO_CONTENT),
        ("DELETE", "/api/v1/calls?namespace=shop".to_owned(), StatusCode::OK),
    ] {
        assert_eq!(send(&token, method, &path).await.0, status, "{method} {path}");
    }
    assert_eq!(rig.calls.views.lock().len(), 2);
}
