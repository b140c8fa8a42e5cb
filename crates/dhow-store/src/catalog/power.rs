//! Nothing that the catalog acknowledged goes with the power, wherever it is cut.

use std::collections::BTreeMap;
use std::path::Path;

use dhow_core::ports::{Secrets, Tokens as _};
use dhow_core::secret::{OPAQUE, Secret, SecretName};
use dhow_testkit::power::Syncs;
use dhow_testkit::power::disk;
use zeroize::Zeroizing;

use super::tests::{name, new};
use super::*;

/// A catalog of one recorded disk.
struct Recorded {
    disk: disk::Disk,
    folder: Arc<DataFolder>,
    catalog: Option<EmbeddedCatalog>,
    /// What was in force after each acknowledgement, and at the beginning.
    states: Vec<State>,
    _folder: tempfile::TempDir,
}

/// All that the file must tell: what is in force, and the last number given to each name.
#[derive(Debug, PartialEq, Eq)]
struct State {
    contents: Contents,
    numbers: Vec<u64>,
    /// What is written of each secret, by name.
    secrets: Vec<(SecretName, Vec<u8>)>,
}

fn secret_name(text: &str) -> SecretName {
    SecretName { namespace: "shop".parse().unwrap(), name: text.parse().unwrap() }
}

/// The names that the tests use.
const NAMES: [&str; 4] = ["a", "b", "c", "large"];

fn open_on(folder: &Arc<DataFolder>, disk: &disk::Disk) -> Result<EmbeddedCatalog, OpenError> {
    let disk = disk.clone();
    let open = Box::new(move || super::disk::open_backend(disk.clone()));
    let opened = Disk::open_with(open, |_| Ok(()));
    // Few, so that some are forgotten.
    EmbeddedCatalog::read(folder, Path::new("catalog.redb"), opened, NonZeroUsize::MIN)
}

fn state(catalog: &EmbeddedCatalog) -> State {
    let mut disk = catalog.0.disk.lock();
    let numbers = NAMES.map(|text| disk.last_number(&name(text)).unwrap());
    let secrets = disk.secrets().unwrap().into_iter();
    let secrets = secrets.map(|(name, record)| (name, record.to_vec())).collect();
    State { contents: disk.contents().unwrap(), numbers: numbers.to_vec(), secrets }
}

impl Recorded {
    /// An empty catalog. The record begins after it was made: until then the file has another
    /// name.
    fn new(syncs: Syncs) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Arc::new(DataFolder::open(temporary.path()).unwrap());
        let empty = disk::Disk::new(vec![], Syncs::Kept);
        drop(open_on(&folder, &empty).unwrap());
        let disk = disk::Disk::new(empty.bytes(), syncs);
        let catalog = open_on(&folder, &disk).unwrap();
        let states = vec![state(&catalog)];
        Self { disk, folder, catalog: Some(catalog), states, _folder: temporary }
    }

    async fn deploy(&mut self, new: NewRevision) {
        self.catalog.as_ref().unwrap().deploy(new).await.unwrap();
        self.acknowledge();
    }

    async fn delete(&mut self, text: &str) {
        Catalog::delete(self.catalog.as_ref().unwrap(), name(text)).await.unwrap();
        self.acknowledge();
    }

    async fn create_token(&mut self) {
        let token = Token {
            name: "ci".parse().unwrap(),
            hash: Digest::from_bytes([9; 32]),
            grants: vec!["deploy:shop".parse().unwrap()],
            created_ms: 5,
            expires_ms: None,
        };
        self.catalog.as_ref().unwrap().create_token(token).await.unwrap();
        self.acknowledge();
    }

    async fn revoke_token(&mut self) {
        self.catalog.as_ref().unwrap().revoke_token("ci".parse().unwrap()).await.unwrap();
        self.acknowledge();
    }

    async fn put_secret(&mut self, text: &str, value: &[u8]) {
        let values = BTreeMap::from([("key".to_owned(), Zeroizing::new(value.to_vec()))]);
        let secret = Secret::new(OPAQUE.to_owned(), values).unwrap();
        let catalog = self.catalog.as_ref().unwrap();
        Secrets::put(catalog, secret_name(text), secret).await.unwrap();
        self.acknowledge();
    }

    async fn delete_secret(&mut self, text: &str) {
        let catalog = self.catalog.as_ref().unwrap();
        Secrets::delete(catalog, secret_name(text)).await.unwrap();
        self.acknowledge();
    }

    async fn set_quota(&mut self, quota: Option<Quota>) {
        let catalog = self.catalog.as_ref().unwrap();
        catalog.set_quota("shop".parse().unwrap(), quota).await.unwrap();
        self.acknowledge();
    }

    async fn split(&mut self, text: &str, shares: &[(u64, u32)]) {
        let share = |&(revision, weight): &(u64, u32)| Share { revision, weight };
        let traffic = Traffic::new(shares.iter().map(share).collect()).unwrap();
        self.catalog.as_ref().unwrap().split(name(text), traffic).await.unwrap();
        self.acknowledge();
    }

    async fn roll_back(&mut self, text: &str, to: u64) {
        self.catalog.as_ref().unwrap().roll_back(name(text), to, 5000).await.unwrap();
        self.acknowledge();
    }

    fn acknowledge(&mut self) {
        self.disk.acknowledge();
        self.states.push(state(self.catalog.as_ref().unwrap()));
    }

    /// Ends the process properly and starts another.
    fn reopen(&mut self) {
        self.catalog = None;
        self.catalog = Some(open_on(&self.folder, &self.disk).unwrap());
    }

    /// All that a day may bring.
    async fn a_day(&mut self) {
        self.deploy(new("a", 1, &["/a"])).await;
        self.deploy(new("b", 1, &[])).await;
        self.deploy(new("a", 2, &["/a"])).await;
        // Only its routes change.
        self.deploy(new("a", 2, &["/a", "/b"])).await;
        self.create_token().await;
        self.put_secret("first", b"one").await;
        self.put_secret("first", b"two").await;
        self.set_quota(Some(Quota { calls: Some(7), ..Quota::default() })).await;
        self.put_secret("large", &[7; 9000]).await;
        self.delete("b").await;
        self.split("a", &[(2, 9)]).await;
        self.deploy(new("a", 3, &["/a"])).await;
        self.reopen();
        self.split("a", &[(2, 1), (3, 9)]).await;
        self.roll_back("a", 2).await;
        self.deploy(new("a", 4, &["/a"])).await;
        // Large enough for records to take many pages.
        let mut large = new("large", 3, &[]);
        large.function.template.args = vec!["x".repeat(2500); 24];
        self.deploy(large).await;
        self.deploy(new("b", 4, &[])).await;
        self.delete("large").await;
        self.revoke_token().await;
        self.delete_secret("first").await;
        self.set_quota(Some(Quota { calls: Some(9), ..Quota::default() })).await;
        self.set_quota(None).await;
        self.put_secret("last", b"three").await;
        self.deploy(new("c", 5, &["/c"])).await;
        self.catalog = None;
    }

    /// Opens every image: how many there were, and which had lost something.
    fn lost(&self) -> (usize, Vec<String>) {
        let mut lost = Vec::new();
        let images = self.disk.each_image(7, |image| {
            let left = disk::Disk::new(image.bytes, Syncs::Kept);
            let complaint = match open_on(&self.folder, &left) {
                Ok(catalog) => {
                    let found = state(&catalog);
                    // What was on its way when the power went may have arrived.
                    let mut may_be = self.states[image.acknowledged..].iter().take(2);
                    (!may_be.any(|state| *state == found)).then(|| "something is lost".to_owned())
                }
                Err(error) => Some(error.to_string()),
            };
            if let Some(complaint) = complaint {
                lost.push(format!("{complaint}: {}", image.cut));
            }
        });
        (images, lost)
    }
}

