//! `dhow up`: everything in one process, in the order in which it depends on each other; and its
//! end, in the other order.

mod access;
mod calls;
mod doors;
mod gate;
mod grants;
mod handover;
mod jwks;
mod keeping;
mod observe;
mod tls;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use dhow_core::name::Label;
use dhow_core::ports::Catalog as _;
use dhow_core::quantity::{parse_bytes, parse_duration};
use dhow_engine::{Config as EngineConfig, Engine};
use dhow_gateway::admin::{self, Admin, Ending};
use dhow_gateway::asynchronous::Redispatch;
use dhow_gateway::audit::{self, Audit};
use dhow_gateway::gateway::Gateway;
use dhow_gateway::guard::{Guards, KeySets};
use dhow_gateway::logs::{self, Logs};
use dhow_gateway::metrics::{EngineFigures, Metrics};
use dhow_gateway::observer::Observer;
use dhow_gateway::openfaas::door::Door as SystemDoor;
use dhow_gateway::scrape;
use dhow_gateway::table::Table;
use dhow_http::Config as FrontConfig;
use dhow_store::backup::copy::Copier;
use dhow_store::blobs::{BlobStore, Room};
use dhow_store::catalog::{EmbeddedCatalog, KEPT_REVISIONS};
use dhow_store::folder::DataFolder;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::access::Access;
use self::calls::Calls;
use self::doors::{Api, Front};
use self::handover::giver::{Door, Given, Next};
use self::handover::line::Line;
use self::handover::taker::Predecessor;
use self::keeping::Keeping;
use self::observe::Export;
use self::tls::{Spoken, TlsArgs, scheme};
use crate::cli::error::CommandError;
use crate::cli::output::Output;
use crate::cli::settings::Settings;
use crate::cli::trust::Trust;
use crate::cli::{self, apply};
use crate::images::server::{Own, ServerImages};
use crate::images::{self, RegistryArgs};
use crate::local::this_program;
use crate::{backup, modules, notify};

/// The ports' names, for people and for a dhow that takes over.
const GATEWAY: &str = "gateway";
const ADMIN: &str = "admin";
const METRICS: &str = "metrics";

/// How often blobs that nobody needs are collected, and how old they must be for it: a deploy
/// uploads first and is recorded a moment later.
const COLLECT_EVERY: Duration = Duration::from_secs(3600);

/// Where to listen, what to keep, how much of what.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where functions are called
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the admin API is
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    admin: SocketAddr,
    /// Where metrics are
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8082")]
    metrics: SocketAddr,
    /// The data folder [default: $XDG_DATA_HOME/dhow]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Take ports and data folder over from the dhow that has them, with no request lost; where
    /// none has, start as always
    #[arg(long)]
    take_over: bool,
    /// Manifests to apply once everything runs
    #[arg(long, value_name = "FILE")]
    apply: Vec<PathBuf>,
    /// Ask for credentials on loopback addresses, too
    #[arg(long, conflicts_with = "insecure")]
    auth: bool,
    /// Let the admin API and the metrics be reached from other machines without credentials
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    tls: TlsArgs,
    /// Instances alive at once, over all functions
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    instances: u32,
    /// Functions whose code is kept in memory
    #[arg(long, value_name = "N", default_value = "4000")]
    loaded: NonZeroUsize,
    /// How long code is kept in memory that no call uses
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = |text: &str| parse_duration(text))]
    code_idle: Duration,
    /// Revisions kept of each function; those in force or weighted are kept besides
    #[arg(long, value_name = "N", default_value_t = KEPT_REVISIONS)]
    keep_revisions: NonZeroUsize,
    /// The most bytes of a module
    #[arg(long, value_name = "SIZE", default_value = "64Mi", value_parser = |text: &str| parse_bytes(text))]
    module_size: u64,
    /// Bytes of all modules together; what no revision needs makes room
    #[arg(long, value_name = "SIZE", default_value = "20Gi", value_parser = |text: &str| parse_bytes(text))]
    store_size: u64,
    #[command(flatten)]
    registry: RegistryArgs,
    /// A namespace whose images may be pulled with the server's own credentials (those of Docker's
    /// and podman's files), where no pull secret has any; may be repeated
    #[arg(long, value_name = "NAMESPACE", default_value = "default")]
    registry_credentials_for: Vec<Label>,
    /// Connections at once
    #[arg(long, value_name = "N", default_value = "10000")]
    connections: NonZeroUsize,
    /// How long a request's head may take, and an idle connection be kept
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = |text: &str| parse_duration(text))]
    head_timeout: Duration,
    /// The longest pause in a request's body, or of a client that reads its answer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = |text: &str| parse_duration(text))]
    body_stall: Duration,
    /// How long to serve on after /readyz has failed, at the end
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = |text: &str| parse_duration(text))]
    drain_delay: Duration,
    /// How long calls in flight may take, at the end
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = |text: &str| parse_duration(text))]
    drain_timeout: Duration,
    #[command(flatten)]
    calls: calls::Args,
    #[command(flatten)]
    observe: observe::Args,
    #[command(flatten)]
    grants: grants::Args,
}

