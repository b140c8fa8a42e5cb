//! HTTP/2 by its preface, trailers, and requests without answers' bodies.

use http_body_util::{BodyExt as _, Full};
use tokio::io::AsyncWriteExt as _;

use crate::rig::{self, Rig, config, up_to};

#[tokio::test]
async fn trailers_pass_both_ways() {
    let rig = Rig::new(config());
    let mut client = rig::h2(&rig, 65_535).await;
    let trailers = rig::trailers("sum", "7");
    let sent = std::future::ready(Some(Ok(trailers.clone())));
    let body = Full::new("abc".into()).with_trailers(sent).boxed_unsync();
    let answer = client.send_request(rig::request("POST", "/stream", body)).await;
    let answer = answer.expect("an answer").into_body().collect().await.expect("a body");
    assert_eq!(answer.trailers(), Some(&trailers));
    assert_eq!(answer.to_bytes(), "abc");

    let mut stream = rig.connect().await;
    let text = b"POST /stream HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntrailer: sum\r\n\
        transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nsum: 7\r\n\r\n";
    stream.write_all(text).await.expect("to be read");
    let answer = up_to(&mut stream, "0\r\nsum: 7\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn many_streams_share_a_connection() {
    let rig = Rig::new(config());
    let client = rig::h2(&rig, 65_535).await;
    let calls: Vec<_> = (0..300)
        .map(|number| {
            let mut client = client.clone();
            tokio::spawn(async move {
                let sent = format!("{number}");
                let body = rig::full(sent.clone());
                let answer = client.send_request(rig::request("POST", "/", body)).await;
                let body = answer.expect("an answer").into_body().collect().await;
                assert_eq!(body.expect("a body").to_bytes(), sent);
            })
        })
        .collect();
    for call in calls {
        call.await.expect("an echo");
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let rig = Rig::new(config());
    let mut client = rig::h2(&rig, 65_535).await;
    let answer = client.send_request(rig::request("HEAD", "/refuse", rig::full(""))).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.into_body().collect().await.expect("an end").to_bytes(), "");
    let answer = rig.raw("HEAD /refuse HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.ends_with("\r\n\r\n"), "{answer}");
}
