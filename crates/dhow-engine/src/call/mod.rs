//! One call, from admission to its answer.
//!
//! [`invoke`] lets the call in, finds the code and hands both to the guest's kind: [`http`] for
//! handlers, [`command`] for programs. [`guest`] drives the instance; [`failure`] names what went
//! wrong with it.

mod cgi;
mod command;
mod failure;
mod guest;
mod http;
mod keeper;
mod reused;
mod stdio;

pub(crate) use guest::Current;

use std::sync::Arc;
use std::time::Instant;

use ::http::{Method, Request, Response};
use bytes::Bytes;
use dhow_core::function::Revision;
use dhow_core::outcome::{Failure, Reason};
use dhow_core::ports::{Call, Egress, Record, Stream};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::timeout_at;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi_http::WasiBody;

use crate::admission::{Admission, Full};
use crate::body::GuestBody;
use crate::engine::Inner;
use crate::flight::Flight;
use crate::host::{Given, Lines, Wasi, Writer};
use crate::load::{Code, Slot};
use crate::meter::{Meter, Scope};
use crate::rate::CpuRate;
use crate::tenant::Tenant;
use crate::world::World;

/// A revision made ready for calls. Holds no code until the first of them.
#[derive(Clone)]
pub struct Target(Arc<TargetInner>);

struct TargetInner {
    revision: Arc<Revision>,
    record: Arc<dyn Record>,
    admission: Admission,
    rate: Option<Arc<CpuRate>>,
    tenant: Arc<Tenant>,
    slot: Arc<Slot>,
    reused: reused::Instances,
    /// The function's way out, where it is granted one.
    egress: Option<Arc<dyn Egress>>,
}

impl Target {
    pub(crate) fn new(
        revision: Arc<Revision>,
        record: Arc<dyn Record>,
        slot: Arc<Slot>,
        tenant: Arc<Tenant>,
        world: &World,
    ) -> Self {
        let limits = &revision.template.limits;
        let rate = limits.cpu_millis.map(|millis| Arc::new(CpuRate::new(millis, Instant::now())));
        let egress = world.outbound.as_ref().and_then(|outbound| outbound.open(&revision));
        Self(Arc::new(TargetInner {
            egress,
            admission: Admission::new(limits.concurrency, limits.queue),
            rate,
            tenant,
            record,
            slot,
            reused: reused::Instances::default(),
            revision,
        }))
    }

    pub(crate) fn revision(&self) -> &Revision {
        &self.0.revision
    }

    pub(crate) fn record(&self) -> &dyn Record {
        &*self.0.record
    }

    pub(crate) fn egress(&self) -> Option<&Arc<dyn Egress>> {
        self.0.egress.as_ref()
    }
}

/// Answers one call. However it ends, also by being dropped, its flight tells the record.
pub(crate) async fn invoke<B>(
    engine: &Arc<Inner>,
    target: &Target,
    mut call: Call<B>,
) -> Result<Response<GuestBody>, Failure>
where
    B: Body<Data = Bytes, Error = Failure> + Send + Unpin + 'static,
{
    let limits = &target.revision().template.limits;
    let rates = (target.0.rate.clone(), target.0.tenant.limited());
    let meter = Meter::new(Scope::Call, limits.cpu_time, rates, engine.ticker.clone());
    let trace = call.trace.take();
    let flight = Flight::new(target.clone(), call.id, call.received, Arc::new(meter), trace);
    let unheard = CancelOnDrop(Some(flight.clone()));
    let answer = match admit(engine, &flight).await {
        Ok(code) => answer(engine, &flight, &code, call).await,
        Err(failure) => Err(failure),
    };
    unheard.heard();
    match answer {
        Ok(response) => Ok(response),
        Err(failure) => {
            let failure = flight.fail(failure);
            flight.answered();
            flight.end_guest();
            Err(failure)
        }
    }
}

