//! What a store carries: the guest's WASI context and the meter that bounds it.

use std::sync::Arc;

use wasmtime::{Engine, Store};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::host::Limiter;
use crate::meter::Meter;

/// Handles (streams, fields, bodies…) that one instance may hold at a time.
const MAX_HANDLES: usize = 2_000;
/// Bytes of one set of headers in the host.
const MAX_FIELDS: usize = 64 << 10;
/// Bytes that one call of `random.get-random-bytes` may ask for.
const MAX_RANDOM: u64 = 1 << 20;

/// The data of a [`Store`].
pub(crate) struct State {
    pub(crate) wasi: WasiP1Ctx,
    http: WasiHttpCtx,
    hooks: Hooks,
    limiter: Limiter,
    pub(crate) meter: Arc<Meter>,
}

/// A store for one instance. Interrupted every tick; what its memories and tables may hold, what
/// its CPU may be, the meter and the limiter decide.
pub(crate) fn store(
    engine: &Engine,
    mut wasi: WasiCtxBuilder,
    memory: u64,
    meter: Arc<Meter>,
) -> Store<State> {
    let mut wasi = wasi.max_random_size(MAX_RANDOM).build_p1();
    wasi.ctx().table.set_max_capacity(MAX_HANDLES);
    let mut http = WasiHttpCtx::new();
    http.set_field_size_limit(MAX_FIELDS);
    let state =
        State { wasi, http, hooks: Hooks, limiter: Limiter::new(memory, meter.clone()), meter };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limiter);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| store.data().meter.tick());
    store
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: self.wasi.ctx().table,
            hooks: &mut self.hooks,
        }
    }
}

/// What a guest may ask of the world over HTTP: nothing, until it is granted.
struct Hooks;

type Sent =
    Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        _request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
