use dhow_core::key_value::{ENTRY_COST, MOST_AT_ONCE, MOST_VALUE, PAGE, StoreGrant, To};
use dhow_core::name::FunctionName;
use tempfile::TempDir;

use super::*;

pub(super) fn own(function: &str, store: &str) -> StoreId {
    let name = store.parse().unwrap();
    let grant = StoreGrant { name, shared: None, room: Room::default() };
    grant.store(&FunctionName::parse(function).unwrap())
}

fn shared(function: &str, store: &str) -> StoreId {
    let name: dhow_core::key_value::StoreName = store.parse().unwrap();
    let grant = StoreGrant { name: name.clone(), shared: Some(name), room: Room::default() };
    grant.store(&FunctionName::parse(function).unwrap())
}

pub(super) fn set(key: &str, value: &str) -> Change {
    let value = value.to_owned().into();
    Change { key: key.to_owned(), to: To::Set { value, lives: None } }
}

pub(super) fn change(key: &str, to: To) -> Change {
    Change { key: key.to_owned(), to }
}

fn opened() -> (TempDir, DataFolder, EmbeddedKeyValue) {
    let temporary = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(temporary.path()).unwrap();
    let stores = EmbeddedKeyValue::open(&folder).unwrap();
    (temporary, folder, stores)
}

async fn make(stores: &EmbeddedKeyValue, store: &StoreId, changes: &[Change]) -> disk::Made {
    stores.change(store, Room::default(), changes.to_vec()).await
}

