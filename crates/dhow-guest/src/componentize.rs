//! Makes components of core modules that carry a component's type, as SDKs before `wasm32-wasip2`
//! left them for the host to finish.

use std::panic::catch_unwind;

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
    // The encoder asserts what holds for every type that an SDK writes; a stranger's need not.
    match catch_unwind(encode) {
        Ok(encoded) => encoded.map_err(|error| format!("{error:#}")),
        Err(_) => Err("the component type that the module carries is none of an SDK's".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_no_sdk_writes_is_refused() {
        let world = wat::parse_str(r#"(component (type (component)) (export "w" (type 0)))"#);
        let world: String = world.unwrap().iter().map(|byte| format!("\\{byte:02x}")).collect();
        let module = wat::parse_str(format!(r#"(module (@custom "component-type:w" "{world}"))"#));
        assert!(componentize(&module.unwrap()).unwrap_err().contains("none of an SDK's"));
        assert!(componentize(b"\0asm").is_err());
    }
}
