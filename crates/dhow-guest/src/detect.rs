//! How a module can be called.

use dhow_core::abi::Abi;

use crate::interfaces::{Interfaces, Kind};

/// Every ABI that the module offers, the one that holds unless told otherwise first. Empty: none.
///
/// Imports decide nothing here but for actors and servers, whose exports look like others'.
pub fn detect(module: &Interfaces) -> Vec<Abi> {
    match module.kind {
        Kind::Component => component(module),
        Kind::Core => core(module),
    }
}

fn component(module: &Interfaces) -> Vec<Abi> {
    let exports = |interface: &str, series: &str| {
        module.exports.iter().any(|name| is_of(name, interface, series))
    };
    let mut abis = Vec::new();
    if exports("wasi:http/handler", "0.3.") || exports("wasi:http/incoming-handler", "0.2.") {
        abis.push(Abi::Http);
    } else if module.exports.iter().any(|name| is(name, "fermyon:spin/inbound-http")) {
        abis.push(Abi::Spin);
    }
    if exports("wasi:cli/run", "0.2.") {
        abis.push(Abi::Command);
    }
    abis
}

fn core(module: &Interfaces) -> Vec<Abi> {
    let imports = |name: &str| module.imports.iter().any(|(_, imported)| imported == name);
    if module.imports.iter().any(|(from, _)| from == "wapc") {
        vec![Abi::Actor]
    } else if !module.exports.iter().any(|name| name == "_start") {
        vec![]
    } else if imports("sock_open") && imports("sock_listen") {
        vec![Abi::Server]
    } else {
        vec![Abi::Command]
    }
}

/// Whether a core module is the inside of a component, as old SDKs left it.
pub fn is_unwrapped_component(module: &Interfaces) -> bool {
    let handles = |name: &String| {
        name.split_once('#').is_some_and(|(interface, _)| {
            is(interface, "wasi:http/incoming-handler")
                || is(interface, "wasi:http/handler")
                || is(interface, "fermyon:spin/inbound-http")
        }) || name == "spin-http-handle-http-request"
    };
    module.kind == Kind::Core && module.component_type && module.exports.iter().any(handles)
}

/// Whether a component uses WASI 0.3, whose calls run as concurrent tasks.
pub fn wants_concurrency(module: &Interfaces) -> bool {
    let is_p3 = |name: &str| name.starts_with("wasi:") && name.contains("@0.3.");
    module.kind == Kind::Component
        && (module.exports.iter().any(|name| is_p3(name))
            || module.imports.iter().any(|(name, _)| is_p3(name)))
}

/// Whether `name` is `interface` in a release of a series such as `0.2.`. Release candidates are
/// other interfaces under the same name.
fn is_of(name: &str, interface: &str, series: &str) -> bool {
    name.strip_prefix(interface)
        .and_then(|rest| rest.strip_prefix('@')?.strip_prefix(series))
        .is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether `name` is `interface`, of whatever version.
fn is(name: &str, interface: &str) -> bool {
    name.strip_prefix(interface).is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(wat: &str) -> Interfaces {
        Interfaces::read(&wat::parse_str(wat).unwrap()).unwrap()
    }

    #[test]
    fn a_command_is_known_by_its_start() {
        assert_eq!(detect(&look(r#"(module (func (export "_start")))"#)), [Abi::Command]);
        assert_eq!(detect(&look("(module)")), []);
    }

    #[test]
    fn actors_and_servers_are_known_by_their_imports() {
        let actor = r#"(module (import "wapc" "__guest_response" (func (param i32 i32)))
            (func (export "_start")))"#;
        assert_eq!(detect(&look(actor)), [Abi::Actor]);
        let server = r#"(module
            (import "wasi_snapshot_preview1" "sock_open" (func))
            (import "wasi_snapshot_preview1" "sock_listen" (func))
            (func (export "_start")))"#;
        assert_eq!(detect(&look(server)), [Abi::Server]);
    }

    #[test]
    fn a_component_may_be_a_handler_and_a_command() {
        let both = r#"(component
            (instance $i)
            (export "wasi:cli/run@0.2.6" (instance $i))
            (export "wasi:http/incoming-handler@0.2.12" (instance $i)))"#;
        assert_eq!(detect(&look(both)), [Abi::Http, Abi::Command]);
        let p3 = r#"(component (instance $i) (export "wasi:http/handler@0.3.0" (instance $i)))"#;
        assert_eq!(detect(&look(p3)), [Abi::Http]);
        assert!(wants_concurrency(&look(p3)));
        assert!(!wants_concurrency(&look(both)));
    }

    #[test]
    fn other_versions_and_release_candidates_are_none() {
        for export in [
            "wasi:cli/run",
            "wasi:cli/run@0.3.0",
            "wasi:cli/run@0.9.0",
            "wasi:http/handler@0.2.0",
            "wasi:http/handler@0.3.0-rc-2025-09-16",
            "wasi:http/incoming-handler@0.2.0-rc-2023-11-10",
            "wasi:http/incoming-handler@0.2.",
        ] {
            let module = Interfaces { exports: vec![export.to_owned()], ..look("(component)") };
            assert_eq!(detect(&module), [], "{export}");
        }
    }

    #[test]
    fn what_a_nested_module_exports_is_not_the_components() {
        let nested = r#"(component (core module (func (export "_start")))
            (component (instance $i) (export "wasi:cli/run@0.2.0" (instance $i))))"#;
        assert_eq!(detect(&look(nested)), []);
    }
}
