//! What calls and instances hold of a function's and of the server's places, and when they let go.

use std::time::Duration;

use dhow_core::function::Template;
use dhow_core::outcome::Reason;
use http::Request;

use super::rig::{Rig, full};
use dhow_core::ports::Invoke as _;

const SECOND: Duration = Duration::from_secs(1);

fn reused(calls: u32, concurrent: u32) -> impl Fn(&mut Template) {
    move |template| {
        template.reuse.calls = calls;
        template.reuse.concurrent = concurrent;
        template.reuse.idle = Duration::from_secs(3600);
        template.limits.timeout = SECOND;
    }
}

#[tokio::test]
async fn a_client_that_takes_its_answer_slowly_holds_a_place_until_the_deadline() {
    let rig = Rig::new();
    rig.admit(dhow_testkit::guest("http-kit")).await.unwrap();
    let target = rig.target("http-kit", |template| {
        template.limits.concurrency = 1;
        template.limits.queue = 1;
        template.limits.timeout = 20 * SECOND;
    });
    let request = Request::get("/big?mib=8").header("host", "test").body(full("")).unwrap();
    // It came 15 s ago, so that its deadline is well before that of the one who waits for it.
    let mut slow = rig.call(request);
    slow.received -= 15 * SECOND;
    let unread = rig.engine.invoke(&target, slow).await.unwrap();
    // It queues for the only place, which is given back at the first call's deadline.
    let answer = rig.get(&target, "/").await.unwrap();
    assert_eq!(answer.status, 200);
    let cut = super::rig::read(unread).await.cut.expect("it is over its time");
    assert_eq!(cut.reason, Reason::WallTime);
}

#[tokio::test]
async fn instances_whose_calls_overran_are_no_more() {
    let rig = Rig::with(|config| config.instances = 2);
    rig.admit(dhow_testkit::guest("http-p3")).await.unwrap();
    let together = rig.target("http-p3", reused(100, 2));
    for _ in 0..4 {
        let failure = rig.get(&together, "/sleep?ms=3600000").await.unwrap_err();
        assert_eq!(failure.reason, Reason::WallTime);
    }
    assert_eq!(rig.get(&together, "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn idle_instances_give_way() {
    let rig = Rig::with(|config| config.instances = 1);
    for (guest, concurrent) in [("http-kit", 1), ("http-p3", 1), ("http-p3", 4)] {
        rig.admit(dhow_testkit::guest(guest)).await.unwrap();
        let idle = rig.target(guest, reused(100, concurrent));
        assert_eq!(rig.get(&idle, "/").await.unwrap().status, 200);
        let other = rig.target("http-lean", |_| ());
        assert_eq!(rig.get(&other, "/").await.unwrap().status, 200, "beside {guest}");
        assert_eq!(rig.get(&idle, "/").await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_reused_instance_lets_go_of_a_call_that_has_ended() {
    let rig = Rig::new();
    for guest in ["http-kit", "http-p3"] {
        rig.admit(dhow_testkit::guest(guest)).await.unwrap();
        let target = rig.target(guest, |template| {
            reused(100, 1)(template);
            template.limits.concurrency = 1;
            template.limits.queue = 1;
        });
        for call in 0..3 {
            assert_eq!(rig.get(&target, "/").await.unwrap().status, 200, "{guest}, call {call}");
            let outcome = rig.outcome().await;
            assert_eq!((outcome.status, outcome.failure.clone()), (200, None), "{guest}");
            assert!(outcome.phases.run > Duration::ZERO, "{guest}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn code_is_let_go_with_its_function() {
    let rig = Rig::new();
    let target = rig.target("http-lean", |_| ());
    rig.get(&target, "/").await.unwrap();
    rig.outcome().await;
    assert_eq!(rig.engine.stats().loaded, 1);
    drop(target);
    assert_eq!(rig.engine.stats().loaded, 0);
}