/// Serves until a signal says to end.
///
/// # Errors
/// When a port, the data folder or the engine can't be had.
pub fn run(
    args: &Args,
    environment: fn(&str) -> Option<String>,
    output: &mut Output,
) -> Result<(), CommandError> {
    observe::begin_log(&args.observe);
    let otlp = observe::otlp(&args.observe, environment)?;
    raise_descriptors();
    let data = data_folder(args.data.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("dhow-control")
        .enable_all()
        .build()
        .map_err(failure)?;
    runtime.block_on(serve(args, data, otlp, output))?;
    // What still runs is background work that nobody waits for.
    runtime.shutdown_background();
    Ok(())
}

/// The listeners, bound.
struct Ports {
    gateway: TcpListener,
    admin: TcpListener,
    metrics: TcpListener,
}

impl Ports {
    /// Binds those that `predecessor` does not have.
    fn bind(args: &Args, mut predecessor: Option<&mut Predecessor>) -> Result<Self, CommandError> {
        let mut given = |name: &str, address| predecessor.as_mut()?.listener(name, address);
        let mut bind = |name: &str, option: &str, address: SocketAddr| {
            let bound = match given(name, address) {
                Some(listener) => Ok(listener),
                None => TcpListener::bind(address),
            };
            let bound = bound.and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            bound.map_err(|error| {
                CommandError::failure(format!("{option} {address} can't be listened on: {error}"))
                    .hint(format!("choose another address with {option}, or end what holds it"))
            })
        };
        Ok(Self {
            gateway: bind(GATEWAY, "--listen", args.listen)?,
            admin: bind(ADMIN, "--admin", args.admin)?,
            metrics: bind(METRICS, "--metrics", args.metrics)?,
        })
    }

    /// The same once more, for a dhow that takes over.
    fn given(&self) -> Result<Given, CommandError> {
        let ports = [(GATEWAY, &self.gateway), (ADMIN, &self.admin), (METRICS, &self.metrics)];
        let given = ports.map(|(name, listener)| Ok((name, listener.try_clone()?)));
        let given: io::Result<Vec<_>> = given.into_iter().collect();
        Ok(Given(given.map_err(failure)?))
    }
}

async fn serve(
    args: &Args,
    data: &Path,
    otlp: Option<dhow_otlp::config::Config>,
    output: &mut Output,
) -> Result<(), CommandError> {
    let mut predecessor = match args.take_over {
        true => Predecessor::find(data).await?,
        false => None,
    };
    // Before anything is touched: a port in use is the commonest fault.
    let ports = Ports::bind(args, predecessor.as_mut())?;
    if let Some(predecessor) = &predecessor {
        output.note(format_args!("taking over from dhow {}", predecessor.version()));
        predecessor.release().await?;
    }
    let folder = Arc::new(DataFolder::open(data).map_err(failure)?);
    let catalog =
        Arc::new(EmbeddedCatalog::open_keeping(&folder, args.keep_revisions).map_err(failure)?);
    let blobs = Arc::new(BlobStore::open(&folder, room(args, &catalog)).map_err(failure)?);
    let images = Arc::new(server_images(args, data, &catalog, &blobs)?);
    let metrics = Metrics::new();
    let logs = Logs::start(logs::Config::new(data.join("logs")), &metrics).map_err(failure)?;
    let audit = Audit::open(audit::Config::new(data.join("audit")), &metrics).map_err(failure)?;
    let export = Export::start(otlp, &metrics)?;
    let observer = Observer::with_traces(metrics.clone(), logs.clone(), export.traces());
    let addresses = Addresses::of(&ports)?;
    let world =
        grants::world(&args.grants, &addresses, data, catalog.clone(), predecessor.is_none())?;
    let observe = Arc::new(observer.clone());
    let engine = Engine::start(engine_config(args, data)?, blobs.clone(), observe, world)
        .map_err(|error| failure(error).hint("fewer --instances need less address space"))?;
    show_engine(&metrics, engine.clone());

    let keeping = Keeping::new(folder.clone(), catalog.clone());
    let stop = CancellationToken::new();
    let spoken = Spoken::open(&args.tls, &addresses, &stop)?;
    let access = Access::open(args, &addresses, &folder, catalog.clone())?;
    let rule = calls::rule(&args.calls, &addresses);
    let guards = Guards::new(access.admin.clone(), KeySets::new(jwks::fetch(rule.clone())));
    let table = Arc::new(Table::new(guards));
    table.apply(&engine, &catalog.snapshot());
    tokio::spawn(stop.clone().run_until_cancelled_owned(follow(
        catalog.clone(),
        table.clone(),
        engine.clone(),
    )));
    let idle = let_go_idle(engine.clone(), args.code_idle);
    tokio::spawn(stop.clone().run_until_cancelled_owned(idle));
    tokio::spawn(stop.clone().run_until_cancelled_owned(collect(
        catalog.clone(),
        blobs.clone(),
        images.clone(),
        engine.clone(),
        keeping.clone(),
        // A dhow before this one may need its code for a while.
        if predecessor.is_some() { COLLECT_EVERY } else { Duration::ZERO },
    )));

    // Not before the manifests of `--apply` are in force, unless there was a dhow before.
    let ready = Arc::new(AtomicBool::new(predecessor.is_some()));
    let given = ports.given()?;
    let redispatch = Redispatch::new(engine.clone(), table.clone(), export.traces());
    let redispatch = Arc::new(redispatch);
    let mut calls = Calls::new(&args.calls, data, rule, &metrics, redispatch);
    if predecessor.is_none() {
        calls.open()?;
    }
    let tokens = catalog.clone();
    let api = Admin {
        secrets: catalog.clone(),
        catalog: catalog.clone(),
        usage: {
            let engine = engine.clone();
            Arc::new(move |namespace| engine.usage(namespace))
        },
        intake: Arc::new(engine.clone()),
        uploads: blobs.clone(),
        images,
        backup: Arc::new(Copier::new(
            folder,
            (*blobs).clone(),
            vec![catalog.clone(), calls.gate()],
            &backup::CHECKS,
        )),
        calls: calls.gate(),
        observer,
        logs: logs.clone(),
        audit,
        applied: {
            let table = table.clone();
            Arc::new(move |version| {
                let table = table.clone();
                Box::pin(async move { table.applied(version).await })
            })
        },
        gateway_url: format!("{}://{}", scheme(spoken.gateway.as_ref()), addresses.gateway),
        version: env!("CARGO_PKG_VERSION"),
        tokens,
        credentials: access.admin.clone(),
        own: access.own_admin(&addresses, &spoken),
        upload_limit: args.module_size,
        changing: Arc::default(),
    };
    let system = access.system(api.clone(), &addresses, &spoken);
    metrics.set_replicas({
        let system = system.clone();
        Box::new(move || system.replicas())
    });
    let system = Arc::new(SystemDoor::new(system, Handle::current()));
    let gateway = Gateway::new(
        engine.clone(),
        table.clone(),
        metrics.clone(),
        args.body_stall,
        ready.clone(),
        calls.front(&args.calls, &addresses, &spoken),
        system.clone(),
    );
    let gateway = Arc::new(gateway.with_traces(export.traces()));
    let mut front =
        Front::new(ports.gateway, gateway, system, front_config(args, &spoken), metrics.clone());
    front.open()?;
    let mut api = Api::new(ports.admin, admin::router(api), spoken.admin.clone());
    let scrape =
        scrape::router(metrics, access.own_metrics(&addresses, &spoken), access.metrics.clone());
    let mut scrape = Api::new(ports.metrics, scrape, spoken.metrics.clone());
    scrape.open()?;
    if let Some(predecessor) = predecessor.take() {
        predecessor.serving().await?;
        calls.open()?;
        predecessor.taken().await;
    }
    api.open()?;
    let door = Door::open(data).map_err(failure)?;

    apply_manifests(args, &addresses, &access, &spoken, output).await?;
    ready.store(true, Relaxed);
    for (name, address, tls) in [
        (GATEWAY, addresses.gateway, &spoken.gateway),
        (ADMIN, addresses.admin, &spoken.admin),
        (METRICS, addresses.metrics, &spoken.metrics),
    ] {
        output.line(format_args!("{name} {}://{address}", scheme(tls.as_ref())))?;
    }
    access.tell(&addresses, &spoken, output);
    tracing::info!(
        gateway = %addresses.gateway,
        admin = %addresses.admin,
        metrics = %addresses.metrics,
        version = env!("CARGO_PKG_VERSION"),
        "dhow serves"
    );
    let needed = catalog.digests().map_err(failure)?;
    modules::check(needed, blobs, catalog).map_err(failure)?;

    notify::ready(addresses.gateway);

    let mut signals = Signals::listen()?;
    let has_given = loop {
        let line = tokio::select! {
            () = signals.end() => break false,
            line = door.visitor(&given) => line,
        };
        tokio::select! {
            () = signals.end() => break false,
            given = give(&line, &mut front, &mut api, &mut calls, &keeping) => {
                if given? {
                    break true;
                }
            }
        }
    };
    tracing::info!(has_given, "dhow ends, when calls in flight have");
    ready.store(has_given, Relaxed);
    notify::stopping(args.drain_delay + args.drain_timeout);
    let ending = if has_given { Ending::POLITE } else { Ending::PROMPT };
    let drained = async {
        // Calls that are under way end, asynchronous ones too, or go back to their queues.
        tokio::join!(front.close(has_given), calls.stop(args.drain_timeout));
        stop.cancel();
        // Both end by themselves once their connections have.
        tokio::join!(api.close(ending), scrape.close(ending));
    };
    tokio::select! {
        () = drained => {}
        // Who says it twice means it.
        () = signals.end() => tracing::warn!("calls in flight were cut"),
    }
    logs.flush().await;
    export.stop().await;
    Ok(())
}

/// Gives everything to the dhow at the other end of the line; whether it has it. If it ends before
/// that, all goes on here as it was.
async fn give(
    line: &Line,
    front: &mut Front,
    api: &mut Api,
    calls: &mut Calls,
    keeping: &Keeping,
) -> Result<bool, CommandError> {
    api.close(Ending::POLITE).await;
    let system = front.close_system().await;
    let let_go = match keeping.let_go().await {
        Ok(let_go) => let_go,
        Err(error) => {
            api.open()?;
            line.refuse(format!("the data folder can't be let go of: {error}")).await;
            return Ok(false);
        }
    };
    let mut next = line.released().await;
    if next == Next::Serving {
        front.retire().await;
        calls.let_go().await;
        next = line.yours().await;
        if next == Next::Gone {
            front.reopen()?;
        }
    }
    if next == Next::Serving {
        system.for_good();
        return Ok(true);
    }
    tracing::warn!("the dhow that was to take over has ended; this one goes on");
    // Its lock says that the other one has no more to do with the folder, nor with the queue.
    let_go.take_again().await;
    calls.take_again().await;
    api.open()?;
    Ok(false)
}

/// Where the ports ended up; 0 was any.
struct Addresses {
    gateway: SocketAddr,
    admin: SocketAddr,
    metrics: SocketAddr,
}

impl Addresses {
    fn of(ports: &Ports) -> Result<Self, CommandError> {
        let of = |listener: &TcpListener| listener.local_addr().map_err(failure);
        Ok(Self {
            gateway: of(&ports.gateway)?,
            admin: of(&ports.admin)?,
            metrics: of(&ports.metrics)?,
        })
    }
}

/// Puts every change of the catalog in force.
async fn follow(catalog: Arc<EmbeddedCatalog>, table: Arc<Table<Engine>>, engine: Engine) {
    let mut changes = catalog.watch();
    loop {
        let snapshot = changes.borrow_and_update().clone();
        table.apply(&engine, &snapshot);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Lets go of code that is not used, so that memory is that of what is.
async fn let_go_idle(engine: Engine, idle: Duration) {
    loop {
        tokio::time::sleep((idle / 4).max(Duration::from_millis(100))).await;
        engine.let_go_idle(idle);
    }
}

/// Removes modules, and code compiled of them, that no revision needs any more, now and then.
async fn collect(
    catalog: Arc<EmbeddedCatalog>,
    blobs: Arc<BlobStore>,
    images: Arc<ServerImages>,
    engine: Engine,
    keeping: Keeping,
    mut pause: Duration,
) {
    loop {
        tokio::time::sleep(std::mem::replace(&mut pause, COLLECT_EVERY)).await;
        let turn = keeping.tidying().await;
        let (catalog, blobs) = (catalog.clone(), blobs.clone());
        let (images, engine) = (images.clone(), engine.clone());
        let collected = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let (needed, now) = (catalog.digests().map_err(io::Error::other)?, SystemTime::now());
            blobs.collect(&needed, COLLECT_EVERY, now)?;
            engine.collect(&needed, COLLECT_EVERY, now)?;
            images.collect(now)
        });
        match collected.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "unused code can't be collected"),
            Err(error) => tracing::error!(%error, "collecting unused code broke off"),
        }
    }
}

