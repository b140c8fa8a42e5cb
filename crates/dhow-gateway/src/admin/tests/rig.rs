//! A served API, fakes behind it, and a client.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dhow_core::abi::Abi;
use dhow_core::digest::Digest;
use dhow_core::function::{Deployed, ImageSource, Kept, Revision, RolledBack, Source};
use dhow_core::name::{FunctionName, Label};
use dhow_core::plan::routes;
use dhow_core::ports::{
    ArchiveBody, Artifact, Backup, BackupError, Blobs, BoxFuture, Catalog, CatalogError, Images,
    Intake, NewRevision, Progress, Pulled, Refusal, Secrets, SecretsError, Snapshot, TokenError,
    Tokens, Transfer, UploadBody, UploadError, Uploads,
};
use dhow_core::quota::{Quota, Quotas, Usage};
use dhow_core::secret::{Secret, SecretName, SecretSummary};
use dhow_core::token::Token;
use dhow_core::traffic::{Share, Traffic, Weighted};
use dhow_testkit::contract::{Contract, Exchange};
use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

use super::fake_calls::FakeCalls;
use crate::admin::{Admin, Credentials, Ending, Own, router, serve};
use crate::audit::{self, Audit};
use crate::logs::{self, Logs};
use crate::metrics::Metrics;
use crate::observer::Observer;

/// The most bytes that the served API takes of a module.
pub(super) const UPLOAD_LIMIT: u64 = 1 << 20;

/// The admin secret of the served API.
pub(super) const SECRET: &str = "the admin secret";

