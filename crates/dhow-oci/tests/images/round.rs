//! What is packed is the same every time, and byte-identical when pulled.

use bytes::Bytes;
use dhow_oci::image::classify::Format;
use dhow_oci::image::pack::{Component, Outside, Shape, Words, pack};
use dhow_oci::layout::Layout;

use crate::{MODULE, only_module, pulled};

#[tokio::test]
async fn what_is_packed_is_pulled_again() {
    let module: Vec<u8> = MODULE.iter().copied().chain((0..100_000).map(|at| at as u8)).collect();
    let component = Outside { component: Some(Component::default()) };
    let words = Words { name: "hello.wasm".to_owned(), ..Words::default() };
    for (shape, format) in [
        (Shape::WasmArtifact(Outside::default()), Format::WasmArtifact),
        (Shape::WasmArtifact(component), Format::WasmArtifact),
        (Shape::WasmToOci, Format::WasmToOci),
        (Shape::Scratch, Format::Image),
    ] {
        let packed = pack(Bytes::from(module.clone()), &shape, &words).unwrap();
        assert_eq!(pack(Bytes::from(module.clone()), &shape, &words).unwrap(), packed);
        let folder = tempfile::tempdir().unwrap();
        packed.write_layout(folder.path(), "latest").unwrap();
        assert!(Layout::is_one(folder.path()));
        for name in [None, Some("latest".to_owned())] {
            let (pulled, _staging) = pulled(&Layout::new(folder.path(), name)).await.unwrap();
            assert_eq!(pulled.format, format);
            assert_eq!(pulled.manifest, packed.descriptor.digest);
            assert_eq!(only_module(&pulled), ("hello.wasm", module.clone()));
            assert_eq!(pulled.warnings, [""; 0]);
        }
        let other = Layout::new(folder.path(), Some("other".to_owned()));
        assert_eq!(crate::refused(&other).await, "not-found");
    }
}

#[test]
fn what_is_no_module_or_has_no_fit_name_is_not_packed() {
    let reason = |module: &'static [u8], name: &str| {
        let words = Words { name: name.to_owned(), ..Words::default() };
        pack(Bytes::from_static(module), &Shape::Scratch, &words).unwrap_err().reason()
    };
    assert_eq!(reason(b"#!/bin/sh", "x"), "not-wasm");
    for name in ["", "..", "a/b", ".wh.a", "a#b", "a\nb"] {
        assert_eq!(reason(MODULE, name), "unsafe-path", "{name}");
    }
}
