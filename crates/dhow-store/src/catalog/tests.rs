//! The catalog as its readers and the next process see it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use dhow_core::abi::Abi;
use dhow_core::access::Access;
use dhow_core::function::Template;
use dhow_core::limits::Limits;
use dhow_core::metadata::Metadata;
use dhow_core::plan::routes::Reach;
use dhow_core::route::Route;

use super::*;
use crate::small_disk::SmallDisk;

mod revisions;

fn open_in(path: &Path) -> Result<EmbeddedCatalog, OpenError> {
    EmbeddedCatalog::open(&Arc::new(DataFolder::open(path)?))
}

pub(super) fn name(text: &str) -> FunctionName {
    FunctionName::parse(text).unwrap()
}

/// Version `code` of the function `text`.
pub(crate) fn new(text: &str, code: u8, routes: &[&str]) -> NewRevision {
    let digest = Digest::from_bytes([code; 32]);
    let route = |path: &&str| Route { host: None, path: (*path).to_owned(), methods: vec![] };
    NewRevision {
        function: Function {
            name: name(text),
            source: Source::Blob { digest, program: Some("a.wasm".to_owned()) },
            abi: None,
            template: Template {
                args: vec!["-v".to_owned()],
                limits: Limits { queue: 7, ..Limits::default() },
                ..Template::default()
            },
            routes: routes.iter().map(route).collect(),
            access: Access::default(),
            metadata: Metadata::default(),
        },
        digest,
        program: "a.wasm".to_owned(),
        abi: Abi::Command,
        reach: Reach::Everywhere,
        now_ms: 1000 + u64::from(code),
    }
}

fn names(catalog: &EmbeddedCatalog) -> Vec<String> {
    catalog.snapshot().functions.iter().map(|function| function.name.to_string()).collect()
}

async fn numbers(catalog: &EmbeddedCatalog, text: &str) -> Vec<u64> {
    let revisions = catalog.revisions(name(text)).await.unwrap();
    revisions.iter().map(|kept| kept.revision.number).collect()
}

#[tokio::test]
async fn what_is_deployed_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open_in(folder.path()).unwrap();
    catalog.deploy(new("b", 1, &["/b"])).await.unwrap();
    catalog.deploy(new("a.z", 1, &[])).await.unwrap();
    catalog.deploy(new("a", 1, &[])).await.unwrap();
    catalog.deploy(new("b", 2, &["/b", "/c"])).await.unwrap();
    let before = catalog.snapshot();
    let revisions = catalog.revisions(name("b")).await.unwrap();
    drop(catalog);

    let catalog = open_in(folder.path()).unwrap();
    let after = catalog.snapshot();
    assert_eq!(after.version, before.version);
    assert_eq!(after.functions, before.functions);
    assert_eq!(names(&catalog), ["a.default", "b.default", "a.z"]);
    let b = &after.functions[1];
    assert_eq!((b.revision.number, b.deployed_ms, b.routes.len()), (2, 1002, 2));
    assert_eq!(catalog.revisions(name("b")).await.unwrap(), revisions);
    assert_eq!(numbers(&catalog, "b").await, [2, 1]);
    let mode = fs::metadata(folder.path().join("catalog.redb")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn numbers_are_not_used_again_after_a_deletion() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open_in(folder.path()).unwrap();
    catalog.deploy(new("a", 1, &[])).await.unwrap();
    catalog.deploy(new("a", 2, &[])).await.unwrap();
    catalog.delete(name("a")).await.unwrap();
    assert!(names(&catalog).is_empty());
    assert!(matches!(catalog.revisions(name("a")).await, Err(CatalogError::NotFound(_))));
    assert!(matches!(catalog.delete(name("a")).await, Err(CatalogError::NotFound(_))));
    drop(catalog);
    let catalog = open_in(folder.path()).unwrap();
    assert!(names(&catalog).is_empty());
    assert_eq!(catalog.deploy(new("a", 1, &[])).await.unwrap().revision.number, 3);
    assert_eq!(numbers(&catalog, "a").await, [3]);
}

#[tokio::test]
async fn what_is_the_same_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open_in(folder.path()).unwrap();
    let first = catalog.deploy(new("a", 1, &["/a"])).await.unwrap();
    let mut watch = catalog.watch();
    watch.mark_unchanged();
    let again = NewRevision { now_ms: 9999, ..new("a", 1, &["/a"]) };
    assert_eq!(catalog.deploy(again).await.unwrap(), first);
    assert!(!watch.has_changed().unwrap());
    // Routes are the function's, not the revision's.
    let moved = catalog.deploy(new("a", 1, &["/b"])).await.unwrap();
    assert!(watch.has_changed().unwrap());
    assert_eq!(moved.revision, first.revision);
    assert_eq!(moved.deployed_ms, first.deployed_ms);
    assert!(moved.version > first.version);
    assert_eq!(moved.routes[0].path, "/b");
    drop(catalog);
    let catalog = open_in(folder.path()).unwrap();
    assert_eq!(*catalog.snapshot().functions[0], moved);
}

