//! Rollbacks, splits and what is kept of the past.

use dhow_core::function::RolledBack;

use super::*;

/// Version `code` of the function `a`, each with environment and times of its own.
fn nth(code: u8) -> NewRevision {
    let mut new = new("a", code, &["/a"]);
    new.function.template.env = vec![("CODE".to_owned(), code.to_string())];
    new
}

async fn with_revisions(path: &Path, count: u8) -> EmbeddedCatalog {
    let catalog = open_in(path).unwrap();
    for code in 1..=count {
        catalog.deploy(nth(code)).await.unwrap();
    }
    catalog
}

fn traffic_of(shares: &[(u64, u32)]) -> Traffic {
    let share = |&(revision, weight): &(u64, u32)| Share { revision, weight };
    Traffic::new(shares.iter().map(share).collect()).unwrap()
}

fn split_of(deployed: &Deployed) -> Vec<(u64, u32)> {
    deployed.split.iter().map(|one| (one.revision.number, one.weight)).collect()
}

fn only(catalog: &EmbeddedCatalog) -> Arc<Deployed> {
    let snapshot = catalog.snapshot();
    assert_eq!(snapshot.functions.len(), 1);
    Arc::clone(&snapshot.functions[0])
}

#[tokio::test]
async fn a_rollback_is_the_whole_revision_again_and_durable() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = with_revisions(folder.path(), 3).await;
    let moved = NewRevision { function: Function { routes: vec![], ..nth(3).function }, ..nth(3) };
    catalog.deploy(moved).await.unwrap();
    let kept = catalog.revisions(name("a")).await.unwrap();
    let before = catalog.snapshot().version;

    let back = catalog.roll_back(name("a"), 1, 5000).await.unwrap();
    assert_eq!(back.revision, kept[2].revision);
    assert_eq!((back.deployed_ms, back.version), (1001, before + 1));
    assert_eq!(back.rolled_back, Some(RolledBack { from: 3, at_ms: 5000 }));
    assert_eq!(back.routes, [], "routes are the function's and stay");
    assert_eq!(*only(&catalog), back);
    drop(catalog);

    let catalog = open_in(folder.path()).unwrap();
    assert_eq!(*only(&catalog), back);
    assert_eq!(catalog.revisions(name("a")).await.unwrap(), kept);
    let times: Vec<_> = kept.iter().map(|one| one.deployed_ms).collect();
    assert_eq!(times, [Some(1003), Some(1002), Some(1001)]);
    // The same as the one in force is no new revision; the next number is no old one.
    let same = NewRevision { function: Function { routes: vec![], ..nth(1).function }, ..nth(1) };
    assert_eq!(catalog.deploy(same).await.unwrap(), back);
    let next = catalog.deploy(nth(3)).await.unwrap();
    assert_eq!((next.revision.number, next.rolled_back), (4, None));
}

#[tokio::test]
async fn a_rollback_to_what_is_in_force_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = with_revisions(folder.path(), 2).await;
    let before = catalog.snapshot();
    let same = catalog.roll_back(name("a"), 2, 5000).await.unwrap();
    assert_eq!(same, *before.functions[0]);
    assert!(Arc::ptr_eq(&before, &catalog.snapshot()));
}

#[tokio::test]
async fn a_rollback_of_a_revision_keeps_the_abi_that_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open_in(folder.path()).unwrap();
    let mut told = nth(1);
    told.function.abi = Some(Abi::Command);
    catalog.deploy(told.clone()).await.unwrap();
    catalog.deploy(nth(2)).await.unwrap();
    catalog.roll_back(name("a"), 1, 5000).await.unwrap();
    let mut disk = catalog.0.disk.lock();
    let record = disk.function(&name("a")).unwrap().unwrap();
    let said = FunctionRecord::decode(&record).unwrap().function;
    assert_eq!(said.abi, Some(Abi::Command));
    assert_eq!(said.template, told.function.template);
}

#[tokio::test]
async fn a_revision_that_is_not_kept_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = with_revisions(folder.path(), 3).await;
    let before = catalog.snapshot();
    let refusals = [
        catalog.roll_back(name("a"), 9, 5000).await,
        catalog.split(name("a"), traffic_of(&[(1, 1), (9, 1)])).await,
    ];
    for refused in refusals {
        let error = refused.unwrap_err();
        assert_eq!(error.to_string(), "`a.default` has no revision 9; kept are 1, 2, 3");
    }
    for refused in [
        catalog.roll_back(name("b"), 1, 5000).await,
        catalog.split(name("b"), traffic_of(&[(1, 1)])).await,
    ] {
        assert!(matches!(refused, Err(CatalogError::NotFound(who)) if who == name("b")));
    }
    assert!(Arc::ptr_eq(&before, &catalog.snapshot()));
}

