//! Makes components of core modules that carry a component's type, as SDKs before `wasm32-wasip2`
//! left them for the host to finish.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

/// The component around `module`. WASI p1 imports go through the reactor adapter.
///
/// # Errors
/// What the encoder found wrong, in its words.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, String> {
    let encode = || {
        ComponentEncoder::default()
            .module(module)?
            .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?
            .validate(true)
            .encode()
    };
    encode().map_err(|error| format!("{error:#}"))
}