/// A place to run, and the code to run there.
async fn admit(engine: &Arc<Inner>, flight: &Flight) -> Result<Arc<Code>, Failure> {
    let target = &flight.target.0;
    let deadline = tokio::time::Instant::from_std(flight.deadline());
    // Before the queue: calls that wait are in flight, too.
    let share = target.tenant.enter(flight.deadline())?;
    match target.admission.try_enter() {
        Some(place) => flight.entered((place, share), false),
        None => match timeout_at(deadline, target.admission.enter()).await {
            Ok(Ok(place)) => flight.entered((place, share), true),
            Ok(Err(Full)) => return Err(full(flight)),
            Err(_) => return Err(flight.wall_time_over()),
        },
    }
    // What earlier calls overdrew of the CPU's rates is waited for before the next.
    if let Some(pause) = flight.meter().debt()
        && timeout_at(deadline, tokio::time::sleep(pause)).await.is_err()
    {
        return Err(flight.wall_time_over());
    }
    let now = Instant::now();
    if let Some(code) = target.slot.code(engine.loader.origin(), now) {
        return Ok(code);
    }
    let code = match timeout_at(deadline, engine.load(&target.slot)).await {
        Ok(code) => code?,
        Err(_) => return Err(flight.wall_time_over()),
    };
    flight.loaded(now.elapsed());
    Ok(code)
}

fn full(flight: &Flight) -> Failure {
    let limits = flight.limits();
    let message = format!(
        "all {} places of the function are taken and {} calls wait for one",
        limits.concurrency, limits.queue
    );
    Failure::new(Reason::Concurrency, message)
}

async fn answer<B>(
    engine: &Arc<Inner>,
    flight: &Arc<Flight>,
    code: &Arc<Code>,
    call: Call<B>,
) -> Result<Response<GuestBody>, Failure>
where
    B: Body<Data = Bytes, Error = Failure> + Send + Unpin + 'static,
{
    let place = engine.idlers.place(&engine.instances).await.ok_or_else(|| {
        Failure::new(Reason::Overloaded, "all instances that this server may hold are in use")
    })?;
    let running = Running { engine, flight, place };
    match &**code {
        Code::Proxy(_) | Code::Service(_) => http::answer(running, code, call).await,
        Code::Module(_) | Code::Command(_) => command::answer(running, code, call).await,
    }
}

/// What a guest's kind needs to run it.
struct Running<'a> {
    engine: &'a Arc<Inner>,
    flight: &'a Arc<Flight>,
    /// One of the server's instances; the guest's future takes it along.
    place: tokio::sync::OwnedSemaphorePermit,
}

impl Running<'_> {
    /// A WASI context with the revision's environment and files; errors go to the log.
    async fn wasi(&self) -> Result<Wasi, Failure> {
        let target = &self.flight.target;
        let mut builder = WasiCtxBuilder::new();
        builder.stderr(Lines::new(Writer::Call(self.flight.clone()), Stream::Stderr).stream());
        let given = granted(self.engine, target, &mut builder).await?;
        Ok(Wasi { builder, given })
    }
}

/// Gives `wasi` the revision's environment and what it is granted in files.
async fn granted(
    engine: &Inner,
    target: &Target,
    wasi: &mut WasiCtxBuilder,
) -> Result<Option<Given>, Failure> {
    let Revision { function, template, .. } = target.revision();
    if !template.env.is_empty() {
        wasi.envs(&template.env);
    }
    let names = &template.grants.secrets;
    if names.is_empty() {
        return Ok(None);
    }
    let unable = |why: String| Failure::new(Reason::NotReady, why);
    let place = engine.world.secrets.as_ref();
    let place = place.ok_or_else(|| unable("no secrets are kept here".to_owned()))?;
    let given = Given::read(place, &function.namespace, names).await?;
    given.show(wasi).map_err(|error| unable(format!("the secrets can't be shown: {error:#}")))?;
    Ok(Some(given))
}

/// Ends the guest when the caller goes away before it has its answer's head.
struct CancelOnDrop(Option<Arc<Flight>>);

impl CancelOnDrop {
    fn heard(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(flight) = &self.0 {
            flight.end_guest();
        }
    }
}

/// The request with its body in the form that guests read. What goes wrong with the body is the
/// call's failure: the guest only sees that the body ended badly.
fn for_guest<B>(flight: &Arc<Flight>, request: Request<B>) -> Request<WasiBody>
where
    B: Body<Data = Bytes, Error = Failure> + Send + Unpin + 'static,
{
    let flight = flight.clone();
    request.map(|body| {
        body.map_err(move |failure| {
            let failure = flight.fail(failure);
            wasmtime_wasi_http::Error::InternalError(Some(failure.message))
        })
        .boxed_unsync()
    })
}

/// Whether an answer to `method` with `status` is sent without its body.
fn is_bodiless(method: &Method, status: ::http::StatusCode) -> bool {
    method == Method::HEAD
        || status.is_informational()
        || status == ::http::StatusCode::NO_CONTENT
        || status == ::http::StatusCode::NOT_MODIFIED
}
