//! Handlers whose instances answer more than one call, because their users asked for it.
//!
//! Each instance is a task that takes jobs: one at a time, or, for `wasi:http@0.3`, as many at a
//! time as `reuse.concurrent` says. It ends after `reuse.calls` calls, after `reuse.idle` without
//! one, when its revision is no longer in force, when it idles while the server has no instance
//! left for a call, or with the first call that fails: what a failed call left behind is nobody's.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use dhow_core::outcome::Failure;
use dhow_core::ports::Stream;
use futures_channel::oneshot;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::{Method, Request, Response};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{sleep, sleep_until, timeout, timeout_at};
use wasmtime::{AsContextMut as _, Store};
use wasmtime_wasi_http::handler::{Prepared, Proxy};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpView as _};

use crate::body::GuestBody;
use crate::call::failure::failure_of;
use crate::call::guest::{Current, Drive, Guest, Serves};
use crate::call::http::{Head, said_error, said_nothing};
use crate::call::{Running, Target, TargetInner, granted, is_bodiless};
use crate::engine::Inner;
use crate::flight::Flight;
use crate::host::{self, Lines, State, Wasi, Writer};
use crate::idlers::Idlers;
use crate::load::Code;
use crate::meter::{Meter, Scope, Stop};

/// The instances of one revision that may take another call.
#[derive(Default)]
pub(super) struct Instances {
    open: Mutex<Vec<Instance>>,
    serial: AtomicU64,
}

struct Instance {
    id: u64,
    jobs: mpsc::UnboundedSender<Job>,
    /// Calls that it serves now.
    busy: Arc<AtomicU32>,
    /// Calls that it may still take.
    left: u32,
}

/// One call for an instance.
struct Job {
    request: Request<WasiBody>,
    head: oneshot::Sender<Head>,
    flight: Arc<Flight>,
    busy: Busy,
    /// Dropped once the flight knows how the call ended.
    serving: oneshot::Sender<()>,
}

/// A job that has begun.
struct Call {
    request: Request<WasiBody>,
    head: oneshot::Sender<Head>,
    flight: Arc<Flight>,
    busy: Busy,
}

/// One of the calls that an instance serves. An instance that ends in mid-call stays busy: it must
/// not be given another one in its last moment.
struct Busy(Arc<AtomicU32>);

