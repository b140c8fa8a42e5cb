//! What a store carries: the guest's WASI context and the meter that bounds it.

use std::sync::Arc;

use wasmtime::{Engine, Store};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::call::Target;
use crate::host::{Asker, Given, Limiter, Writer};
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
    asker: Asker,
    given: Option<Given>,
    limiter: Limiter,
    pub(crate) meter: Arc<Meter>,
}

/// What a guest's WASI context is made of, and what has to live as long as it.
pub(crate) struct Wasi {
    pub(crate) builder: WasiCtxBuilder,
    pub(crate) given: Option<Given>,
}

impl State {
    /// The secrets that the instance was given, where there are any.
    pub(crate) fn given(&self) -> Option<&Given> {
        self.given.as_ref()
    }
}

/// A store for one instance of `target`, whose log is `writer`'s. Interrupted every tick; what its
/// memories and tables may hold, what its CPU may be, the meter and the limiter decide.
pub(crate) fn store(
    engine: &Engine,
    wasi: Wasi,
    target: &Target,
    writer: Writer,
    meter: Arc<Meter>,
) -> Store<State> {
    let Wasi { mut builder, given } = wasi;
    let mut wasi = builder.max_random_size(MAX_RANDOM).build_p1();
    wasi.ctx().table.set_max_capacity(MAX_HANDLES);
    let mut http = WasiHttpCtx::new();
    http.set_field_size_limit(MAX_FIELDS);
    let limiter = Limiter::new(target.revision().template.limits.memory, meter.clone());
    let asker = Asker::new(target.egress().cloned(), writer);
    let state = State { wasi, http, asker, given, limiter, meter };
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
            hooks: &mut self.asker,
        }
    }
}
