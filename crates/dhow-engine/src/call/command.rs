//! Calls of programs: `_start` of a core module, `wasi:cli/run@0.2` of a component.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use dhow_core::abi::Io;
use dhow_core::outcome::Failure;
use dhow_core::ports::Call;
use http::Response;
use http_body::Body;
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::Store;
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};

use crate::body::GuestBody;
use crate::call::failure::failure_of;
use crate::call::guest::{Drive, Guest, Serves};
use crate::call::{Running, cgi, keeper, stdio};
use crate::flight::Flight;
use crate::host::{self, State, Wasi, Writer};
use crate::load::Code;

/// Answers a call as `io` says.
pub(super) async fn answer<B>(
    running: Running<'_>,
    code: &Arc<Code>,
    call: Call<B>,
) -> Result<Response<GuestBody>, Failure>
where
    B: Body<Data = Bytes, Error = Failure> + Send + Unpin + 'static,
{
    match running.flight.target.revision().template.io {
        Io::Stdio => stdio::answer(running, code, call).await,
        Io::Keeper => keeper::answer(running, code, call).await,
        Io::Cgi => cgi::answer(running, code, call).await,
    }
}

/// The exit code a program ended with; set before its streams close.
pub(super) type Exit = Arc<std::sync::OnceLock<i32>>;

/// A program under way in `wasi`. A trap or a limit is the flight's failure; an exit code, also
/// one that is not 0, is for the caller to judge.
pub(super) fn start(
    flight: &Arc<Flight>,
    code: &Arc<Code>,
    wasi: Wasi,
    place: OwnedSemaphorePermit,
) -> (Drive, Exit) {
    let store = host::store(
        code.engine(),
        wasi,
        &flight.target,
        Writer::Call(flight.clone()),
        flight.meter().clone(),
    );
    let exit = Exit::default();
    let program = run(store, code.clone(), flight.clone(), exit.clone(), place);
    let guest = Guest::new(flight.meter().clone(), Serves::Call(flight.clone()), program);
    (Drive::new(guest), exit)
}

async fn run(
    mut store: Store<State>,
    code: Arc<Code>,
    flight: Arc<Flight>,
    exit: Exit,
    place: OwnedSemaphorePermit,
) {
    match program(&mut store, &code, &flight).await {
        Ok(code) => {
            exit.get_or_init(|| code);
        }
        Err(error) => {
            flight.fail(failure_of(&error, flight.meter()));
        }
    }
    drop(store);
    drop(place);
}

async fn program(store: &mut Store<State>, code: &Code, flight: &Flight) -> wasmtime::Result<i32> {
    let began = Instant::now();
    let ended = match code {
        Code::Module(pre) => {
            let instance = pre.instantiate_async(&mut *store).await?;
            let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
            flight.instantiated(began);
            start.call_async(&mut *store, ()).await.map(|()| 0)
        }
        Code::Command(pre) => {
            let command = pre.instantiate_async(&mut *store).await?;
            flight.instantiated(began);
            let ran = command.wasi_cli_run().call_run(&mut *store).await;
            ran.map(|result| i32::from(result.is_err()))
        }
        Code::Proxy(_) | Code::Service(_) => Ok(0),
    };
    match ended {
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(code)) => Ok(*code),
            None => Err(error),
        },
        ended => ended,
    }
}

/// The arguments of a program called by its file name.
pub(super) fn set_args(wasi: &mut WasiCtxBuilder, flight: &Flight, more: &[String]) {
    let revision = flight.target.revision();
    wasi.arg(&revision.program);
    for arg in revision.template.args.iter().chain(more) {
        wasi.arg(arg);
    }
}