#[tokio::test]
async fn watchers_see_each_change_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open_in(folder.path()).unwrap();
    let mut watch = catalog.watch();
    let mut last = watch.borrow_and_update().version;
    for code in 1..4 {
        let deployed = catalog.deploy(new("a", code, &[])).await.unwrap();
        watch.changed().await.unwrap();
        let snapshot = Arc::clone(&watch.borrow_and_update());
        assert!(snapshot.version > last);
        assert_eq!(*snapshot.functions[0], deployed);
        last = snapshot.version;
    }
}

#[tokio::test]
async fn a_route_of_another_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open_in(folder.path()).unwrap();
    catalog.deploy(new("a", 1, &["/x"])).await.unwrap();
    let before = catalog.snapshot();
    let refused = catalog.deploy(new("b", 1, &["/y", "/x"])).await.unwrap_err();
    let CatalogError::Conflict(conflict) = &refused else { panic!("{refused}") };
    assert_eq!((&conflict.function, &conflict.owner), (&name("b"), &name("a")));
    assert!(Arc::ptr_eq(&before, &catalog.snapshot()));
    // Its own routes are in nobody's way, and a deleted function's neither.
    catalog.deploy(new("a", 2, &["/x"])).await.unwrap();
    catalog.delete(name("a")).await.unwrap();
    catalog.deploy(new("b", 1, &["/y", "/x"])).await.unwrap();
}

#[tokio::test]
async fn many_writers_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open_in(folder.path()).unwrap();
    let writers: Vec<_> = (0..20)
        .map(|index| {
            let catalog = catalog.clone();
            tokio::spawn(async move {
                let function = new(&format!("f{}", index % 5), index, &[]);
                catalog.deploy(function).await.unwrap().revision.number
            })
        })
        .collect();
    let mut given = Vec::new();
    for writer in writers {
        given.push(writer.await.unwrap());
    }
    given.sort_unstable();
    assert_eq!(given, (1..=4).flat_map(|number| [number; 5]).collect::<Vec<u64>>());
    assert_eq!(names(&catalog).len(), 5);
    assert_eq!(catalog.snapshot().version, 20);
}

#[tokio::test]
async fn a_full_disk_refuses_a_write_and_changes_nothing() {
    let disk = SmallDisk::mount(8);
    let catalog = open_in(disk.path()).unwrap();
    catalog.deploy(new("a", 1, &[])).await.unwrap();
    disk.fill();
    // The file has some room of its own, so a few writes may still succeed.
    let mut held = 1;
    let refused = loop {
        let mut next = new(&format!("f{held}"), 1, &[]);
        next.function.template.args = vec!["x".repeat(50_000)];
        match catalog.deploy(next).await {
            Ok(_) => held += 1,
            Err(error) => break error,
        }
        assert!(held < 1000, "the disk was not full");
    };
    assert!(matches!(refused, CatalogError::Full), "{refused}");
    let before = catalog.snapshot();
    assert_eq!(before.functions.len(), held);
    // A failed write is no reason for the next one to fail in another way.
    assert!(matches!(catalog.deploy(new("late", 1, &[])).await, Err(CatalogError::Full) | Ok(_)));
    assert_eq!(numbers(&catalog, "a").await, [1]);

    let before = catalog.snapshot();
    // What is deployed keeps being served, also by a process that starts now.
    drop(catalog);
    let catalog = open_in(disk.path()).unwrap();
    assert_eq!(catalog.snapshot().functions, before.functions);

    disk.clear();
    catalog.deploy(new("a", 2, &[])).await.unwrap();
    let after = catalog.snapshot();
    drop(catalog);
    let catalog = open_in(disk.path()).unwrap();
    assert_eq!(catalog.snapshot().functions, after.functions);
    drop(catalog);
}

#[tokio::test]
async fn a_function_that_would_not_read_back_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open_in(folder.path()).unwrap();
    let mut wrong = new("a", 1, &[]);
    wrong.function.template.env = vec![("A=B".to_owned(), String::new())];
    assert!(matches!(catalog.deploy(wrong).await, Err(CatalogError::Storage(_))));
    assert!(names(&catalog).is_empty());
}