/// A served API.
pub(super) struct Rig {
    pub(super) address: SocketAddr,
    pub(super) catalog: Arc<FakeCatalog>,
    pub(super) intake: Arc<FakeIntake>,
    pub(super) uploads: Arc<FakeUploads>,
    pub(super) backup: Arc<FakeBackup>,
    pub(super) calls: Arc<FakeCalls>,
    pub(super) images: Arc<FakeImages>,
    pub(super) secrets: Arc<FakeSecrets>,
    pub(super) observer: Observer,
    /// The version that the gateway answers by.
    pub(super) applied: watch::Sender<u64>,
    pub(super) stop: Option<oneshot::Sender<()>>,
    pub(super) server: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Rig {
    /// One that asks for no credentials.
    pub(super) async fn new() -> Self {
        Self::start(false).await
    }

    /// One that asks for credentials: [`SECRET`], or a token.
    pub(super) async fn asking() -> Self {
        Self::start(true).await
    }

    async fn start(asks: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (observer, logs) = observed(folder.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let catalog = Arc::new(FakeCatalog::default());
        let intake = Arc::new(FakeIntake::default());
        let uploads = Arc::new(FakeUploads::default());
        let calls = Arc::new(FakeCalls::default());
        let tokens: Arc<dyn Tokens> = Arc::new(FakeTokens::default());
        let backup = Arc::new(FakeBackup::default());
        let images = Arc::new(FakeImages::default());
        let secrets = Arc::new(FakeSecrets::default());
        let (applied, table) = watch::channel(u64::MAX);
        let router = router(Admin {
            catalog: Arc::clone(&catalog) as _,
            intake: Arc::clone(&intake) as _,
            uploads: Arc::clone(&uploads) as _,
            backup: Arc::clone(&backup) as _,
            calls: Arc::clone(&calls) as _,
            images: Arc::clone(&images) as _,
            secrets: Arc::clone(&secrets) as _,
            observer: observer.clone(),
            logs,
            audit: Audit::open(audit::Config::new(folder.path().join("audit")), &Metrics::new())
                .unwrap(),
            applied: Arc::new(move |version| {
                let mut table = table.clone();
                Box::pin(async move {
                    table.wait_for(|applied| *applied >= version).await.unwrap();
                })
            }),
            gateway_url: "http://127.0.0.1:8080".to_owned(),
            version: "1.2.3",
            usage: Arc::new(|_| Usage { calls: 1, memory: 2 }),
            credentials: Credentials::new(tokens.clone(), SECRET, asks),
            own: Own { listen: address, tls: false, asks },
            tokens,
            upload_limit: UPLOAD_LIMIT,
            changing: Arc::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, router, None, async {
            stopped.await.unwrap();
            Ending::PROMPT
        }));
        let stop = Some(stop);
        Self {
            address,
            catalog,
            intake,
            uploads,
            backup,
            calls,
            images,
            secrets,
            observer,
            applied,
            stop,
            server,
            _folder: folder,
        }
    }

    /// A request as a program sends it.
    pub(super) fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(path).header("host", self.address.to_string())
    }

    pub(super) async fn send(
        &self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        client.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap()
    }

    /// Sends a request and reads the answer, which is as `docs/openapi.yaml` says, as JSON; an
    /// empty one is null.
    pub(super) async fn json(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> (StatusCode, Value) {
        let answer = self.send(self.request(method, path), body).await;
        let (status, content_type) = (answer.status(), answer.headers().get(CONTENT_TYPE).cloned());
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let exchange = Exchange {
            method: method.to_owned(),
            path: path.split('?').next().unwrap().to_owned(),
            status: status.as_u16(),
            content_type: content_type.map(|value| value.to_str().unwrap().to_owned()),
            body: bytes.to_vec(),
            whole: true,
        };
        Contract::of_dhow().check(&exchange).unwrap_or_else(|violation| panic!("{violation}"));
        (status, parse(&bytes))
    }

    pub(super) async fn put(&self, name: &str, manifest: &Value) -> (StatusCode, Value) {
        self.json("PUT", &path(name), manifest.to_string()).await
    }

    /// A module that is held, and what the intake finds in it.
    pub(super) fn module(&self, abis: &[Abi], exports: &[&str]) -> Digest {
        let digest = Digest::from_bytes([self.intake.verdicts.lock().len() as u8 + 1; 32]);
        let artifact = Artifact {
            digest,
            size: 5,
            kind: "component",
            abis: abis.to_vec(),
            imports: vec!["wasi:cli/stdout@0.2.6".to_owned()],
            exports: exports.iter().map(|&export| export.to_owned()).collect(),
        };
        self.intake.verdicts.lock().insert(digest, Ok(artifact));
        digest
    }

    /// Takes away a module that was held.
    pub(super) fn lose(&self, digest: &Digest) {
        assert!(self.intake.verdicts.lock().remove(digest).is_some());
    }

    /// A module that is held, and why it is refused.
    pub(super) fn refused_module(&self, reason: &'static str) -> Digest {
        let digest = Digest::from_bytes([self.intake.verdicts.lock().len() as u8 + 1; 32]);
        let refusal =
            Refusal { reason, message: "it is wrong".to_owned(), hint: "mend it".to_owned() };
        self.intake.verdicts.lock().insert(digest, Err(refusal));
        digest
    }
}

/// What calls did and wrote, kept in `folder`.
fn observed(folder: &Path) -> (Observer, Logs) {
    let metrics = Metrics::new();
    let logs = Logs::start(logs::Config::new(folder.join("logs")), &metrics).unwrap();
    (Observer::new(metrics, logs.clone()), logs)
}

pub(super) fn path(name: &str) -> String {
    format!("/api/v1/namespaces/default/functions/{name}")
}

pub(super) fn manifest(name: &str, digest: &Digest) -> Value {
    json!({
        "apiVersion": "dhow.dev/v1alpha1",
        "kind": "Function",
        "metadata": {"name": name},
        "spec": {"source": {"blob": digest.to_string(), "program": "hello.wasm"}},
    })
}

pub(super) async fn read(answer: Response<Incoming>) -> (StatusCode, Value) {
    let status = answer.status();
    (status, parse(&answer.into_body().collect().await.unwrap().to_bytes()))
}

fn parse(bytes: &Bytes) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(bytes).unwrap_or_else(|_| panic!("{bytes:?} is not JSON"))
}

/// The lines of an answer, as they come.
pub(super) struct Lines {
    body: Incoming,
    rest: Vec<u8>,
}

impl Lines {
    pub(super) fn of(answer: Response<Incoming>) -> Self {
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
        Self { body: answer.into_body(), rest: vec![] }
    }

    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.rest.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    pub(super) async fn all(mut self) -> Vec<Value> {
        let mut all = vec![];
        while let Some(line) = self.next().await {
            all.push(line);
        }
        all
    }
}

#[derive(Default)]
pub(super) struct FakeCatalog {
    snapshot: Mutex<Arc<Snapshot>>,
    revisions: Mutex<HashMap<FunctionName, Vec<Kept>>>,
    /// What the next write fails with.
    pub(super) failure: Mutex<Option<CatalogError>>,
}

impl FakeCatalog {
    fn kept(&self, name: &FunctionName, number: u64) -> Result<Kept, CatalogError> {
        let revisions = self.revisions.lock();
        let kept = revisions.get(name).ok_or_else(|| CatalogError::NotFound(name.clone()))?;
        let found = kept.iter().find(|one| one.revision.number == number).cloned();
        found.ok_or_else(|| CatalogError::NoRevision {
            function: name.clone(),
            number,
            kept: kept.iter().rev().map(|one| one.revision.number).collect(),
        })
    }