#[tokio::test]
async fn nothing_acknowledged_goes_with_the_power() {
    let mut recorded = Recorded::new(Syncs::Kept);
    recorded.a_day().await;
    let (images, lost) = recorded.lost();
    assert!(images > 500, "{images} images are too few to tell");
    assert!(lost.is_empty(), "{} of {images}: {:#?}", lost.len(), lost.first());
}

/// The file of a catalog of format 1 with some functions, and what is in force in it.
async fn format_1() -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut recorded = Recorded::new(Syncs::Kept);
    recorded.a_day().await;
    let database = super::disk::open_backend(recorded.disk.clone()).unwrap();
    let write = database.begin_write().unwrap();
    let (meta, about) = ("meta", "about");
    let meta = redb::TableDefinition::<&str, u64>::new(meta);
    write.open_table(meta).unwrap().insert("format", 1).unwrap();
    write.delete_table(redb::TableDefinition::<&str, &str>::new(about)).unwrap();
    write.commit().unwrap();
    drop(database);
    let last = recorded.states.pop().unwrap();
    (recorded.disk.bytes(), last.contents.functions)
}

#[tokio::test]
async fn a_cut_while_the_format_changes_loses_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = Arc::new(DataFolder::open(temporary.path()).unwrap());
    let (file, functions) = format_1().await;
    let disk = disk::Disk::new(file, Syncs::Kept);
    let database = super::disk::open_backend(disk.clone()).unwrap();
    assert_eq!(format::find(&database).unwrap(), format::Found { number: 1, written_by: None });
    drop(database);
    drop(open_on(&folder, &disk).unwrap());
    let images = disk.each_image(3, |image| {
        let left = disk::Disk::new(image.bytes, Syncs::Kept);
        let catalog =
            open_on(&folder, &left).unwrap_or_else(|error| panic!("{error}: {}", image.cut));
        let found = state(&catalog).contents;
        assert_eq!((found.format.number, &found.functions), (format::FORMAT, &functions));
    });
    assert!(images > 50, "{images} images are too few to tell");
}

#[tokio::test]
async fn without_syncs_records_go_with_the_power() {
    let mut recorded = Recorded::new(Syncs::Ignored);
    recorded.deploy(new("a", 1, &["/a"])).await;
    recorded.deploy(new("b", 1, &[])).await;
    recorded.delete("a").await;
    recorded.catalog = None;
    let (_, lost) = recorded.lost();
    assert!(lost.iter().any(|found| found.starts_with("something is lost")), "{lost:?}");
}

#[tokio::test]
async fn without_syncs_secrets_and_quotas_alone_are_missed_too() {
    let quota = Quota { calls: Some(7), ..Quota::default() };
    let mut secrets = Recorded::new(Syncs::Ignored);
    secrets.put_secret("first", b"one").await;
    secrets.catalog = None;
    let mut quotas = Recorded::new(Syncs::Ignored);
    quotas.set_quota(Some(quota)).await;
    quotas.catalog = None;
    for recorded in [secrets, quotas] {
        let (_, lost) = recorded.lost();
        assert!(lost.iter().any(|found| found.starts_with("something is lost")), "{lost:?}");
    }
}
