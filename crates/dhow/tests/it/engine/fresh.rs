//! Nothing of one call is seen by another: not of the same function, not of another one that had
//! the same slot, not after a trap or a cancellation. And reuse, where it was asked for.

use std::collections::HashSet;
use std::time::Duration;

use http::Request;

use super::rig::{Rig, full};
use dhow_core::ports::Invoke as _;

/// What `leak` says when it sees nothing of anybody.
const CLEAN: &str = "g0 d1 b0 p0 m1 t0 s4\n";

#[tokio::test]
async fn two_functions_that_take_turns_on_one_slot_see_nothing_of_each_other() {
    let rig = Rig::with(|config| config.instances = 1);
    let leak = rig.target("leak", |_| ());
    let neighbour = rig.target("leak-trap", |_| ());
    let handler = rig.target("http-std", |_| ());
    for round in 0..500 {
        assert_eq!(rig.get(&leak, "/").await.unwrap().text(), CLEAN, "round {round}");
        assert!(rig.get(&neighbour, "/").await.is_err());
        assert_eq!(rig.get(&leak, "/").await.unwrap().text(), CLEAN, "round {round}");
        assert_eq!(rig.get(&handler, "/").await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn cancelled_calls_leave_nothing() {
    let rig = Rig::with(|config| config.instances = 1);
    let leak = rig.target("leak", |_| ());
    let kit = rig.target("http-kit", |_| ());
    for round in 0..20 {
        let request =
            Request::get("/sleep?ms=60000").header("host", "test").body(full("")).unwrap();
        let call = rig.engine.invoke(&kit, rig.call(request));
        assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
        rig.outcome().await;
        assert_eq!(rig.get(&leak, "/").await.unwrap().text(), CLEAN, "round {round}");
    }
}

#[tokio::test]
async fn handlers_are_new_for_every_call() {
    let rig = Rig::new();
    for guest in ["http-kit", "http-p3"] {
        let target = rig.target(guest, |_| ());
        for _ in 0..20 {
            let text = rig.get(&target, "/count").await.unwrap().text();
            assert_eq!(text.trim(), "1", "{guest}");
        }
    }
}

#[tokio::test]
async fn randomness_is_new_for_every_call() {
    let rig = Rig::new();
    let (random, kit) = (rig.target("random", |_| ()), rig.target("http-kit", |_| ()));
    let mut seen = HashSet::new();
    for _ in 0..50 {
        assert!(seen.insert(rig.get(&random, "/").await.unwrap().text()));
        assert!(seen.insert(rig.get(&kit, "/random").await.unwrap().text()));
    }
}

#[tokio::test]
async fn environments_are_not_shared() {
    let rig = Rig::new();
    let with = |value: &str| {
        let value = value.to_owned();
        rig.target("http-kit", move |template| template.env = vec![("WHOSE".into(), value)])
    };
    let (first, second) = (with("first"), with("second"));
    for _ in 0..10 {
        assert!(rig.get(&first, "/env").await.unwrap().text().contains("first"));
        assert!(!rig.get(&second, "/env").await.unwrap().text().contains("first"));
    }
}

#[tokio::test]
async fn no_file_and_no_descriptor_is_there() {
    let rig = Rig::new();
    let files = rig.target("files", |_| ());
    for _ in 0..3 {
        let text = rig.get(&files, "/").await.unwrap().text();
        assert!(!text.contains("preopened") && !text.contains(": ok"), "{text}");
    }
}

#[tokio::test]
async fn reuse_counts_and_then_starts_anew() {
    let rig = Rig::new();
    for guest in ["http-kit", "http-p3"] {
        let target = rig.target(guest, |template| template.reuse.calls = 3);
        let mut seen = Vec::new();
        for _ in 0..7 {
            seen.push(rig.get(&target, "/count").await.unwrap().text().trim().to_owned());
        }
        assert_eq!(seen, ["1", "2", "3", "1", "2", "3", "1"], "{guest}");
    }
}

#[tokio::test]
async fn a_reused_instance_does_not_outlive_a_trap() {
    let rig = Rig::new();
    let kit = rig.target("http-kit", |template| template.reuse.calls = 100);
    assert_eq!(rig.get(&kit, "/count").await.unwrap().text().trim(), "1");
    assert_eq!(rig.get(&kit, "/count").await.unwrap().text().trim(), "2");
    rig.get(&kit, "/panic").await.unwrap_err();
    assert_eq!(rig.get(&kit, "/count").await.unwrap().text().trim(), "1");
}

#[tokio::test]
async fn a_reused_instance_is_dropped_when_it_idles() {
    let rig = Rig::new();
    let kit = rig.target("http-kit", |template| {
        template.reuse.calls = 100;
        template.reuse.idle = Duration::from_millis(50);
    });
    assert_eq!(rig.get(&kit, "/count").await.unwrap().text().trim(), "1");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.get(&kit, "/count").await.unwrap().text().trim(), "1");
}

#[tokio::test]
async fn one_instance_serves_calls_at_the_same_time_where_asked() {
    let rig = Rig::new();
    let target = rig.target("http-p3", |template| {
        template.reuse.calls = 100;
        template.reuse.concurrent = 4;
    });
    rig.get(&target, "/count").await.unwrap();
    let slow = rig.get(&target, "/sleep?ms=4000");
    let quick = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        rig.get(&target, "/count").await.unwrap().text()
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!(slow.unwrap().status, 200);
    assert_eq!(quick.trim(), "2", "another instance served the quick call");
    assert!(rig.heard.outcomes.lock().iter().all(|outcome| outcome.shared));
}