    fn change(
        &self,
        name: &FunctionName,
        change: impl FnOnce(&mut Deployed),
    ) -> Result<Deployed, CatalogError> {
        let mut snapshot = Snapshot::clone(&self.snapshot());
        snapshot.version += 1;
        let place = snapshot.functions.iter().position(|one| one.name == *name);
        let place = place.ok_or_else(|| CatalogError::NotFound(name.clone()))?;
        let deployed = Arc::make_mut(&mut snapshot.functions[place]);
        change(deployed);
        deployed.version = snapshot.version;
        let changed = deployed.clone();
        *self.snapshot.lock() = Arc::new(snapshot);
        Ok(changed)
    }
}

impl Catalog for FakeCatalog {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.lock())
    }

    fn deploy(&self, new: NewRevision) -> BoxFuture<'_, Result<Deployed, CatalogError>> {
        Box::pin(async move {
            if let Some(failure) = self.failure.lock().take() {
                return Err(failure);
            }
            let mut snapshot = Snapshot::clone(&self.snapshot());
            let others = snapshot.functions.iter().map(|other| (&other.name, &other.routes[..]));
            routes::check(others, &new.function.name, &new.function.routes, new.reach)?;
            let name = new.function.name;
            let mut revisions = self.revisions.lock();
            let revisions = revisions.entry(name.clone()).or_default();
            let revision = Arc::new(Revision {
                function: name.clone(),
                number: revisions.len() as u64 + 1,
                digest: new.digest,
                image: match &new.function.source {
                    Source::Image(image) => Some(image.clone()),
                    _ => None,
                },
                program: new.program,
                abi: new.abi,
                template: new.function.template,
            });
            let kept = Kept { revision: Arc::clone(&revision), deployed_ms: Some(new.now_ms) };
            revisions.insert(0, kept);
            let before = snapshot.functions.iter().find(|other| other.name == name);
            let split = before.map(|before| before.split.clone()).unwrap_or_default();
            snapshot.version += 1;
            let deployed = Deployed {
                name: name.clone(),
                revision,
                split,
                rolled_back: None,
                routes: new.function.routes,
                access: new.function.access.shared(),
                metadata: new.function.metadata.shared(),
                version: snapshot.version,
                deployed_ms: new.now_ms,
            };
            snapshot.functions.retain(|other| other.name != name);
            snapshot.functions.push(Arc::new(deployed.clone()));
            snapshot.functions.sort_by(|one, other| one.name.cmp(&other.name));
            *self.snapshot.lock() = Arc::new(snapshot);
            Ok(deployed)
        })
    }

    fn delete(&self, name: FunctionName) -> BoxFuture<'_, Result<(), CatalogError>> {
        Box::pin(async move {
            let mut snapshot = Snapshot::clone(&self.snapshot());
            let before = snapshot.functions.len();
            snapshot.functions.retain(|other| other.name != name);
            if snapshot.functions.len() == before {
                return Err(CatalogError::NotFound(name));
            }
            snapshot.version += 1;
            *self.snapshot.lock() = Arc::new(snapshot);
            Ok(())
        })
    }

    fn set_quota(
        &self,
        namespace: Label,
        quota: Option<Quota>,
    ) -> BoxFuture<'_, Result<(), CatalogError>> {
        let mut snapshot = Snapshot::clone(&self.snapshot());
        let mut quotas = Quotas::clone(&snapshot.quotas);
        match quota {
            Some(quota) => drop(quotas.insert(namespace, quota)),
            None => drop(quotas.remove(&namespace)),
        }
        snapshot.quotas = Arc::new(quotas);
        snapshot.version += 1;
        *self.snapshot.lock() = Arc::new(snapshot);
        Box::pin(async { Ok(()) })
    }

    fn roll_back(
        &self,
        name: FunctionName,
        to: u64,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Deployed, CatalogError>> {
        Box::pin(async move {
            let Kept { revision, deployed_ms } = self.kept(&name, to)?;
            self.change(&name, |deployed| {
                let from = deployed.revision.number;
                deployed.rolled_back = Some(RolledBack { from, at_ms: now_ms });
                deployed.revision = revision;
                deployed.deployed_ms = deployed_ms.unwrap();
                deployed.split = vec![];
            })
        })
    }

    fn split(
        &self,
        name: FunctionName,
        traffic: Traffic,
    ) -> BoxFuture<'_, Result<Deployed, CatalogError>> {
        Box::pin(async move {
            let weighted = |share: &Share| {
                let Kept { revision, .. } = self.kept(&name, share.revision)?;
                Ok(Weighted { revision, weight: share.weight })
            };
            let split =
                traffic.shares().iter().map(weighted).collect::<Result<_, CatalogError>>()?;
            self.change(&name, |deployed| deployed.split = split)
        })
    }

    fn revisions(&self, name: FunctionName) -> BoxFuture<'_, Result<Vec<Kept>, CatalogError>> {
        let found = self.revisions.lock().get(&name).cloned();
        Box::pin(async move { found.ok_or(CatalogError::NotFound(name)) })
    }
}

