//! The engine: takes modules in, runs calls. Everything it owns is started here.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use dhow_core::abi::Abi;
use dhow_core::digest::Digest;
use dhow_core::function::Revision;
use dhow_core::name::Label;
use dhow_core::outcome::{Failure, Reason};
use dhow_core::ports::{
    Artifact, Blobs, BoxFuture, Call, Intake, Invoke, Observe, Progress, Refusal,
};
use dhow_core::quota::{Quotas, Usage};
use http::Response;
use http_body::Body;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::background::Background;
use crate::body::GuestBody;
use crate::call::{self, Target};
use crate::compile::cache::{Cache, Entry, Found};
use crate::compile::{child, report};
use crate::config::Config;
use crate::idlers::Idlers;
use crate::load::{Code, Loader, Slot};
use crate::settings;
use crate::tenant::Tenants;
use crate::ticker::Ticker;
use crate::world::World;

/// Descriptors that are left for sockets and files when the number of loaded functions is set.
const DESCRIPTORS_LEFT: u64 = 2000;
/// Code up to this size is mapped on the calling thread; a larger load would hold it up.
const MAP_HERE: u64 = 4 << 20;

/// Runs functions. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) loader: Loader,
    pub(crate) background: Background,
    pub(crate) ticker: Arc<Ticker>,
    /// Instances alive, over all functions.
    pub(crate) instances: Arc<Semaphore>,
    pub(crate) idlers: Arc<Idlers>,
    pub(crate) tenants: Tenants,
    cache: Cache,
    blobs: Arc<dyn Blobs>,
    observe: Arc<dyn Observe>,
    pub(crate) world: World,
    config: Config,
    compiling: Semaphore,
    /// One lock per module under compilation, so that a crowd costs one.
    modules: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    damaged: AtomicU64,
    compile_ms: AtomicU64,
}

/// Figures of an engine, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Functions whose code is mapped.
    pub loaded: usize,
    /// Looks into the code cache that found what they sought.
    pub cache_hits: u64,
    /// Those that found nothing.
    pub cache_misses: u64,
    /// Those that found damaged code.
    pub cache_damaged: u64,
    /// Wall time spent compiling.
    pub compiling: Duration,
}

