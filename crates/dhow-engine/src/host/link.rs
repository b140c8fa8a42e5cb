//! The host functions that guests may import, one set per engine and shared by all guests.

use std::collections::HashSet;

use wasmtime::{Engine, Result, Store};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p1::WasiP1Ctx;

use crate::host::{State, config};
use crate::settings::Profile;

/// Everything that can be linked. What a function is not granted is linked all the same and
/// answers with a denial, so that a program which merely could ask still starts.
pub(crate) struct Linkers {
    pub(crate) core: wasmtime::Linker<State>,
    pub(crate) component: wasmtime::component::Linker<State>,
}

impl Linkers {
    pub(crate) fn new(engine: &Engine, profile: Profile) -> Result<Self> {
        let mut core = wasmtime::Linker::new(engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut core, |state: &mut State| &mut state.wasi)?;
        // Programs from before `wasi_snapshot_preview1` import `wasi_unstable`.
        wasmtime_wasi::p0::add_to_linker_async(&mut core, |state: &mut State| &mut state.wasi)?;

        let mut component = wasmtime::component::Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut component)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut component)?;
        config::link(&mut component)?;
        if profile == Profile::Concurrent {
            wasmtime_wasi::p3::add_to_linker(&mut component)?;
            wasmtime_wasi_http::p3::add_to_linker(&mut component)?;
        }
        Ok(Self { core, component })
    }
}

/// The `(module, name)` pairs that a core module may import.
pub(crate) fn core_imports(engine: &Engine) -> Result<HashSet<(String, String)>> {
    let mut linker = wasmtime::Linker::<WasiP1Ctx>::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |context| context)?;
    wasmtime_wasi::p0::add_to_linker_async(&mut linker, |context| context)?;
    let mut store = Store::new(engine, WasiCtx::builder().build_p1());
    let names = linker.iter(&mut store);
    Ok(names.map(|(module, name, _)| (module.to_owned(), name.to_owned())).collect())
}
