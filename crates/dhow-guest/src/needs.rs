//! Which of a module's imports nobody provides, and what would.

use std::collections::HashSet;

use crate::interfaces::{Interfaces, Kind};

/// One import without a provider.
#[derive(Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The import, as a person reads it.
    pub name: String,
    /// What would provide it.
    pub hint: &'static str,
}

/// The imports of `module` that neither WASI nor `core`, the `(module, name)` pairs that core
/// modules may import, provides.
pub fn unmet(module: &Interfaces, core: &HashSet<(String, String)>) -> Vec<Unmet> {
    module
        .imports
        .iter()
        .zip(module.import_names())
        .filter(|(import, _)| match module.kind {
            Kind::Core => !core.contains(*import),
            Kind::Component => !is_provided(&import.0),
        })
        .map(|((from, name), full)| Unmet { name: full, hint: provider(from, name) })
        .collect()
}

fn is_provided(import: &str) -> bool {
    let Some((path, version)) = import.split_once('@') else { return false };
    let Some((package, interface)) = path.split_once('/') else { return false };
    if import == CONFIG {
        return true;
    }
    // Release candidates (`0.2.0-rc-2023-11-10`) are other interfaces under the same name.
    if version.contains('-') {
        return false;
    }
    let mut numbers = version.splitn(3, '.');
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else { return false };
    is_known_interface(package, &format!("{major}.{minor}"), interface)
}

/// Never was but a candidate, and is what toolchains know.
const CONFIG: &str = "wasi:config/store@0.2.0-rc.1";

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
fn is_known_interface(package: &str, version: &str, interface: &str) -> bool {
    INTERFACES.iter().any(|(known, of, interfaces)| {
        *known == package && *of == version && interfaces.contains(&interface)
    })
}

/// What would provide an import, by the module or interface it comes from.
fn provider(from: &str, name: &str) -> &'static str {
    let starts = |prefix: &str| from.starts_with(prefix);
    match from {
        "env" => "an unresolved C symbol: link it in, or build for WASI (wasm32-wasip1)",
        "wasi_snapshot_preview1" | "wasi_unstable" if name.starts_with("sock_") => {
            "WasmEdge's socket functions: the `server` ABI, which this version does not run"
        }
        "wasi_snapshot_preview1" | "wasi_unstable" => "no such function in WASI preview 1",
        "wasi_ephemeral_nn" => "wasi-nn, which is not provided",
        "wapc" => "the `actor` ABI, which this version does not run",
        "go" | "gojs" => "built for a browser: build with GOOS=wasip1 GOARCH=wasm",
        "__wbindgen_placeholder__" | "wbg" => {
            "built for a browser with wasm-bindgen: build for wasm32-wasip1 or wasm32-wasip2"
        }
        _ if starts("fermyon:spin") || starts("spin:") => {
            "Spin's host interfaces: the `spin` ABI, which this version does not run"
        }
        _ if starts("wasi:") && from.contains("-rc-") => {
            "a release candidate of WASI: rebuild with a toolchain for WASI 0.2 or 0.3"
        }
        _ if starts("wasi:keyvalue") => "a key-value grant, which this version does not have",
        _ if starts("wasi:config") => "configuration grants, which this version does not have",
        _ if starts("wasi:") => "this WASI interface or version is not provided",
        _ => "nothing in dhow provides it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(imports: &[&str]) -> Interfaces {
        Interfaces {
            kind: Kind::Component,
            imports: imports.iter().map(|name| ((*name).to_owned(), String::new())).collect(),
            exports: vec![],
            component_type: false,
        }
    }

    #[test]
    fn every_patch_version_of_wasi_is_provided_and_candidates_are_not() {
        let fine = component(&[
            "wasi:http/types@0.2.0",
            "wasi:io/streams@0.2.12",
            "wasi:http/client@0.3.0",
        ]);
        assert_eq!(unmet(&fine, &HashSet::new()), []);
        let wrong = component(&[
            "wasi:http/types@0.2.0-rc-2023-11-10",
            "wasi:keyvalue/store@0.2.0",
            "acme:shop/cart",
            "wasi:http/types@0.4.0",
        ]);
        let unmet = unmet(&wrong, &HashSet::new());
        assert_eq!(unmet.len(), 4);
        assert!(unmet[0].hint.contains("release candidate"));
        assert!(unmet[1].hint.contains("key-value"));
    }

    #[test]
    fn each_unknown_import_of_a_core_module_is_named() {
        let module = Interfaces {
            kind: Kind::Core,
            imports: vec![
                ("wasi_snapshot_preview1".into(), "fd_write".into()),
                ("env".into(), "puts".into()),
                ("env".into(), "gets".into()),
            ],
            exports: vec![],
            component_type: false,
        };
        let core = HashSet::from([("wasi_snapshot_preview1".into(), "fd_write".into())]);
        let names: Vec<_> = unmet(&module, &core).into_iter().map(|unmet| unmet.name).collect();
        assert_eq!(names, ["env puts", "env gets"]);
    }
}
