//! Nothing that a store acknowledged goes with the power, wherever it is cut.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use dhow_core::key_value::To;
use dhow_testkit::power::Syncs;
use dhow_testkit::power::disk::Disk;
use redb::Database;
use tokio::runtime::Runtime;

use super::tests::{change, own, set};
use super::*;

/// What is under each key.
type Kept = BTreeMap<String, Value>;

impl Place for Disk {
    fn is_made(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn open(&self) -> Result<Database, redb::Error> {
        let is_new = self.bytes().is_empty();
        let database = Database::builder().create_with_backend(self.clone())?;
        if is_new {
            disk::initialize(&database)?;
        }
        disk::check(database)
    }
}

fn on(disk: &Disk) -> EmbeddedKeyValue {
    let disk = disk.clone();
    EmbeddedKeyValue::new(Box::new(move |_| Box::new(disk.clone())), None, || 1)
}

/// A disk on which a store was made. Until then its file has another name.
fn empty(syncs: Syncs) -> Disk {
    let empty = Disk::new(vec![], Syncs::Kept);
    drop(Place::open(&empty).unwrap());
    Disk::new(empty.bytes(), syncs)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

async fn kept(stores: &EmbeddedKeyValue) -> Result<Kept, KeyValueError> {
    let store = own("f", "default");
    let keys = stores.keys(&store, None).await?;
    let values = stores.get(&store, keys.clone()).await?;
    Ok(keys.into_iter().zip(values.into_iter().flatten()).collect())
}

/// Makes each of `days`, one after the other; what was there after each acknowledgement, and at
/// the beginning.
fn record(disk: &Disk, days: Vec<Vec<Change>>) -> Vec<Kept> {
    runtime().block_on(async {
        let stores = on(disk);
        let mut states = vec![Kept::new()];
        for changes in days {
            stores.change(&own("f", "default"), Room::default(), changes).await.unwrap();
            disk.acknowledge();
            states.push(kept(&stores).await.unwrap());
        }
        states
    })
}

/// Opens every image: how many there were, and which had lost something.
fn lost(disk: &Disk, states: &[Kept]) -> (usize, Vec<String>) {
    let (runtime, mut lost) = (runtime(), Vec::new());
    let images = disk.each_image(5, |image| {
        let left = Disk::new(image.bytes, Syncs::Kept);
        let opened = catch_unwind(AssertUnwindSafe(|| runtime.block_on(kept(&on(&left)))));
        // What was on its way when the power went may have arrived.
        let mut may_be = states[image.acknowledged..].iter().take(2);
        match opened {
            Ok(Ok(found)) if may_be.any(|state| *state == found) => {}
            Ok(Ok(found)) => lost.push(format!("only {:?}: {}", found.keys(), image.cut)),
            Ok(Err(error)) => lost.push(format!("{error}: {}", image.cut)),
            Err(_) => lost.push(format!("it can't be read at all: {}", image.cut)),
        }
    });
    (images, lost)
}

#[test]
fn nothing_acknowledged_goes_with_the_power() {
    let item = |text: &'static str| Bytes::from_static(text.as_bytes());
    let disk = empty(Syncs::Kept);
    let days = vec![
        vec![set("a", "1")],
        vec![change("a", To::Add(41)), set("b", "x"), change("list", To::Push(item("i")))],
        // A value of many pages.
        vec![set("large", &"v".repeat(60_000))],
        vec![change("list", To::Push(item("j"))), change("b", To::Delete)],
        vec![change("a", To::Swap { expected: Some(item("42")), value: item("new") })],
        vec![set("large", "small"), change("set", To::Insert(item("i")))],
    ];
    let states = record(&disk, days);
    let (images, lost) = lost(&disk, &states);
    assert!(images > 200, "{images} images are too few to tell");
    assert!(lost.is_empty(), "{} of {images}: {:#?}", lost.len(), lost.first());
}

#[test]
fn without_syncs_values_go_with_the_power() {
    let disk = empty(Syncs::Ignored);
    let states = record(&disk, vec![vec![set("a", "1")], vec![set("b", "2")]]);
    let (_, lost) = lost(&disk, &states);
    assert!(lost.iter().any(|found| found.starts_with("only")), "{lost:?}");
}