#[derive(Default)]
struct FakeTokens(Mutex<Arc<Vec<Token>>>);

impl Tokens for FakeTokens {
    fn tokens(&self) -> Arc<Vec<Token>> {
        self.0.lock().clone()
    }

    fn create_token(&self, token: Token) -> BoxFuture<'_, Result<(), TokenError>> {
        Box::pin(async move {
            let mut tokens = self.0.lock();
            if tokens.iter().any(|other| other.name == token.name) {
                return Err(TokenError::Exists(token.name));
            }
            Arc::make_mut(&mut tokens).push(token);
            Ok(())
        })
    }

    fn revoke_token(&self, name: Label) -> BoxFuture<'_, Result<(), TokenError>> {
        Box::pin(async move {
            let mut tokens = self.0.lock();
            let before = tokens.len();
            Arc::make_mut(&mut tokens).retain(|token| token.name != name);
            if tokens.len() == before { Err(TokenError::NotFound(name)) } else { Ok(()) }
        })
    }
}

/// Tells three steps; the last waits for a permit of `gate`.
pub(super) struct FakeIntake {
    verdicts: Mutex<HashMap<Digest, Result<Artifact, Refusal>>>,
    pub(super) gate: Semaphore,
    pub(super) admitted: watch::Sender<usize>,
}

impl Default for FakeIntake {
    fn default() -> Self {
        let gate = Semaphore::new(Semaphore::MAX_PERMITS);
        Self { verdicts: Mutex::default(), gate, admitted: watch::Sender::new(0) }
    }
}

impl Intake for FakeIntake {
    fn admit<'a>(
        &'a self,
        digest: &'a Digest,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Artifact, Refusal>> {
        Box::pin(async move {
            progress(Progress::Inspecting);
            progress(Progress::Compiling(Duration::from_millis(12)));
            self.gate.acquire().await.unwrap().forget();
            progress(Progress::Compiled(Duration::from_millis(34)));
            self.admitted.send_modify(|count| *count += 1);
            self.verdicts.lock().get(digest).cloned().unwrap_or_else(|| {
                let message = format!("{digest} is not held");
                Err(Refusal { reason: "not-found", message, hint: "upload it".to_owned() })
            })
        })
    }
}

/// Holds modules under a digest that is their first byte, 32 times.
#[derive(Default)]
pub(super) struct FakeUploads {
    pub(super) held: Mutex<HashMap<Digest, Vec<u8>>>,
    /// What the next upload fails with.
    pub(super) failure: Mutex<Option<UploadError>>,
}

