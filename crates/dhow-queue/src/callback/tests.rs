//! Deliveries to a receiver that answers what it is told to.

use std::collections::VecDeque;
use std::net::SocketAddr;

use dhow_core::queue::Answer;
use http::HeaderMap;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Answers each connection with the next of its answers, and keeps what it was sent.
struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    /// An empty answer is none at all.
    async fn answering(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let mut answers: VecDeque<String> = answers.iter().map(|&one| one.to_owned()).collect();
        let kept = seen.clone();
        tokio::spawn(async move {
            while let Some(answer) = answers.pop_front() {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = String::new();
                while !request.contains("\r\n\r\n") || !request.ends_with("body") {
                    let mut bytes = [0; 4096];
                    let count = stream.read(&mut bytes).await.unwrap();
                    assert_ne!(count, 0, "{request}");
                    request.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
                }
                kept.lock().push(request);
                if answer.is_empty() {
                    std::future::pending::<()>().await;
                }
                let answer =
                    format!("HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { address, seen }
    }

    async fn delivered(&self) -> Delivery {
        let rule =
            EgressRule { allowed: vec![self.address.to_string().parse().unwrap()], own: vec![] };
        let url = format!("http://{}/hook?a=b", self.address);
        deliver(rule, &url, Duration::from_secs(30)).await
    }
}

async fn deliver(rule: EgressRule, url: &str, whole: Duration) -> Delivery {
    let callbacks =
        Callbacks::new(Arc::new(rule), Times { connect: Duration::from_secs(5), whole });
    let answer = Answer {
        status: StatusCode::CREATED,
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"body"),
        is_cut: false,
        took: Duration::ZERO,
    };
    let function = FunctionName::parse("f").unwrap();
    callbacks.deliver(&url.parse().unwrap(), CallId(1), &function, 0, answer).await
}

fn reason(delivery: &Delivery) -> (&str, u16) {
    match delivery {
        Delivery::Delivered => ("delivered", 0),
        Delivery::Refused(note) | Delivery::Failed(note, _) => (&note.reason, note.status),
    }
}

#[tokio::test]
async fn a_callback_is_a_post_of_the_answer() {
    let receiver = Receiver::answering(&["204 No Content"]).await;
    assert_eq!(receiver.delivered().await, Delivery::Delivered);
    let seen = receiver.seen.lock()[0].to_lowercase();
    assert!(seen.starts_with("post /hook?a=b http/1.1\r\n"), "{seen}");
    assert!(seen.contains("x-function-status: 201") && seen.ends_with("\r\n\r\nbody"), "{seen}");
    assert!(seen.contains(&format!("host: {}", receiver.address)), "{seen}");
}

#[tokio::test]
async fn what_a_receiver_answers_decides() {
    for (answer, wanted) in [
        ("404 Not Found", ("callback-refused", 404)),
        ("302 Found\r\nlocation: /elsewhere", ("callback-refused", 302)),
        ("500 Oh", ("callback-failed", 500)),
    ] {
        let receiver = Receiver::answering(&[answer]).await;
        assert_eq!(reason(&receiver.delivered().await), wanted, "{answer}");
    }
    let receiver = Receiver::answering(&["503 Later\r\nretry-after: 7"]).await;
    let Delivery::Failed(_, asked) = receiver.delivered().await else {
        panic!("it may come later")
    };
    assert_eq!(asked, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn redirects_keep_the_method_are_few_and_stay_under_the_rule() {
    let to = |place: &str| format!("307 Go on\r\nlocation: {place}");
    let receiver = Receiver::answering(&[&to("/next"), "200 OK"]).await;
    assert_eq!(receiver.delivered().await, Delivery::Delivered);
    assert!(receiver.seen.lock()[1].starts_with("POST /next HTTP/1.1"));
    let again = to("/again");
    let receiver = Receiver::answering(&[&again, &again, &again, &again]).await;
    assert_eq!(reason(&receiver.delivered().await), ("callback-refused", 307));
    let other = Receiver::answering(&["200 OK"]).await;
    let receiver = Receiver::answering(&[&to(&format!("http://{}/", other.address))]).await;
    assert_eq!(reason(&receiver.delivered().await), ("callback-refused", 0));
    assert!(other.seen.lock().is_empty(), "a closed address was reached");
}

#[tokio::test]
async fn a_closed_address_is_refused_for_good_and_a_dead_one_for_now() {
    let whole = Duration::from_secs(30);
    let closed = deliver(EgressRule::default(), "http://localhost:1/", whole).await;
    assert_eq!(reason(&closed), ("callback-refused", 0));
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let rule = EgressRule { allowed: vec!["127.0.0.0/8".parse().unwrap()], own: vec![] };
    let dead = deliver(rule.clone(), &format!("http://{nobody}/"), whole).await;
    assert_eq!(reason(&dead), ("callback-failed", 0));
    let receiver = Receiver::answering(&[""]).await;
    let url = format!("http://{}/", receiver.address);
    let slow = deliver(rule, &url, Duration::from_millis(200)).await;
    assert_eq!(reason(&slow), ("callback-failed", 0));
}
