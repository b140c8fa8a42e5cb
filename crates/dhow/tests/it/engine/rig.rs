//! An engine in a folder of its own, and calls to it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dhow_core::abi::Abi;
use dhow_core::call::CallId;
use dhow_core::digest::Digest;
use dhow_core::function::{Revision, Template};
use dhow_core::name::FunctionName;
use dhow_core::outcome::{Failure, Outcome};
use dhow_core::ports::{Blobs, Call, Intake as _, Invoke as _, Observe, Record, Refusal, Stream};
use dhow_engine::{Config, Engine, World};
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use parking_lot::Mutex;
use sha2::Digest as _;

/// An engine with its folder.
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) folder: tempfile::TempDir,
    blobs: Arc<Held>,
    pub(crate) heard: Arc<Heard>,
    calls: AtomicU64,
}

/// Modules by digest, as files.
#[derive(Default)]
pub(crate) struct Held(Mutex<HashMap<Digest, Arc<tempfile::NamedTempFile>>>);

/// What the engine told about its calls.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) outcomes: Mutex<Vec<Outcome>>,
    pub(crate) lines: Mutex<Vec<(CallId, Stream, String)>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
    /// Why it broke off, if it did.
    pub(crate) cut: Option<Failure>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) type TestBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Failure>;

pub(crate) fn full(body: impl Into<Bytes>) -> TestBody {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(settle: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::in_folder(folder, settle)
    }

    pub(crate) fn in_folder(folder: tempfile::TempDir, settle: impl FnOnce(&mut Config)) -> Self {
        Self::start(folder, World::default(), settle)
    }

    /// An engine whose guests can be granted what `world` has.
    pub(crate) fn in_world(world: World) -> Self {
        Self::start(tempfile::tempdir().expect("a temporary folder"), world, |_| ())
    }

    fn start(folder: tempfile::TempDir, world: World, settle: impl FnOnce(&mut Config)) -> Self {
        let compiler = env!("CARGO_BIN_EXE_dhow").into();
        let mut config = Config::new(folder.path().join("code"), compiler);
        config.instances = 200;
        settle(&mut config);
        let (blobs, heard) = (Arc::new(Held::default()), Arc::new(Heard::default()));
        let observe = Arc::new(Observer(heard.clone()));
        let engine = Engine::start(config, blobs.clone(), observe, world).expect("an engine");
        Self { engine, folder, blobs, heard, calls: AtomicU64::new(1) }
    }

    pub(crate) fn hold(&self, module: &[u8]) -> Digest {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(module).expect("room for a module");
        let digest = Digest::from_bytes(sha2::Sha256::digest(module).into());
        self.blobs.0.lock().insert(digest, Arc::new(file));
        digest
    }

    pub(crate) fn forget(&self, digest: &Digest) {
        self.blobs.0.lock().remove(digest);
    }

    /// Other bytes under the same digest.
    pub(crate) fn damage(&self, digest: &Digest, bytes: &[u8]) {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(bytes).expect("room for a module");
        self.blobs.0.lock().insert(*digest, Arc::new(file));
    }

    pub(crate) async fn admit(&self, module: &[u8]) -> Result<dhow_core::ports::Artifact, Refusal> {
        let digest = self.hold(module);
        self.engine.admit(&digest, &|_| ()).await
    }

    /// A committed guest, ready to be called.
    pub(crate) fn target(
        &self,
        guest: &str,
        settle: impl FnOnce(&mut Template),
    ) -> dhow_engine::Target {
        let module = dhow_testkit::guest(guest);
        let is_handler = guest.starts_with("http") || guest == "old-sdk";
        self.target_of(module, if is_handler { Abi::Http } else { Abi::Command }, settle)
    }

    pub(crate) fn target_of(
        &self,
        module: &[u8],
        abi: Abi,
        settle: impl FnOnce(&mut Template),
    ) -> dhow_engine::Target {
        let mut template = Template::default();
        settle(&mut template);
        self.engine.target(Arc::new(revision(self.hold(module), abi, template)))
    }

    /// A function whose module nobody holds.
    pub(crate) fn engine_target_of_nothing(&self) -> dhow_engine::Target {
        let nowhere = Digest::from_bytes([0; 32]);
        self.engine.target(Arc::new(revision(nowhere, Abi::Command, Template::default())))
    }

    pub(crate) fn call<B>(&self, request: Request<B>) -> Call<B> {
        let id = CallId(u128::from(self.calls.fetch_add(1, Relaxed)));
        let full_uri = request.uri().clone();
        let address = "127.0.0.1:8080".parse().expect("an address");
        Call {
            id,
            request,
            full_uri,
            script_name: String::new(),
            peer: address,
            local: address,
            received: Instant::now(),
            trace: None,
        }
    }

    /// Calls and reads the answer to its end.
    pub(crate) async fn send<B>(
        &self,
        target: &dhow_engine::Target,
        request: Request<B>,
    ) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes, Error = Failure> + Send + Unpin + 'static,
    {
        let response = self.engine.invoke(target, self.call(request)).await?;
        Ok(read(response).await)
    }

    pub(crate) async fn get(
        &self,
        target: &dhow_engine::Target,
        path: &str,
    ) -> Result<Answer, Failure> {
        let request = Request::get(path).header("host", "test").body(full("")).expect("a request");
        self.send(target, request).await
    }

    pub(crate) async fn post(
        &self,
        target: &dhow_engine::Target,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Answer, Failure> {
        let body = body.into();
        let request = Request::post(path)
            .header("host", "test")
            .header("content-length", body.len())
            .body(full(body))
            .expect("a request");
        self.send(target, request).await
    }

    /// The outcome of the last call, which may come a moment after its answer.
    pub(crate) async fn outcome(&self) -> Outcome {
        let last = u128::from(self.calls.load(Relaxed) - 1);
        for _ in 0..3000 {
            let is_last = |outcome: &&Outcome| outcome.call.0 == last;
            let found = self.heard.outcomes.lock().iter().rfind(is_last).cloned();
            if let Some(outcome) = found {
                return outcome;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("call {last} left no outcome");
    }
}

fn revision(digest: Digest, abi: Abi, template: Template) -> Revision {
    let function = FunctionName::parse("guest").expect("a name");
    let program = "guest.wasm".to_owned();
    Revision { function, number: 1, digest, image: None, program, abi, template }
}

pub(crate) async fn read<B>(response: Response<B>) -> Answer
where
    B: Body<Data = Bytes, Error = Failure>,
{
    let (head, body) = response.into_parts();
    let mut body = std::pin::pin!(body);
    let (mut bytes, mut cut) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => bytes.extend_from_slice(&data),
            // Trailers: who wants them reads frame by frame.
            Ok(Err(_)) => {}
            Err(failure) => {
                cut = Some(failure);
                break;
            }
        }
    }
    let (status, headers) = (head.status.as_u16(), head.headers);
    Answer { status, headers, body: bytes.into(), cut }
}

impl Blobs for Held {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        let held = self.0.lock().get(digest).cloned();
        held.ok_or(io::ErrorKind::NotFound)?.reopen()
    }
}

struct Observer(Arc<Heard>);

impl Observe for Observer {
    fn record(&self, _revision: &Revision) -> Arc<dyn Record> {
        Arc::new(Recorder(self.0.clone()))
    }
}

struct Recorder(Arc<Heard>);

impl Record for Recorder {
    fn started(&self) {}

    fn line(&self, call: CallId, stream: Stream, line: &[u8]) {
        let line = String::from_utf8_lossy(line).into_owned();
        self.0.lines.lock().push((call, stream, line));
    }

    fn ended(&self, outcome: Outcome) {
        self.0.outcomes.lock().push(outcome);
    }
}
