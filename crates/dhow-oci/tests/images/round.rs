//! What is packed is the same every time, and byte-identical when pulled.

use bytes::Bytes;
use dhow_oci::image::classify::Format;
use dhow_oci::image::pack::{Component, Outside, Shape, Words, pack};
use dhow_oci::layout::Layout;

use crate::memory::fill;
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

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"CONFIG","@config"},"layers":[{"mediaType":"LAYER","@layer","annotations":{"org.opencontainers.image.title":"hello.wasm"}}]}"#;

/// Documents written by hand from the published formats.
#[test]
fn what_is_packed_is_what_the_formats_say() {
    let component = Component {
        exports: vec!["wasi:http/incoming-handler@0.2.0".to_owned()],
        imports: vec!["wasi:cli/environment@0.2.0".to_owned()],
    };
    let words = Words { name: "hello.wasm".to_owned(), ..Words::default() };
    let plain = r##"{"created":"1970-01-01T00:00:00Z","architecture":"wasm","os":"wasip1","layerDigests":["#layer"]}"##;
    let of_component = r##"{"created":"1970-01-01T00:00:00Z","architecture":"wasm","os":"wasip2","layerDigests":["#layer"],"component":{"exports":["wasi:http/incoming-handler@0.2.0"],"imports":["wasi:cli/environment@0.2.0"]}}"##;
    let image = r##"{"architecture":"wasm","os":"wasi","config":{"Entrypoint":["/hello.wasm"]},"rootfs":{"type":"layers","diff_ids":["#layer"]}}"##;
    let artifact = ("application/vnd.wasm.config.v0+json", "application/wasm");
    let to_oci =
        ("application/vnd.wasm.config.v1+json", "application/vnd.wasm.content.layer.v1+wasm");
    let oci =
        ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar");
    for (shape, config, (config_type, layer_type)) in [
        (Shape::WasmArtifact(Outside::default()), plain, artifact),
        (Shape::WasmArtifact(Outside { component: Some(component) }), of_component, artifact),
        (Shape::WasmToOci, "{}", to_oci),
        (Shape::Scratch, image, oci),
    ] {
        let packed = pack(Bytes::from_static(MODULE), &shape, &words).unwrap();
        let layer = &packed.blobs[1].1;
        let config = fill(config, &[("layer", layer)]);
        assert_eq!(packed.blobs[0].1, config);
        let mut manifest = MANIFEST.replace("CONFIG", config_type).replace("LAYER", layer_type);
        if shape == Shape::Scratch {
            let title = r#","annotations":{"org.opencontainers.image.title":"hello.wasm"}"#;
            manifest = manifest.replace(title, "");
            // One file (POSIX.1-1988, ustar), filled up to a block, and two blocks of zeros.
            assert_eq!(layer.len(), 4 * 512);
            assert!(layer.starts_with(b"hello.wasm\0"));
            assert_eq!(&layer[100..108], b"0000755\0");
            assert_eq!(&layer[124..136], b"00000000010\0");
            // Both say a regular file.
            assert!(matches!(layer[156], b'0' | 0));
            assert_eq!(&layer[257..265], b"ustar\x0000");
            assert_eq!(&layer[512..520], MODULE);
            assert!(layer[520..].iter().all(|byte| *byte == 0));
        } else {
            assert_eq!(layer, MODULE);
        }
        let manifest = fill(&manifest, &[("config", config.as_bytes()), ("layer", layer)]);
        assert_eq!(packed.manifest, manifest);
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
