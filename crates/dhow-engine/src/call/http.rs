//! Calls of handlers: `wasi:http/incoming-handler@0.2` and `wasi:http/handler@0.3`.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use dhow_core::outcome::{Failure, Reason};
use dhow_core::ports::{Call, Stream};
use futures_channel::oneshot;
use http::{Request, Response};
use http_body::Body;
use wasmtime::{AsContextMut as _, Store};
use wasmtime_wasi_http::handler::{ExpirationError, Prepared, Proxy};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{self as p2, Scheme};
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::p3::bindings::http::types as p3;
use wasmtime_wasi_http::{WasiBody, WasiHttpView as _};

use crate::body::GuestBody;
use crate::call::failure::failure_of;
use crate::call::guest::{Drive, Guest, Serves};
use crate::call::{Running, for_guest, is_bodiless, reused};
use crate::flight::Flight;
use crate::host::{self, Lines, State, Writer};
use crate::load::Code;

/// How a guest hands over the head of its answer, or the error it says instead.
pub(super) type Head = Result<Response<WasiBody>, wasmtime::Error>;

/// Answers a call with a handler's answer.
pub(super) async fn answer<B>(
    running: Running<'_>,
    code: &Arc<Code>,
    call: Call<B>,
) -> Result<Response<GuestBody>, Failure>
where
    B: Body<Data = Bytes, Error = Failure> + Send + Unpin + 'static,
{
    let flight = running.flight;
    let method = call.request.method().clone();
    let request = for_guest(flight, call.request);
    if !flight.target.revision().template.reuse.is_fresh() {
        return reused::answer(running, code, method, request).await;
    }
    let mut wasi = running.wasi().await?;
    wasi.builder.stdout(Lines::new(Writer::Call(flight.clone()), Stream::Stdout).stream());
    let store = host::store(
        code.engine(),
        wasi,
        &flight.target,
        Writer::Call(flight.clone()),
        flight.meter().clone(),
    );
    let (sender, head) = oneshot::channel();
    let guest = run(store, code.clone(), request, sender, flight.clone(), running.place);
    let mut drive =
        Drive::new(Guest::new(flight.meter().clone(), Serves::Call(flight.clone()), guest));
    let head = drive.until(running.engine, head).await;
    if !matches!(head, Some(Ok(_))) {
        // No head will come. Why not, the guest says at its very end.
        drive.finish(running.engine).await;
    }
    // A guest that failed before its head went out gets the platform's answer, not half its own.
    let response = match (flight.failure(), head) {
        (Some(failure), _) => return Err(failure),
        (None, Some(Ok(Ok(response)))) => response,
        (None, Some(Ok(Err(error)))) => return Err(said_error(&error, flight)),
        (None, Some(Err(_)) | None) => return Err(said_nothing()),
    };
    flight.set_status(response.status());
    let bodiless = is_bodiless(&method, response.status());
    let ended = drive.has_ended();
    drive.go_on(running.engine);
    Ok(GuestBody::answer(flight, response, ended, bodiless))
}

/// The guest's whole life.
async fn run(
    mut store: Store<State>,
    code: Arc<Code>,
    request: Request<WasiBody>,
    head: oneshot::Sender<Head>,
    flight: Arc<Flight>,
    place: tokio::sync::OwnedSemaphorePermit,
) {
    let result = match &*code {
        Code::Proxy(pre) => proxy(&mut store, pre, request, head, &flight).await,
        Code::Service(pre) => service(&mut store, pre, request, head, &flight).await,
        Code::Module(_) | Code::Command(_) => Ok(()),
    };
    // Before the store goes: with it the answer's body ends, and its reader asks why.
    if let Err(error) = result {
        flight.fail(failure_of(&error, flight.meter()));
    }
    drop(store);
    drop(place);
}

async fn proxy(
    store: &mut Store<State>,
    pre: &ProxyPre<State>,
    request: Request<WasiBody>,
    head: oneshot::Sender<Head>,
    flight: &Flight,
) -> wasmtime::Result<()> {
    let began = Instant::now();
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, request)?;
    let out = http.new_response_outparam_from_callback(move |answer| {
        // Nobody waits any more when the caller has gone; the guest ends on its own.
        drop(head.send(answer.map_err(wasmtime::Error::from)));
    })?;
    let proxy = pre.instantiate_async(&mut *store).await?;
    flight.instantiated(began);
    proxy.wasi_http_incoming_handler().call_handle(store, request, out).await
}

async fn service(
    store: &mut Store<State>,
    pre: &ServicePre<State>,
    request: Request<WasiBody>,
    head: oneshot::Sender<Head>,
    flight: &Flight,
) -> wasmtime::Result<()> {
    let began = Instant::now();
    let proxy = Proxy::P3(pre.instantiate_async(&mut *store).await?);
    flight.instantiated(began);
    store
        .run_concurrent(async |accessor| {
            let prepared = accessor.with(|mut store| {
                Prepared::new(store.as_context_mut(), &proxy, request, State::http, head)
            })?;
            prepared.run(accessor, std::future::pending()).await?;
            // The head is out; the guest's tasks go on with the body.
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            Ok(())
        })
        .await?
}

/// What came in place of a head: the guest's own word, or the trap that kept it from speaking.
pub(super) fn said_error(error: &wasmtime::Error, flight: &Flight) -> Failure {
    if error.is::<p2::ErrorCode>() || error.is::<p3::ErrorCode>() {
        let message = format!("the guest answered with an error: {error}");
        return Failure::new(Reason::BadResponse, message);
    }
    if error.is::<ExpirationError>() {
        return flight.wall_time_over();
    }
    failure_of(error, flight.meter())
}

pub(super) fn said_nothing() -> Failure {
    Failure::new(Reason::BadResponse, "the guest ended without an answer")
}