impl Busy {
    fn done(self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

pub(super) async fn answer(
    running: Running<'_>,
    code: &Arc<Code>,
    method: Method,
    request: Request<WasiBody>,
) -> Result<Response<GuestBody>, Failure> {
    let flight = running.flight;
    let (sender, head) = oneshot::channel();
    let (serving, ended) = oneshot::channel();
    dispatch(running, code, request, sender, serving);
    let deadline = tokio::time::Instant::from_std(flight.deadline());
    let answered = async {
        let head = head.await;
        if head.is_err() {
            // No head will come. Why not, the instance says at its very end, which shows as an
            // error: nothing is ever sent here.
            let _ = ended.await;
        }
        head
    };
    let head = match timeout_at(deadline, answered).await {
        Ok(head) => head,
        Err(_) => return Err(flight.wall_time_over()),
    };
    let response = match (flight.failure(), head) {
        (Some(failure), _) => return Err(failure),
        (None, Ok(Ok(response))) => response,
        (None, Ok(Err(error))) => return Err(said_error(&error, flight)),
        (None, Err(_)) => return Err(said_nothing()),
    };
    flight.set_status(response.status());
    let bodiless = is_bodiless(&method, response.status());
    Ok(GuestBody::answer(flight, response, false, bodiless))
}

/// Gives the call to an open instance, or to a new one, which takes the call's place among the
/// server's instances.
fn dispatch(
    running: Running<'_>,
    code: &Arc<Code>,
    request: Request<WasiBody>,
    head: oneshot::Sender<Head>,
    serving: oneshot::Sender<()>,
) {
    let flight = running.flight;
    let reuse = &flight.target.revision().template.reuse;
    let instances = &flight.target.0.reused;
    let mut open = instances.open.lock();
    let free = |instance: &Instance| instance.busy.load(Relaxed) < reuse.concurrent;
    let index = match open.iter().position(free) {
        Some(index) => index,
        None => {
            let (jobs, receiver) = mpsc::unbounded_channel();
            let id = instances.serial.fetch_add(1, Relaxed);
            start(running, code, receiver, id);
            open.push(Instance { id, jobs, busy: Arc::default(), left: reuse.calls });
            open.len() - 1
        }
    };
    let instance = &mut open[index];
    instance.busy.fetch_add(1, Relaxed);
    instance.left -= 1;
    let busy = Busy(instance.busy.clone());
    // An instance that has just failed drops the job, and with it the head's sender.
    drop(instance.jobs.send(Job { request, head, flight: flight.clone(), busy, serving }));
    if instance.left == 0 {
        // Its channel closes, and it ends after this call.
        open.swap_remove(index);
    }
}

/// Starts an instance in a task of its own.
fn start(running: Running<'_>, code: &Arc<Code>, jobs: mpsc::UnboundedReceiver<Job>, id: u64) {
    let (engine, flight) = (running.engine.clone(), running.flight);
    let together = flight.target.revision().template.reuse.concurrent > 1;
    let limits = flight.limits();
    let scope = if together { Scope::Slice } else { Scope::Call };
    let rates = (flight.target.0.rate.clone(), flight.target.0.tenant.limited());
    let meter = Arc::new(Meter::new(scope, limits.cpu_time, rates, engine.ticker.clone()));
    let current = Arc::new(Current::default());
    let serves = match together {
        true => Serves::Together,
        false => Serves::Calls(current.clone()),
    };
    let life = Life {
        target: Arc::downgrade(&flight.target.0),
        idle: flight.target.revision().template.reuse.idle,
        timeout: limits.timeout,
        idlers: engine.idlers.clone(),
        meter: meter.clone(),
        current,
        jobs,
        id,
        serving: Mutex::default(),
    };
    let target = flight.target.clone();
    let live = live(life, engine.clone(), target, code.clone(), running.place);
    let guest = Guest::new(meter, serves, live);
    tokio::spawn(async move { Drive::new(guest).finish(&engine).await });
}

/// What an instance is while it lives.
struct Life {
    /// Gone once the revision is no longer in force and its last call has ended: the channel
    /// closes with it.
    target: Weak<TargetInner>,
    /// How long it waits for a call.
    idle: Duration,
    /// How long the guest's own tasks may go on after its last call.
    timeout: Duration,
    idlers: Arc<Idlers>,
    meter: Arc<Meter>,
    current: Arc<Current>,
    jobs: mpsc::UnboundedReceiver<Job>,
    id: u64,
    /// The calls that it serves now: what ends the instance ends them.
    serving: Mutex<Vec<(Arc<Flight>, oneshot::Sender<()>)>>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.retire();
        self.current.set(None);
    }
}

impl Life {
    /// Takes no further call. Those already sent are still in the channel.
    fn retire(&self) {
        if let Some(target) = self.target.upgrade() {
            target.reused.open.lock().retain(|instance| instance.id != self.id);
        }
    }

    /// The next call; `None` when there will be none.
    async fn next(&mut self) -> Option<Call> {
        let idlers = self.idlers.clone();
        let idle = match self.serving.lock().is_empty() {
            true => Some(idlers.enter()),
            false => None,
        };
        let job = tokio::select! {
            biased;
            job = self.jobs.recv() => job,
            () = sleep(self.idle) => None,
            () = idlers.asked_to_leave(), if idle.is_some() => None,
        };
        let job = match job {
            Some(job) => job,
            None => {
                self.retire();
                // What was sent before that is still there.
                self.jobs.recv().await?
            }
        };
        Some(self.begin(job))
    }

    fn begin(&self, job: Job) -> Call {
        let Job { request, head, flight, busy, serving } = job;
        flight.served_by(&self.meter);
        // The first call says it again, with the time that its instance took.
        flight.instantiated(Instant::now());
        self.current.set(Some(flight.clone()));
        self.meter.restart();
        self.serving.lock().push((flight.clone(), serving));
        Call { request, head, flight, busy }
    }

    /// A call ended and the instance goes on.
    fn served(&self, flight: &Arc<Flight>, busy: Busy) {
        let mut serving = self.serving.lock();
        serving.retain(|(serving, _)| !Arc::ptr_eq(serving, flight));
        if serving.is_empty() {
            // Its outcome is written when the last who holds it lets go.
            self.current.set(None);
        }
        busy.done();
    }

