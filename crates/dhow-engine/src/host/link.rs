//! The host functions that guests may import, one set per engine and shared by all guests.

use std::collections::HashSet;

use wasmtime::{Engine, Result, Store};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p1::WasiP1Ctx;

use crate::host::State;
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

/// The interfaces of WASI that a component may import, by package and WASI version.
const INTERFACES: &[(&str, &str, &[&str])] = &[
    ("wasi:io", "0.2", &["error", "poll", "streams"]),
    ("wasi:clocks", "0.2", &["monotonic-clock", "wall-clock"]),
    ("wasi:random", "0.2", &["random", "insecure", "insecure-seed"]),
    ("wasi:filesystem", "0.2", &["types", "preopens"]),
    (
        "wasi:cli",
        "0.2",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    (
        "wasi:sockets",
        "0.2",
        &[
            "network",
            "instance-network",
            "ip-name-lookup",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
    ),
    ("wasi:http", "0.2", &["types", "outgoing-handler"]),
    ("wasi:clocks", "0.3", &["monotonic-clock", "system-clock", "types"]),
    ("wasi:random", "0.3", &["random", "insecure", "insecure-seed"]),
    ("wasi:filesystem", "0.3", &["types", "preopens"]),
    (
        "wasi:cli",
        "0.3",
        &[
            "environment",
            "exit",
            "types",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("wasi:sockets", "0.3", &["types", "ip-name-lookup"]),
    ("wasi:http", "0.3", &["types", "client"]),
];

/// Whether a component may import `package/interface` of this WASI version (`0.2` or `0.3`).
pub(crate) fn is_known_interface(package: &str, version: &str, interface: &str) -> bool {
    INTERFACES.iter().any(|(known, of, interfaces)| {
        *known == package && *of == version && interfaces.contains(&interface)
    })
}