/// Gives a closed catalog another format.
fn set_format(folder: &Path, format: u64, written_by: &str) {
    let database = redb::Database::open(folder.join("catalog.redb")).unwrap();
    let write = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    write.open_table(meta).unwrap().insert("format", format).unwrap();
    let about = redb::TableDefinition::<&str, &str>::new("about");
    write.open_table(about).unwrap().insert("written-by", written_by).unwrap();
    write.commit().unwrap();
}

#[tokio::test]
async fn a_format_that_is_not_known_is_named() {
    for (format, says) in [(9_u64, "written by dhow 7.1.0"), (0, "written by an older dhow")] {
        let folder = tempfile::tempdir().unwrap();
        drop(open_in(folder.path()).unwrap());
        set_format(folder.path(), format, "7.1.0");
        let error = open_in(folder.path()).err().unwrap();
        match (format, &error) {
            (9, OpenError::Newer { found: 9, known: 2, .. })
            | (0, OpenError::Older { found: 0, known: 1, .. }) => {}
            _ => panic!("{error}"),
        }
        assert!(error.to_string().contains(says), "{error}");
        assert!(error.to_string().contains("--data"), "{error}");
    }
}

#[tokio::test]
async fn a_catalog_that_was_let_go_of_is_anothers_until_it_is_taken_again() {
    let folder = tempfile::tempdir().unwrap();
    let owned = Arc::new(DataFolder::open(folder.path()).unwrap());
    let catalog = EmbeddedCatalog::open(&owned).unwrap();
    catalog.deploy(new("a", 1, &[])).await.unwrap();
    catalog.let_go();
    assert_eq!(names(&catalog), ["a.default"]);
    assert!(catalog.deploy(new("b", 1, &[])).await.is_err());
    let other = EmbeddedCatalog::open(&owned).unwrap();
    assert!(matches!(catalog.take_again(), Err(OpenError::Owned { .. })));
    drop(other);
    catalog.take_again().unwrap();
    catalog.deploy(new("b", 1, &[])).await.unwrap();
    assert_eq!(names(&catalog), ["a.default", "b.default"]);

    // One that led the file to a format of its own and then ended.
    catalog.let_go();
    let (file, kept) = ("catalog.redb", "catalog.format-2.redb");
    fs::copy(folder.path().join(file), folder.path().join(kept)).unwrap();
    set_format(folder.path(), 3, "9.0.0");
    catalog.take_again().unwrap();
    assert_eq!(names(&catalog), ["a.default", "b.default"]);
    assert!(!folder.path().join(kept).exists());
    drop(catalog);
    assert_eq!(names(&EmbeddedCatalog::open(&owned).unwrap()), ["a.default", "b.default"]);
}

#[tokio::test]
async fn a_damaged_file_is_refused_or_whole_never_half_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.redb");
    let catalog = open_in(folder.path()).unwrap();
    for code in 1..20 {
        catalog.deploy(new(&format!("f{code}"), code, &[])).await.unwrap();
    }
    let whole = catalog.snapshot();
    drop(catalog);
    let good = fs::read(&path).unwrap();

    for wrong in [&b"hello"[..], &good[..good.len() / 2], &[0; 4096]] {
        fs::write(&path, wrong).unwrap();
        let error = open_in(folder.path()).err().expect("a damaged catalog was taken");
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    }
    let (mut refused, mut taken) = (0, 0);
    for place in (0..good.len()).step_by(good.len() / 100) {
        let mut bad = good.clone();
        bad[place] ^= 0xff;
        fs::write(&path, bad).unwrap();
        match open_in(folder.path()) {
            Ok(catalog) => {
                assert_eq!(catalog.snapshot().functions, whole.functions, "byte {place}");
                taken += 1;
            }
            Err(error) => {
                assert!(matches!(error, OpenError::Damaged { .. }), "byte {place}: {error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && taken > 0, "{refused} refused, {taken} in unused places");
}

#[tokio::test]
async fn a_file_that_was_begun_when_the_process_died_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("catalog.begun"), "half").unwrap();
    let catalog = open_in(folder.path()).unwrap();
    catalog.deploy(new("a", 1, &[])).await.unwrap();
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_process_that_was_not_ended_properly() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open_in(folder.path()).unwrap();
    catalog.deploy(new("a", 1, &[])).await.unwrap();
    // A copy of the file as it is now is what a killed process leaves behind.
    let copy = tempfile::tempdir().unwrap();
    fs::copy(folder.path().join("catalog.redb"), copy.path().join("catalog.redb")).unwrap();
    let reopened = open_in(copy.path()).unwrap();
    assert_eq!(reopened.snapshot().functions, catalog.snapshot().functions);
}