    /// The instance failed, and with it every call that it serves.
    fn fail(&self, error: &wasmtime::Error) {
        let failure = failure_of(error, &self.meter);
        self.retire();
        for (flight, _) in self.serving.lock().drain(..) {
            flight.fail(failure.clone());
        }
    }
}

async fn live(
    mut life: Life,
    engine: Arc<Inner>,
    target: Target,
    code: Arc<Code>,
    place: OwnedSemaphorePermit,
) {
    let began = Instant::now();
    let Some(first) = life.next().await else { return };
    let mut store = match store(&life, &engine, &target, &code).await {
        Ok(store) => store,
        Err(failure) => {
            life.fail(&wasmtime::Error::new(Stop(failure)));
            return;
        }
    };
    // Its revision may be replaced while the instance lives.
    drop(target);
    let proxy = match &*code {
        Code::Proxy(pre) => pre.instantiate_async(&mut store).await.map(Proxy::P2),
        Code::Service(pre) => pre.instantiate_async(&mut store).await.map(Proxy::P3),
        Code::Module(_) | Code::Command(_) => return,
    };
    let proxy = match proxy {
        Ok(proxy) => proxy,
        Err(error) => {
            life.fail(&error);
            return;
        }
    };
    first.flight.instantiated(began);
    match &proxy {
        Proxy::P2(_) => one_by_one(&mut life, &mut store, &proxy, first).await,
        Proxy::P3(_) => together(&mut life, &mut store, &proxy, first).await,
    }
    drop(store);
    drop(place);
}

async fn store(
    life: &Life,
    engine: &Inner,
    target: &Target,
    code: &Code,
) -> Result<Store<State>, Failure> {
    let writer = || Writer::Current(life.current.clone());
    let mut builder = wasmtime_wasi::WasiCtxBuilder::new();
    builder.stdout(Lines::new(writer(), Stream::Stdout).stream());
    builder.stderr(Lines::new(writer(), Stream::Stderr).stream());
    let given = granted(engine, target, &mut builder).await?;
    let wasi = Wasi { builder, given };
    Ok(host::store(code.engine(), wasi, target, writer(), life.meter.clone()))
}

async fn one_by_one(life: &mut Life, store: &mut Store<State>, proxy: &Proxy, first: Call) {
    let Proxy::P2(proxy) = proxy else { return };
    let mut job = Some(first);
    while let Some(Call { request, head, flight, busy }) = job.take() {
        let result = async {
            let mut http = store.data_mut().http();
            let request = http.new_incoming_request(Scheme::Http, request)?;
            let out = http.new_response_outparam_from_callback(move |answer| {
                drop(head.send(answer.map_err(wasmtime::Error::from)));
            })?;
            proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, out).await
        }
        .await;
        if let Err(error) = result {
            life.fail(&error);
            return;
        }
        life.served(&flight, busy);
        drop(flight);
        job = life.next().await;
    }
}

async fn together(life: &mut Life, store: &mut Store<State>, proxy: &Proxy, first: Call) {
    let served = store
        .run_concurrent(async |accessor| -> wasmtime::Result<()> {
            let serve = async |call: Call| -> wasmtime::Result<(bool, Arc<Flight>, Busy)> {
                let Call { request, head, flight, busy } = call;
                let prepared = accessor.with(|mut store| {
                    Prepared::new(store.as_context_mut(), proxy, request, State::http, head)
                })?;
                let sent = prepared.run(accessor, sleep_until(flight.deadline().into())).await?;
                Ok((sent, flight, busy))
            };
            let mut calls = FuturesUnordered::new();
            calls.push(serve(first));
            let mut more = true;
            let mut overran = false;
            while more || !calls.is_empty() {
                tokio::select! {
                    Some(served) = calls.next(), if !calls.is_empty() => {
                        let (sent, flight, busy) = served?;
                        if sent {
                            life.served(&flight, busy);
                        } else {
                            // A task that is over its time can't be ended alone.
                            flight.wall_time_over();
                            overran = true;
                            life.retire();
                        }
                    }
                    call = life.next(), if more => match call {
                        Some(call) => calls.push(serve(call)),
                        None => more = false,
                    },
                }
            }
            if !overran {
                let rest = poll_fn(|cx| accessor.poll_no_interesting_tasks(cx));
                if timeout(life.timeout, rest).await.is_err() {
                    tracing::debug!("a guest's own tasks went on for too long after its last call");
                }
            }
            Ok(())
        })
        .await;
    if let Err(error) = served.flatten() {
        life.fail(&error);
    }
}
