use dhow_core::abi::Abi;
use dhow_core::ports::Catalog;
use serde_json::{Value, json};

use super::rig::{Rig, manifest, path};

/// A function `hello` with so many revisions.
async fn with_revisions(count: usize) -> Rig {
    let rig = Rig::new().await;
    for _ in 0..count {
        let said = manifest("hello", &rig.module(&[Abi::Http], &[]));
        let (status, function) = rig.put("hello", &said).await;
        assert!(status.is_success(), "{function}");
    }
    rig
}

impl Rig {
    async fn roll_back(&self, body: &str) -> (u16, Value) {
        let path = format!("{}/rollback", path("hello"));
        let (status, answer) = self.json("POST", &path, body.to_owned()).await;
        (status.as_u16(), answer)
    }

    async fn split(&self, body: &Value) -> (u16, Value) {
        let path = format!("{}/traffic", path("hello"));
        let (status, answer) = self.json("PUT", &path, body.to_string()).await;
        (status.as_u16(), answer)
    }
}

fn weights(shares: &[(u64, i64)]) -> Value {
    let share = |(revision, weight): &(u64, i64)| json!({"revision": revision, "weight": weight});
    json!({"weights": shares.iter().map(share).collect::<Vec<_>>()})
}

#[tokio::test]
async fn revisions_are_told_newest_first() {
    let rig = with_revisions(2).await;
    let (_, list) = rig.json("GET", &format!("{}/revisions", path("hello")), "").await;
    let numbers: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["revision"].as_u64().unwrap(), item["current"].as_bool().unwrap()))
        .collect();
    assert_eq!(numbers, [(2, true), (1, false)]);
    let newest = &list["items"][0];
    assert_eq!(newest["spec"]["limits"]["timeout"], "30s");
    assert!(newest["deployed"].as_str().unwrap().ends_with('Z'));
    assert_eq!((&newest["calls"], &newest["failures"]), (&json!(0), &json!(0)));
    assert_eq!((newest["spec"].get("routes"), newest.get("weight")), (None, None));
}

#[tokio::test]
async fn a_rollback_goes_to_the_one_before_or_to_the_one_that_is_named() {
    let rig = with_revisions(3).await;
    let (status, function) = rig.roll_back("").await;
    assert_eq!((status, &function["revision"]), (200, &json!(2)), "{function}");
    assert_eq!(function["rolled_back"]["from"], 3);
    assert!(function["rolled_back"]["at"].as_str().unwrap().ends_with('Z'));
    let (_, function) = rig.roll_back("{}").await;
    assert_eq!(function["revision"], 1);
    let (status, problem) = rig.roll_back(r#"{"to": null}"#).await;
    assert_eq!((status, &problem["reason"]), (409, &json!("no-revision")), "{problem}");
    let (_, function) = rig.roll_back(r#"{"to": 3}"#).await;
    assert_eq!((&function["revision"], &function["rolled_back"]["from"]), (&json!(3), &json!(1)));
    let (status, problem) = rig.roll_back(r#"{"to": 9}"#).await;
    assert_eq!((status, &problem["reason"]), (404, &json!("no-revision")), "{problem}");
    assert!(problem["error"].as_str().unwrap().contains("kept are 1, 2, 3"), "{problem}");
    for wrong in ["[", r#"{"to": -1}"#, r#"{"too": 1}"#, "4"] {
        assert_eq!(rig.roll_back(wrong).await.0, 400, "{wrong}");
    }
    assert_eq!(rig.catalog.snapshot().functions[0].revision.number, 3);
}

#[tokio::test]
async fn an_answer_to_a_rollback_waits_for_the_gateway() {
    let rig = with_revisions(2).await;
    rig.applied.send_replace(2);
    let answer = rig.roll_back("");
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        early = &mut answer => panic!("{early:?}"),
        () = async { while rig.catalog.snapshot().version < 3 { tokio::task::yield_now().await } } => {}
    }
    rig.applied.send_replace(3);
    assert_eq!(answer.await.0, 200);
}

#[tokio::test]
async fn a_revision_whose_code_is_lost_does_not_come_into_force() {
    let rig = Rig::new().await;
    let lost = rig.module(&[Abi::Http], &[]);
    rig.put("hello", &manifest("hello", &lost)).await;
    let held = rig.module(&[Abi::Http], &[]);
    rig.put("hello", &manifest("hello", &held)).await;
    rig.lose(&lost);
    for (status, problem) in [rig.roll_back("").await, rig.split(&weights(&[(1, 1), (2, 9)])).await]
    {
        assert_eq!((status, &problem["reason"]), (422, &json!("not-found")), "{problem}");
    }
    let (status, _) = rig.split(&weights(&[(1, 0), (2, 9)])).await;
    assert_eq!(status, 200, "who gets no calls needs no code");
    assert_eq!(rig.catalog.snapshot().functions[0].revision.number, 2);
}

#[tokio::test]
async fn calls_are_split_until_the_split_is_cleared_or_rolled_back() {
    let rig = with_revisions(2).await;
    let (status, function) = rig.split(&weights(&[(2, 1), (1, 9)])).await;
    assert_eq!(status, 200, "{function}");
    let shares = json!([{"revision": 1, "weight": 9}, {"revision": 2, "weight": 1}]);
    assert_eq!((&function["traffic"], &function["revision"]), (&shares, &json!(2)));
    let (_, shown) = rig.json("GET", &path("hello"), "").await;
    assert_eq!(shown["traffic"], shares);
    let (_, list) = rig.json("GET", &format!("{}/revisions", path("hello")), "").await;
    assert_eq!((&list["items"][0]["weight"], &list["items"][1]["weight"]), (&json!(1), &json!(9)));
    let said = manifest("hello", &rig.module(&[Abi::Http], &[]));
    assert_eq!(rig.put("hello", &said).await.1["traffic"], shares);

    let (status, function) = rig.json("DELETE", &format!("{}/traffic", path("hello")), "").await;
    assert_eq!((status.as_u16(), function.get("traffic")), (200, None));
    rig.split(&weights(&[(1, 1)])).await;
    assert_eq!(rig.roll_back("").await.1.get("traffic"), None);
}

#[tokio::test]
async fn weights_that_make_no_sense_are_refused() {
    let rig = with_revisions(2).await;
    for (wrong, says) in [
        (json!({}), "weights"),
        (json!({"weights": []}), "no revision has a weight over 0"),
        (weights(&[(1, 0)]), "no revision has a weight over 0"),
        (weights(&[(1, 1), (1, 2)]), "two weights"),
        (weights(&[(1, 1001)]), "over 1000"),
        (weights(&[(1, -1)]), "-1"),
        (json!({"weights": [{"revision": 1, "weight": 1, "more": 2}]}), "more"),
    ] {
        let (status, problem) = rig.split(&wrong).await;
        assert_eq!((status, &problem["reason"]), (400, &json!("invalid")), "{wrong}");
        assert!(problem.to_string().contains(says), "{problem}");
    }
    let (status, problem) = rig.split(&weights(&[(1, 1), (9, 1)])).await;
    assert_eq!((status, &problem["reason"]), (404, &json!("no-revision")), "{problem}");
    assert!(rig.catalog.snapshot().functions[0].split.is_empty());
}