impl Blobs for FakeUploads {
    fn open(&self, _: &Digest) -> io::Result<File> {
        Err(io::ErrorKind::NotFound.into())
    }
}

impl Uploads for FakeUploads {
    fn put(&self, mut body: UploadBody, most: u64) -> BoxFuture<'_, Result<Digest, UploadError>> {
        Box::pin(async move {
            if let Some(failure) = self.failure.lock().take() {
                return Err(failure);
            }
            let mut bytes = vec![];
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| UploadError::Body(error.to_string()))?;
                bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
                if bytes.len() as u64 > most {
                    return Err(UploadError::TooLarge { most });
                }
            }
            let digest = Digest::from_bytes([bytes.first().copied().unwrap_or_default(); 32]);
            self.held.lock().insert(digest, bytes);
            Ok(digest)
        })
    }
}

/// Answers what it is told to; by default, an empty archive.
#[derive(Default)]
pub(super) struct FakeBackup(pub(super) Mutex<Vec<FakeArchive>>);

/// Why there is no archive, or its pieces.
pub(super) type FakeArchive = Result<Vec<io::Result<Bytes>>, BackupError>;

impl Backup for FakeBackup {
    fn begin(&self, _: u64) -> BoxFuture<'_, Result<ArchiveBody, BackupError>> {
        let next = self.0.lock().pop().unwrap_or_else(|| Ok(vec![]));
        Box::pin(async move {
            let pieces = next?.into_iter().map(|piece| piece.map(http_body::Frame::data));
            // What comes before a pause is sent.
            let pieces = futures_util::stream::iter(pieces).then(|piece| async {
                tokio::task::yield_now().await;
                piece
            });
            Ok(Box::pin(http_body_util::StreamBody::new(pieces)) as ArchiveBody)
        })
    }
}

/// Registries that know one image, or none.
#[derive(Default)]
pub(super) struct FakeImages {
    pub(super) image: Mutex<Option<Pulled>>,
    /// What was asked for.
    pub(super) asked: Mutex<Vec<(Label, ImageSource)>>,
}

impl Images for FakeImages {
    fn pull<'a>(
        &'a self,
        namespace: &'a Label,
        image: &'a ImageSource,
        progress: &'a (dyn Fn(Transfer) + Send + Sync),
    ) -> BoxFuture<'a, Result<Pulled, Refusal>> {
        self.asked.lock().push((namespace.clone(), image.clone()));
        let found = self.image.lock().clone();
        Box::pin(async move {
            let pulled = found.ok_or_else(|| Refusal {
                reason: "not-found",
                message: format!("{} is not there", image.reference),
                hint: "check the name".to_owned(),
            })?;
            progress(Transfer { blob: pulled.blob, received: 7, size: 7 });
            Ok(pulled)
        })
    }
}

/// Secrets in memory.
#[derive(Default)]
pub(super) struct FakeSecrets(pub(super) Mutex<BTreeMap<SecretName, Secret>>);

impl Secrets for FakeSecrets {
    fn put(&self, name: SecretName, secret: Secret) -> BoxFuture<'_, Result<(), SecretsError>> {
        self.0.lock().insert(name, secret);
        Box::pin(async { Ok(()) })
    }

    fn get(&self, name: SecretName) -> BoxFuture<'_, Result<Secret, SecretsError>> {
        let found = self.0.lock().get(&name).cloned();
        Box::pin(async { found.ok_or(SecretsError::NotFound(name)) })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<SecretSummary>, SecretsError>> {
        let kept = self.0.lock();
        let all = kept.iter().map(|(name, secret)| SecretSummary {
            name: name.clone(),
            kind: secret.kind.clone(),
            keys: secret.values.keys().cloned().collect(),
        });
        let all = all.collect();
        Box::pin(async { Ok(all) })
    }

    fn delete(&self, name: SecretName) -> BoxFuture<'_, Result<(), SecretsError>> {
        let gone = self.0.lock().remove(&name);
        Box::pin(async { gone.map(drop).ok_or(SecretsError::NotFound(name)) })
    }
}