#[tokio::test]
async fn a_split_is_durable_outlives_deploys_and_ends_with_a_rollback_or_a_deletion() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = with_revisions(folder.path(), 3).await;
    let split = catalog.split(name("a"), traffic_of(&[(3, 1), (1, 9)])).await.unwrap();
    assert_eq!(split_of(&split), [(1, 9), (3, 1)]);
    assert_eq!(split.revision.number, 3, "the one in force stays");
    let same = catalog.split(name("a"), traffic_of(&[(1, 9), (3, 1)])).await.unwrap();
    assert_eq!(same.version, split.version);
    drop(catalog);

    let catalog = open_in(folder.path()).unwrap();
    assert_eq!(*only(&catalog), split);
    let next = catalog.deploy(nth(4)).await.unwrap();
    assert_eq!((next.revision.number, split_of(&next)), (4, vec![(1, 9), (3, 1)]));
    drop(catalog);

    let catalog = open_in(folder.path()).unwrap();
    assert_eq!(*only(&catalog), next);
    let back = catalog.roll_back(name("a"), 3, 5000).await.unwrap();
    assert_eq!((back.revision.number, split_of(&back)), (3, vec![]));
    // Ending a split by a rollback to what is in force is no rollback.
    catalog.split(name("a"), traffic_of(&[(1, 1)])).await.unwrap();
    let ended = catalog.roll_back(name("a"), 3, 6000).await.unwrap();
    assert_eq!((ended.rolled_back, split_of(&ended)), (back.rolled_back, vec![]));
    catalog.split(name("a"), traffic_of(&[(1, 1)])).await.unwrap();
    let cleared = catalog.split(name("a"), Traffic::default()).await.unwrap();
    assert_eq!(split_of(&cleared), []);
    drop(catalog);

    let catalog = open_in(folder.path()).unwrap();
    assert_eq!(*only(&catalog), cleared);
    catalog.split(name("a"), traffic_of(&[(1, 1)])).await.unwrap();
    catalog.delete(name("a")).await.unwrap();
    assert_eq!(split_of(&catalog.deploy(nth(1)).await.unwrap()), []);
}

#[tokio::test]
async fn old_revisions_are_forgotten_and_their_code_with_them_but_none_that_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let three = NonZeroUsize::new(3).unwrap();
    let opened = Arc::new(DataFolder::open(folder.path()).unwrap());
    let catalog = EmbeddedCatalog::open_keeping(&opened, three).unwrap();
    for code in 1..=5 {
        catalog.deploy(nth(code)).await.unwrap();
    }
    assert_eq!(numbers(&catalog, "a").await, [5, 4, 3]);
    let digests = catalog.digests().unwrap();
    assert_eq!(digests, (3..=5).map(|code| Digest::from_bytes([code; 32])).collect());

    catalog.split(name("a"), traffic_of(&[(3, 0), (4, 1)])).await.unwrap();
    for code in 6..=9 {
        catalog.deploy(nth(code)).await.unwrap();
    }
    assert_eq!(numbers(&catalog, "a").await, [9, 8, 7, 4, 3]);
    // In force, it stays, however old; no longer, it goes with the next deploy.
    catalog.roll_back(name("a"), 3, 5000).await.unwrap();
    assert_eq!(numbers(&catalog, "a").await, [9, 8, 7, 4, 3]);
    catalog.deploy(nth(10)).await.unwrap();
    assert_eq!(numbers(&catalog, "a").await, [10, 9, 8]);
    let digests = catalog.digests().unwrap();
    assert_eq!(digests, (8..=10).map(|code| Digest::from_bytes([code; 32])).collect());
}

#[tokio::test]
async fn records_of_a_dhow_without_weights_and_times_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = with_revisions(folder.path(), 2).await;
    let mut disk = catalog.0.disk.lock();
    let without = |bytes: &[u8], fields: &[&str]| {
        let mut record: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        fields.iter().for_each(|field| drop(record.as_object_mut().unwrap().remove(*field)));
        record.to_string().into_bytes()
    };
    let record = disk.function(&name("a")).unwrap().unwrap();
    assert_eq!(without(&record, &["traffic", "rolledBack"]), without(&record, &[]));
    let (number, bytes) = disk.revisions(&name("a")).unwrap().remove(0);
    let kept = records::decode_kept(number, &without(&bytes, &["deployedMs"])).unwrap();
    assert_eq!(kept.deployed_ms, None);
}