async fn text(stores: &EmbeddedKeyValue, store: &StoreId, key: &str) -> Option<String> {
    match stores.get(store, vec![key.to_owned()]).await.unwrap().remove(0) {
        Some(Value::Bytes(bytes)) => Some(String::from_utf8(bytes.into()).unwrap()),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

#[tokio::test]
async fn what_was_set_is_there_after_reopening_and_what_nobody_set_is_not() {
    let (_temporary, folder, stores) = opened();
    let store = own("f", "default");
    assert_eq!(text(&stores, &store, "k").await, None);
    assert!(!folder.path().join("kv/default.redb").exists(), "a read makes no file");
    make(&stores, &store, &[set("k", "v"), set("other", "")]).await.unwrap();
    drop(stores);
    let stores = EmbeddedKeyValue::open(&folder).unwrap();
    assert_eq!(text(&stores, &store, "k").await.as_deref(), Some("v"));
    assert!(stores.exists(&store, "other".to_owned()).await.unwrap());
    assert!(!stores.exists(&store, "no".to_owned()).await.unwrap());
    let found = stores.get(&store, vec!["other".into(), "no".into(), "k".into()]).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    make(&stores, &store, &[change("k", To::Delete)]).await.unwrap();
    assert_eq!(text(&stores, &store, "k").await, None);
}

#[tokio::test]
async fn a_store_is_its_functions_alone_unless_it_is_shared() {
    let (_temporary, _folder, stores) = opened();
    let all = [own("f", "a"), own("f", "b"), own("g", "a"), own("f.other", "a"), shared("f", "a")];
    for (index, store) in all.iter().enumerate() {
        make(&stores, store, &[set("k", &index.to_string())]).await.unwrap();
    }
    for (index, store) in all.iter().enumerate() {
        assert_eq!(text(&stores, store, "k").await, Some(index.to_string()));
        assert_eq!(stores.keys(store, None).await.unwrap(), ["k"]);
    }
    assert_eq!(text(&stores, &shared("g", "a"), "k").await.as_deref(), Some("4"));
    assert_eq!(text(&stores, &shared("g.other", "a"), "k").await, None);
}

#[tokio::test]
async fn changes_are_made_together_or_not_at_all() {
    let (_temporary, _folder, stores) = opened();
    let store = own("f", "default");
    make(&stores, &store, &[set("number", "1"), set("text", "x")]).await.unwrap();
    let changes = [change("number", To::Add(1)), change("text", To::Add(1))];
    assert!(matches!(make(&stores, &store, &changes).await, Err(KeyValueError::NotANumber(_))));
    assert_eq!(text(&stores, &store, "number").await.as_deref(), Some("1"));
    // Each sees those before it.
    let changes = [change("n", To::Add(2)), change("n", To::Add(3)), change("n", To::Delete)];
    let made = make(&stores, &store, &changes).await.unwrap();
    assert_eq!(made, [Changed::Number(2), Changed::Number(5), Changed::Done]);
    assert_eq!(text(&stores, &store, "n").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_where_many_change_the_same() {
    let (_temporary, _folder, stores) = opened();
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let stores = stores.clone();
            tokio::spawn(async move {
                let store = own("f", "default");
                let made = make(&stores, &store, &[change("n", To::Add(1))]).await.unwrap();
                let [Changed::Number(number)] = made[..] else { panic!("{made:?}") };
                number
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for task in tasks {
        numbers.push(task.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
}

#[tokio::test]
async fn keys_come_in_pages_in_order() {
    let (_temporary, _folder, stores) = opened();
    let store = own("f", "default");
    assert_eq!(stores.keys(&store, None).await.unwrap(), Vec::<String>::new());
    // Stores whose names lie before and behind it.
    for neighbour in [own("f", "de"), own("f", "default2")] {
        make(&stores, &neighbour, &[set("k", "")]).await.unwrap();
    }
    let all: Vec<_> = (0..PAGE + 5).map(|index| format!("{index:05}")).collect();
    for some in all.chunks(MOST_AT_ONCE) {
        let changes: Vec<_> = some.iter().map(|key| set(key, "")).collect();
        make(&stores, &store, &changes).await.unwrap();
    }
    let first = stores.keys(&store, None).await.unwrap();
    assert_eq!(first, all[..PAGE]);
    let rest = stores.keys(&store, first.last().cloned()).await.unwrap();
    assert_eq!(rest, all[PAGE..]);
}

#[tokio::test]
async fn a_store_has_room_for_so_much_and_can_always_shrink() {
    let (_temporary, _folder, stores) = opened();
    let store = own("f", "default");
    let room = Room { size: 1000, keys: 2 };
    let make = async |room, changes: &[Change]| stores.change(&store, room, changes.to_vec()).await;
    make(room, &[set("a", "x"), set("b", "y")]).await.unwrap();
    assert_eq!(make(room, &[set("c", "z")]).await, Err(KeyValueError::TooManyKeys(2)));
    // What goes makes room for what comes with it.
    make(room, &[set("c", "z"), change("a", To::Delete)]).await.unwrap();
    let fits = 1000 - (2 * (ENTRY_COST + 1) + 1);
    make(room, &[set("b", &"y".repeat(fits))]).await.unwrap();
    let over = make(room, &[set("b", &"y".repeat(fits + 1))]).await;
    assert_eq!(over, Err(KeyValueError::TooLarge(1000)));
    // A function with less room may make it smaller.
    let less = Room { size: 100, keys: 1 };
    make(less, &[set("b", "y")]).await.unwrap();
    assert_eq!(make(less, &[set("b", "yy")]).await, Err(KeyValueError::TooLarge(100)));
}

#[tokio::test]
async fn no_key_or_value_or_batch_is_larger_than_it_may_be() {
    let (_temporary, _folder, stores) = opened();
    let store = own("f", "default");
    let long = make(&stores, &store, &[set(&"k".repeat(1025), "")]).await;
    assert_eq!(long, Err(KeyValueError::Key(1025)));
    let large = "v".repeat(MOST_VALUE + 1);
    let value = make(&stores, &store, &[set("k", &large)]).await;
    assert_eq!(value, Err(KeyValueError::Value(MOST_VALUE + 1)));
    let value = "v".repeat(MOST_VALUE);
    let many: Vec<_> = (0..9).map(|index| set(&index.to_string(), &value)).collect();
    assert_eq!(make(&stores, &store, &many).await, Err(KeyValueError::Batch));
    for one in &many {
        make(&stores, &store, std::slice::from_ref(one)).await.unwrap();
    }
    let keys = (0..9).map(|index| index.to_string()).collect();
    assert_eq!(stores.get(&store, keys).await, Err(KeyValueError::Batch));
}

#[tokio::test]
async fn what_has_ended_is_gone_and_leaves_its_room() {
    static NOW: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1000);
    use std::sync::atomic::Ordering::Relaxed;
    let temporary = tempfile::tempdir().unwrap();
    let of = temporary.path().to_owned();
    let places: Places = Box::new(move |namespace| Box::new(of.join(format!("{namespace}.redb"))));
    let stores = EmbeddedKeyValue::new(places, None, || NOW.load(Relaxed));
    let store = own("f", "default");
    let room = Room { size: 1 << 20, keys: 1 };
    let lives = Some(Duration::from_millis(10));
    let brief = change("k", To::Set { value: "1".into(), lives });
    stores.change(&store, room, vec![brief]).await.unwrap();
    // A number that grows ends when it was to.
    stores.change(&store, room, vec![change("k", To::Add(1))]).await.unwrap();
    NOW.store(1009, Relaxed);
    assert_eq!(text(&stores, &store, "k").await.as_deref(), Some("2"));
    assert!(stores.change(&store, room, vec![set("other", "")]).await.is_err());
    NOW.store(1010, Relaxed);
    assert_eq!(text(&stores, &store, "k").await, None);
    assert!(!stores.exists(&store, "k".to_owned()).await.unwrap());
    assert_eq!(stores.keys(&store, None).await.unwrap(), Vec::<String>::new());
    stores.change(&store, room, vec![set("other", "")]).await.unwrap();
}

#[tokio::test]
async fn a_file_is_closed_when_nobody_asks_and_opened_again() {
    let (_temporary, folder, stores) = opened();
    let store = own("f", "default");
    make(&stores, &store, &[set("k", "v")]).await.unwrap();
    let path = folder.path().join("kv/default.redb");
    assert!(matches!(Place::open(&path), Err(redb::Error::DatabaseAlreadyOpen)));
    stores.let_go_idle(Duration::from_secs(3600));
    assert!(matches!(Place::open(&path), Err(redb::Error::DatabaseAlreadyOpen)));
    stores.let_go_idle(Duration::ZERO);
    drop(Place::open(&path).unwrap());
    assert_eq!(text(&stores, &store, "k").await.as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_share_the_files_take_turns() {
    let (_temporary, folder, old) = opened();
    let store = own("f", "default");
    make(&old, &store, &[change("n", To::Add(1))]).await.unwrap();
    old.share();
    let new = EmbeddedKeyValue::open(&folder).unwrap();
    new.share();
    let count = |stores: EmbeddedKeyValue| {
        tokio::spawn(async move {
            for _ in 0..20 {
                let store = own("f", "default");
                make(&stores, &store, &[change("n", To::Add(1))]).await.unwrap();
            }
        })
    };
    let (one, other) = (count(old.clone()), count(new.clone()));
    one.await.unwrap();
    other.await.unwrap();
    // A copy is of what both have written.
    let mut copied = 0;
    new.paused(&mut || {
        copied = std::fs::metadata(folder.path().join("kv/default.redb")).unwrap().len();
    });
    assert!(copied > 0);
    drop(old);
    new.own();
    assert_eq!(text(&new, &store, "n").await.as_deref(), Some("41"));
}

#[tokio::test]
async fn a_file_that_is_no_store_is_named_as_damaged() {
    let (_temporary, folder, stores) = opened();
    std::fs::write(folder.path().join("kv/default.redb"), "no store").unwrap();
    let store = own("f", "default");
    let error = make(&stores, &store, &[set("k", "v")]).await.unwrap_err();
    assert!(matches!(error, KeyValueError::Storage(_)), "{error}");
    let newer = folder.path().join("kv/newer.redb");
    let database = redb::Database::create(&newer).unwrap();
    let write = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    write.open_table(meta).unwrap().insert("format", 9).unwrap();
    write.commit().unwrap();
    drop(database);
    let error = make(&stores, &own("f.newer", "a"), &[set("k", "v")]).await.unwrap_err();
    assert!(error.to_string().contains("newer dhow"), "{error}");
}

#[tokio::test]
async fn a_full_disk_changes_nothing_and_is_named() {
    let disk = crate::small_disk::SmallDisk::mount(8);
    let folder = DataFolder::open(disk.path()).unwrap();
    let stores = EmbeddedKeyValue::open(&folder).unwrap();
    let store = own("f", "default");
    make(&stores, &store, &[set("k", "v")]).await.unwrap();
    disk.fill();
    let value = "v".repeat(MOST_VALUE);
    let mut full = Ok(vec![]);
    // The file has some room of its own.
    for index in 0..20 {
        full = make(&stores, &store, &[set(&format!("large-{index}"), &value)]).await;
        if full.is_err() {
            break;
        }
    }
    assert_eq!(full, Err(KeyValueError::DiskFull));
    disk.clear();
    assert_eq!(text(&stores, &store, "k").await.as_deref(), Some("v"));
    make(&stores, &store, &[set("k", "w")]).await.unwrap();
}