/// Why an engine can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The code folder can't be used.
    #[error("the folder for compiled code can't be used: {0}")]
    Code(#[source] io::Error),
    /// The folder for secrets can't be used.
    #[error("the folder for guests' secrets can't be used: {0}")]
    Secrets(#[source] io::Error),
    /// wasmtime refused its settings; often too little address space.
    #[error("the WebAssembly engine can't start: {0}")]
    Runtime(String),
    /// A thread can't be started.
    #[error("a thread can't be started: {0}")]
    Thread(#[source] io::Error),
}

impl Engine {
    /// Starts an engine whose modules are `blobs`, whose calls are told to `observe` and whose
    /// guests are granted what `world` has.
    ///
    /// # Errors
    /// When the code folder can't be used, or memory or threads can't be had.
    pub fn start(
        mut config: Config,
        blobs: Arc<dyn Blobs>,
        observe: Arc<dyn Observe>,
        world: World,
    ) -> Result<Self, StartError> {
        config.loaded = config.loaded.min(descriptors());
        let runtime = |error: wasmtime::Error| StartError::Runtime(format!("{error:#}"));
        let ticker = Arc::new(Ticker::start().map_err(StartError::Thread)?);
        let loader = Loader::new(config.clone(), ticker.clone()).map_err(runtime)?;
        let fingerprint = settings::fingerprint_of_all().map_err(runtime)?;
        let cache = Cache::open(&config.code, fingerprint).map_err(StartError::Code)?;
        if let Some(secrets) = &world.secrets {
            crate::host::clear(&secrets.folder).map_err(StartError::Secrets)?;
        }
        let background =
            Background::start(config.background_threads).map_err(StartError::Thread)?;
        Ok(Self(Arc::new(Inner {
            loader,
            background,
            ticker,
            instances: Arc::new(Semaphore::new(config.instances as usize)),
            idlers: Arc::default(),
            tenants: Tenants::default(),
            cache,
            blobs,
            observe,
            world,
            compiling: Semaphore::new(config.compile.parallel.max(1)),
            modules: Mutex::default(),
            counts: Counts::default(),
            config,
        })))
    }

    /// Lets go of code that no call has used for so long. The next call maps it again, from the
    /// cache.
    pub fn let_go_idle(&self, idle: Duration) {
        self.0.loader.let_go_idle(idle);
    }

    /// What a namespace uses now, as far as its quota has it counted.
    pub fn usage(&self, namespace: &Label) -> Usage {
        self.0.tenants.usage(namespace)
    }

    /// Figures of now.
    pub fn stats(&self) -> Stats {
        let counts = &self.0.counts;
        Stats {
            loaded: self.0.loader.loaded(),
            cache_hits: counts.hits.load(Relaxed),
            cache_misses: counts.misses.load(Relaxed),
            cache_damaged: counts.damaged.load(Relaxed),
            compiling: Duration::from_millis(counts.compile_ms.load(Relaxed)),
        }
    }
}

impl Engine {
    /// Removes compiled code of modules that are neither in `keep` nor compiled within `least_age`
    /// before `now`, by this dhow or another one; how many that were. Code in use stays mapped.
    ///
    /// # Errors
    /// When the system refuses; what was removed until then is removed.
    pub fn collect(
        &self,
        keep: &HashSet<Digest>,
        least_age: Duration,
        now: SystemTime,
    ) -> io::Result<usize> {
        self.0.cache.collect(keep, least_age, now)
    }
}

impl Invoke for Engine {
    type Target = Target;
    type Body = GuestBody;

    fn put_quotas(&self, quotas: &Arc<Quotas>) {
        self.0.tenants.put(quotas);
    }

    fn target(&self, revision: Arc<Revision>) -> Target {
        let tenant = self.0.tenants.of(&revision.function.namespace);
        let slot = self.0.loader.slot(revision.digest, revision.abi);
        let record = self.0.observe.record(&revision);
        Target::new(revision, record, slot, tenant, &self.0.world)
    }

    async fn invoke<B>(
        &self,
        target: &Target,
        call: Call<B>,
    ) -> Result<Response<GuestBody>, Failure>
    where
        B: Body<Data = Bytes, Error = Failure> + Send + Unpin + 'static,
    {
        call::invoke(&self.0, target, call).await
    }
}

impl Intake for Engine {
    fn admit<'a>(
        &'a self,
        digest: &'a Digest,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Artifact, Refusal>> {
        Box::pin(async move {
            // Its code may be cached still, but cannot be made again without it.
            drop(self.0.blobs.claim(digest).map_err(|error| unreadable(digest, &error))?);
            let entry = self.0.entry(digest, progress).await?;
            let artifact = entry.look.artifact(*digest);
            self.0.fitting(artifact, entry).await
        })
    }
}

impl Inner {
    /// The code of `slot`, loaded now if it is not. One load serves every waiter.
    pub(crate) async fn load(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<Arc<Code>, Failure> {
        let _loading = slot.loading.lock().await;
        if let Some(code) = slot.code(self.loader.origin(), Instant::now()) {
            return Ok(code);
        }
        let entry = self.found_or_compiled(slot.digest).await.map_err(not_ready)?;
        let size = std::fs::metadata(&entry.path).map_or(0, |file| file.len());
        let loaded = if size <= MAP_HERE {
            self.loader.load(slot, &entry)
        } else {
            let (inner, slot) = (self.clone(), slot.clone());
            tokio::task::spawn_blocking(move || inner.loader.load(&slot, &entry))
                .await
                .unwrap_or_else(|panic| Err(wasmtime::Error::new(panic)))
        };
        loaded.map_err(|error| {
            tracing::error!(module = %slot.digest, error = format!("{error:#}"), "can't load code");
            Failure::new(Reason::NotReady, format!("the code can't be loaded: {error:#}"))
        })
    }

    /// The cache's entry for a module that a call needs. Where it has to be compiled, that goes on
    /// when the call is over: the next one finds it, however short its own time is.
    async fn found_or_compiled(self: &Arc<Self>, digest: Digest) -> Result<Entry, Refusal> {
        if let Some(entry) = self.cache.unchanged(&digest) {
            self.counts.hits.fetch_add(1, Relaxed);
            return Ok(entry);
        }
        let inner = self.clone();
        let compiled =
            self.background.spawn(async move { inner.entry(&digest, &|_| ()).await }).await;
        compiled.unwrap_or_else(|panic| Err(report::not_kept(io::Error::other(panic))))
    }

    /// The cache's entry for a module, compiled now if there is none.
    async fn entry(
        &self,
        digest: &Digest,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Entry, Refusal> {
        let turn = self.modules.lock().entry(*digest).or_default().clone();
        let result = {
            let _turn = turn.lock().await;
            self.find_or_compile(digest, progress).await
        };
        drop(turn);
        let mut modules = self.modules.lock();
        if modules.get(digest).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            modules.remove(digest);
        }
        result
    }

    /// The artifact with the ways alone in which calls could run it.
    async fn fitting(
        self: &Arc<Self>,
        mut artifact: Artifact,
        entry: Entry,
    ) -> Result<Artifact, Refusal> {
        let inner = self.clone();
        let fitted = tokio::task::spawn_blocking(move || {
            let mut refused = None;
            artifact.abis.retain(|abi| {
                // The others are refused by name, by who decides what this version runs.
                !matches!(abi, Abi::Http | Abi::Command)
                    || inner.loader.fits(*abi, &entry).map_err(|why| refused = Some(why)).is_ok()
            });
            match refused {
                Some(error) if artifact.abis.is_empty() => Err(error),
                _ => Ok(artifact),
            }
        });
        let fitted = fitted.await.unwrap_or_else(|panic| Err(wasmtime::Error::new(panic)));
        fitted.map_err(|error| Refusal {
            reason: "unsupported",
            message: format!("the module can't be run: {error:#}"),
            hint: "build it for wasi:http 0.2 or 0.3, wasi:cli 0.2 or WASI preview 1, with \
                   memories and tables of a common size"
                .to_owned(),
        })
    }

    async fn find_or_compile(
        &self,
        digest: &Digest,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Entry, Refusal> {
        match self.cache.find(digest).map_err(report::not_kept)? {
            Found::Sound(entry) => {
                self.counts.hits.fetch_add(1, Relaxed);
                progress(Progress::Cached);
                return Ok(entry);
            }
            Found::Missing => self.counts.misses.fetch_add(1, Relaxed),
            Found::Damaged => self.counts.damaged.fetch_add(1, Relaxed),
        };
        progress(Progress::Inspecting);
        let module = self.blobs.open(digest).map_err(|error| unreadable(digest, &error))?;
        let _turn = self.compiling.acquire().await;
        let began = Instant::now();
        let new = self.cache.fresh();
        let look = {
            let compile = child::compile(
                &self.config.compiler,
                &self.config.compile,
                (*digest, module),
                &new,
            );
            tell_while(compile, |elapsed| progress(Progress::Compiling(elapsed))).await
        };
        let kept =
            look.and_then(|look| self.cache.keep(digest, &new, look).map_err(report::not_kept));
        let took = began.elapsed();
        self.counts
            .compile_ms
            .fetch_add(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), Relaxed);
        match &kept {
            Ok(_) => progress(Progress::Compiled(took)),
            // There also when the child was stopped half-way; what stays is cleared at start.
            Err(_) => drop(std::fs::remove_file(&new)),
        }
        kept
    }
}

/// Awaits `future` and calls `tell` now and every half second with the time gone.
async fn tell_while<T>(future: impl Future<Output = T>, tell: impl Fn(Duration)) -> T {
    let began = Instant::now();
    let mut future = std::pin::pin!(future);
    loop {
        tell(began.elapsed());
        match tokio::time::timeout(child::PROGRESS_EVERY, &mut future).await {
            Ok(result) => return result,
            Err(_) => continue,
        }
    }
}

/// How many functions may be loaded, each of which keeps a descriptor.
fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let most =
        limit.map_or(u64::MAX, |limit| limit.saturating_sub(DESCRIPTORS_LEFT).max(limit / 4));
    usize::try_from(most).unwrap_or(usize::MAX)
}

fn unreadable(digest: &Digest, error: &io::Error) -> Refusal {
    Refusal {
        reason: "not-found",
        message: format!("the module {digest} can't be read: {error}"),
        hint: "deploy it again".to_owned(),
    }
}

fn not_ready(refusal: Refusal) -> Failure {
    let reason = match refusal.reason {
        "storage-full" => Reason::StorageFull,
        _ => Reason::NotReady,
    };
    Failure::new(reason, refusal.message)
}