/// What is kept of modules.
fn room(args: &Args, catalog: &Arc<EmbeddedCatalog>) -> Room {
    let catalog = catalog.clone();
    let needed = move || catalog.digests().map_err(io::Error::other);
    Room { most: args.store_size, needed: Box::new(needed) }
}

fn server_images(
    args: &Args,
    data: &Path,
    catalog: &Arc<EmbeddedCatalog>,
    blobs: &Arc<BlobStore>,
) -> Result<ServerImages, CommandError> {
    let (secrets, uploads) = (catalog.clone(), blobs.clone());
    // References are their authors' own; where a registry sends the server is nobody's here.
    let registry = args.registry.registry_within(Some(args.calls.egress()))?;
    let namespaces = args.registry_credentials_for.clone();
    let own = Own { keychain: images::keychain(), namespaces };
    let staging = data.join("pulling");
    ServerImages::open(registry, own, secrets, uploads, staging.clone(), args.module_size)
        .map_err(|error| failure(format!("{} can't be made: {error}", staging.display())))
}

/// Applies `--apply` as a client would, to the server that has just started.
async fn apply_manifests(
    args: &Args,
    addresses: &Addresses,
    access: &Access,
    spoken: &Spoken,
    output: &mut Output,
) -> Result<(), CommandError> {
    let settings = Settings {
        server: format!("{}://{}", scheme(spoken.admin.as_ref()), addresses.admin),
        trust: Trust::OwnListener,
        namespace: None,
        token: Some(access.secret.clone()),
        token_is_given: true,
        credentials: None,
    };
    for file in &args.apply {
        let arguments = apply::Args { files: vec![file.clone()], dry_run: false };
        // The client blocks; the server runs on other threads.
        tokio::task::block_in_place(|| {
            cli::run(&cli::Command::Apply(arguments), &settings, output)
        })?;
    }
    Ok(())
}

