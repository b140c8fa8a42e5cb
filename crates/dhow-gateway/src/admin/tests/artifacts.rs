use dhow_core::abi::Abi;
use dhow_core::ports::UploadError;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::rig::{Lines, Rig, UPLOAD_LIMIT};

const PATH: &str = "/api/v1/artifacts?program=hello.wasm";

#[tokio::test]
async fn the_steps_are_told_as_they_happen() {
    let rig = Rig::new().await;
    let digest = rig.module(&[Abi::Http, Abi::Command], &["wasi:http/handler@0.3.0"]);
    rig.intake.gate.forget_permits(Semaphore::MAX_PERMITS);
    let mut lines = Lines::of(rig.send(rig.request("POST", PATH), &b"\x01asm"[..]).await);
    assert_eq!(lines.next().await, Some(json!({"event": "inspecting"})));
    assert_eq!(lines.next().await, Some(json!({"event": "compiling", "ms": 12})));
    // Only now may the module be compiled, so the lines above were not held back.
    rig.intake.gate.add_permits(1);
    assert_eq!(lines.next().await, Some(json!({"event": "compiled", "ms": 34})));
    let artifact = json!({
        "digest": digest.to_string(),
        "size": 5,
        "kind": "component",
        "abi": "http",
        "abis": ["http", "command"],
        "imports": ["wasi:cli/stdout@0.2.6"],
        "exports": ["wasi:http/handler@0.3.0"],
        "program": "hello.wasm",
    });
    assert_eq!(lines.next().await, Some(json!({"event": "artifact", "artifact": artifact})));
    assert_eq!(lines.next().await, None);
    assert_eq!(rig.uploads.held.lock()[&digest], b"\x01asm");
}

#[tokio::test]
async fn a_refusal_is_the_last_line() {
    let rig = Rig::new().await;
    rig.refused_module("not-wasm");
    let lines = Lines::of(rig.send(rig.request("POST", PATH), &b"\x01"[..]).await).all().await;
    let refused = json!({
        "event": "refused", "error": "it is wrong", "reason": "not-wasm", "hint": "mend it",
    });
    assert_eq!(lines.last(), Some(&refused));
}

#[tokio::test]
async fn the_steps_go_on_when_the_client_leaves() {
    let rig = Rig::new().await;
    rig.module(&[Abi::Http], &[]);
    rig.intake.gate.forget_permits(Semaphore::MAX_PERMITS);
    let mut lines = Lines::of(rig.send(rig.request("POST", PATH), &b"\x01asm"[..]).await);
    assert_eq!(lines.next().await, Some(json!({"event": "inspecting"})));
    drop(lines);
    rig.intake.gate.add_permits(1);
    rig.intake.admitted.subscribe().wait_for(|count| *count == 1).await.unwrap();
}

#[tokio::test]
async fn an_upload_that_is_too_large_is_refused_and_the_client_hears_why() {
    let rig = Rig::new().await;
    // A client that reads once it has sent all, which is more than a connection's buffers hold.
    let body = vec![0; UPLOAD_LIMIT as usize + (32 << 20)];
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        rig.address,
        body.len()
    );
    let mut client = TcpStream::connect(rig.address).await.unwrap();
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&body).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    let (head, problem) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    let problem: Value = serde_json::from_str(problem).unwrap();
    assert_eq!(problem["reason"], "payload-too-large");
    assert!(problem["error"].as_str().unwrap().contains("1048576"), "{problem}");
    assert!(rig.uploads.held.lock().is_empty());
}

#[tokio::test]
async fn a_full_disk_and_a_failing_one_have_their_names() {
    let rig = Rig::new().await;
    let failures = [
        (UploadError::Full, 507, "storage-full"),
        (UploadError::Io(std::io::Error::other("broken")), 500, "internal"),
        (UploadError::Body("gone".to_owned()), 400, "invalid"),
    ];
    for (failure, status, reason) in failures {
        *rig.uploads.failure.lock() = Some(failure);
        let (answered, problem) = rig.json("POST", PATH, "x").await;
        assert_eq!((answered.as_u16(), &problem["reason"]), (status, &json!(reason)));
        assert_ne!(problem["hint"], Value::from(""));
    }
}

#[tokio::test]
async fn a_program_is_a_file_name() {
    let rig = Rig::new().await;
    for path in ["?program=", "?program=a%2Fb", "?program=a%00", "?programme=a"] {
        let (status, problem) = rig.json("POST", &format!("/api/v1/artifacts{path}"), "x").await;
        assert_eq!((status.as_u16(), &problem["reason"]), (400, &json!("invalid")), "{path}");
    }
    assert!(rig.uploads.held.lock().is_empty());
}