/// The signals that say to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, CommandError> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failure)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failure)?,
        })
    }

    /// Waits for the next.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn engine_config(args: &Args, data: &Path) -> Result<EngineConfig, CommandError> {
    let mut config = EngineConfig::new(data.join("code"), this_program()?);
    config.instances = args.instances;
    config.loaded = args.loaded.get();
    config.compile.module = args.module_size;
    Ok(config)
}

fn front_config(args: &Args, spoken: &Spoken) -> FrontConfig {
    FrontConfig {
        connections: args.connections.get(),
        head_timeout: args.head_timeout,
        body_stall: args.body_stall,
        write_stall: args.body_stall,
        drain_delay: args.drain_delay,
        drain_timeout: args.drain_timeout,
        tls: spoken.gateway.clone(),
        ..FrontConfig::default()
    }
}

fn show_engine(metrics: &Metrics, engine: Engine) {
    metrics.set_engine(Box::new(move || {
        let stats = engine.stats();
        EngineFigures {
            loaded: stats.loaded as u64,
            cache_hits: stats.cache_hits,
            cache_misses: stats.cache_misses,
            cache_damaged: stats.cache_damaged,
            compile: stats.compiling,
        }
    }));
}

/// The data folder, which the settings name where there is a home.
pub(crate) fn data_folder(named: Option<&Path>) -> Result<&Path, CommandError> {
    named.ok_or_else(|| {
        CommandError::usage("there is no home folder to keep data in")
            .hint("name a folder with --data DIR")
    })
}

/// Every loaded function keeps a descriptor, every connection another.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

fn failure(error: impl std::fmt::Display) -> CommandError {
    CommandError::failure(error.to_string())
}
