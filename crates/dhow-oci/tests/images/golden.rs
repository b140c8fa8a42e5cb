//! Manifests as the formats' own tools write them.

use dhow_oci::image::budget::Budget;
use dhow_oci::image::classify::Format;
use dhow_oci::image::pull::{Ask, pull};
use dhow_oci::image::pulled::Entry;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::memory::{Memory, digest, fill};
use crate::{MODULE, ask, only_module, pulled, refused, run};

const WASM_TO_OCI: &str = r#"{"schemaVersion":2,
    "config":{"mediaType":"application/vnd.wasm.config.v1+json","@config"},
    "layers":[{"mediaType":"application/vnd.wasm.content.layer.v1+wasm","@module",
        "annotations":{"org.opencontainers.image.title":"build/hello.wasm"}}]}"#;

const WASM_ARTIFACT: &str = r#"{"schemaVersion":2,
    "mediaType":"application/vnd.oci.image.manifest.v1+json",
    "config":{"mediaType":"application/vnd.wasm.config.v0+json","@config"},
    "layers":[{"mediaType":"application/wasm","@module"}],
    "annotations":{"org.opencontainers.image.version":"0.2.0"}}"#;

const WASM_CONFIG: &str = r##"{"created":"2024-09-25T12:01:36.239475Z","architecture":"wasm",
    "os":"wasip2","layerDigests":["#module"],
    "component":{"exports":["wasi:http/incoming-handler@0.2.0"],"imports":[],"target":null}}"##;

const SPIN: &str = r#"{"schemaVersion":2,
    "mediaType":"application/vnd.oci.image.manifest.v1+json",
    "config":{"mediaType":"application/vnd.oci.image.config.v1+json","@config"},
    "layers":[
        {"mediaType":"application/vnd.wasm.content.layer.v1+wasm","@module"},
        {"mediaType":"application/vnd.wasm.content.layer.v1+data","@data"},
        {"mediaType":"application/vnd.wasm.content.bundle.v1.tar+gzip","@bundle"},
        {"mediaType":"application/vnd.fermyon.spin.application.v1+config","@app"}],
    "annotations":{"org.opencontainers.image.title":"hello"}}"#;

const SPIN_CONFIG: &str = r#"{"architecture":"wasm","os":"Wasip1","rootfs":{"type":"layers",
    "diff_ids":[]},"config":{"Labels":{"com.fermyon.spin.lockedAppDigest":"x"}}}"#;

const LOCKED: &str = r##"{"spin_lock_version":1,"must_understand":["host_requirements"],
    "metadata":{"name":"hello"},"host_requirements":{},
    "triggers":[{"id":"t","trigger_type":"http","trigger_config":{"route":"/...","component":"hi"}}],
    "components":[{"id":"hi","metadata":{},
        "source":{"content_type":"application/wasm","digest":"#module"},
        "env":{},"config":{},
        "files":[{"digest":"#data","path":"/assets/data.txt"},
            {"digest":"#bundled","path":"assets/deep/bundled.txt"},
            {"inline":"dGlueQ==","digest":"#tiny","path":"tiny.txt"}]}]}"##;

const OLD_SPIN: &str = r#"{"schemaVersion":2,
    "config":{"mediaType":"application/vnd.oci.image.config.v1+json","@app"},
    "layers":[{"mediaType":"application/vnd.wasm.content.layer.v1+wasm","@module"},
        {"mediaType":"application/vnd.wasm.content.layer.v1+data","@data"}]}"#;

fn bundle(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, *bytes).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

#[tokio::test]
async fn wasm_to_oci() {
    let source = Memory::new(WASM_TO_OCI, &[("config", b"{}"), ("module", MODULE)]);
    let (pulled, _staging) = pulled(&source).await.unwrap();
    assert_eq!(pulled.format, Format::WasmToOci);
    assert_eq!(only_module(&pulled), ("hello.wasm", MODULE.to_vec()));
    assert_eq!((pulled.index, run(&pulled).args.len()), (None, 0));
}

#[tokio::test]
async fn the_cncf_artifact_has_one_layer_which_its_configuration_names() {
    let config = fill(WASM_CONFIG, &[("module", MODULE)]);
    let parts: &[(&str, &[u8])] = &[("config", config.as_bytes()), ("module", MODULE)];
    let (pulled, _staging) = pulled(&Memory::new(WASM_ARTIFACT, parts)).await.unwrap();
    assert_eq!(pulled.format, Format::WasmArtifact);
    assert_eq!(only_module(&pulled).1, MODULE);
    assert_eq!(pulled.labels["org.opencontainers.image.version"], "0.2.0");

    let layer = r#"{"mediaType":"application/wasm","@module"}"#;
    let two = WASM_ARTIFACT.replace(layer, &format!("{layer},{layer}"));
    assert_eq!(refused(&Memory::new(&two, parts)).await, "unsupported");
    let other = fill(WASM_CONFIG, &[("module", b"another")]);
    let parts: &[(&str, &[u8])] = &[("config", other.as_bytes()), ("module", MODULE)];
    assert_eq!(refused(&Memory::new(WASM_ARTIFACT, parts)).await, "bad-manifest");
}

#[tokio::test]
async fn solo_and_runwasi() {
    let solo = WASM_TO_OCI.replace("vnd.wasm.", "vnd.module.wasm.");
    let source = Memory::new(&solo, &[("config", b"{}"), ("module", MODULE)]);
    assert_eq!(pulled(&source).await.unwrap().0.format, Format::Solo);

    let config = br#"{"architecture":"wasm","os":"wasip1",
        "config":{"Entrypoint":["/a.wasm"],"Cmd":["x"],"Env":["A=b"]}}"#;
    for layer in ["wasm", "vnd.bytecodealliance.wasm.component.layer.v0+wasm"] {
        let runwasi = WASM_ARTIFACT
            .replace("vnd.wasm.config.v0+json", "vnd.oci.image.config.v1+json")
            .replace("application/wasm", &format!("application/{layer}"));
        let source = Memory::new(&runwasi, &[("config", config), ("module", MODULE)]);
        let (pulled, _staging) = pulled(&source).await.unwrap();
        assert_eq!(pulled.format, Format::Runwasi);
        assert_eq!(run(&pulled).args, ["x"]);
        assert_eq!(run(&pulled).env, [("A".to_owned(), "b".to_owned())]);
        let other = br#"{"architecture":"amd64","os":"linux"}"#;
        let source = Memory::new(&runwasi, &[("config", other), ("module", MODULE)]);
        assert_eq!(refused(&source).await, "not-wasm");
    }
}

#[tokio::test]
async fn spin_applications_new_and_old() {
    let bundle = bundle(&[("0/deep/bundled.txt", b"bundled"), ("0/unused", b"unused")]);
    let named: &[(&str, &[u8])] =
        &[("module", MODULE), ("data", b"data"), ("bundled", b"bundled"), ("tiny", b"tiny")];
    let locked = fill(LOCKED, named);
    let parts: &[(&str, &[u8])] = &[
        ("config", SPIN_CONFIG.as_bytes()),
        ("module", MODULE),
        ("data", b"data"),
        ("bundle", &bundle),
        ("app", locked.as_bytes()),
    ];
    let (new, _staging) = pulled(&Memory::new(SPIN, parts)).await.unwrap();
    assert_eq!(new.format, Format::Spin);
    assert_eq!(only_module(&new), ("hi", MODULE.to_vec()));
    let files: Vec<_> = new
        .files
        .iter()
        .map(|file| (file.path.as_str(), std::fs::read_to_string(&file.file.path).unwrap()))
        .collect();
    let content = |path, text: &str| (path, text.to_owned());
    assert_eq!(
        files,
        [
            content("assets/data.txt", "data"),
            content("assets/deep/bundled.txt", "bundled"),
            content("tiny.txt", "tiny")
        ]
    );
    let Entry::Spin(application) = &new.entry else { panic!("{:?}", new.entry) };
    assert_eq!(std::fs::read(&application.path).unwrap(), locked.as_bytes());

    // Without its archive a file is nowhere.
    assert_eq!(refused(&Memory::new(OLD_SPIN, parts)).await, "bad-manifest");
    let locked = locked.replace("#bundled", "");
    let locked = locked.replace(&digest(b"bundled").to_string(), &digest(b"data").to_string());
    let parts: &[(&str, &[u8])] =
        &[("module", MODULE), ("data", b"data"), ("app", locked.as_bytes())];
    let (old, _staging) = pulled(&Memory::new(OLD_SPIN, parts)).await.unwrap();
    assert_eq!((old.format, old.files.len()), (Format::OldSpin, 3));
}

#[tokio::test]
async fn an_application_costs_what_its_files_cost_as_often_as_they_are_named() {
    let file = r##"{"digest":"#data","path":"x"}"##;
    let locked = |files: usize| {
        let text = format!(
            r##"{{"spin_lock_version":1,"components":[{{"id":"hi","source":{{"digest":"#module"}},
                "files":[{}]}}]}}"##,
            vec![file; files].join(",")
        );
        fill(&text, &[("module", MODULE), ("data", b"data")])
    };
    let pull_with = async |files: usize, budget: Budget| {
        let locked = locked(files);
        let parts: &[(&str, &[u8])] =
            &[("module", MODULE), ("data", b"data"), ("app", locked.as_bytes())];
        let staging = tempfile::tempdir().unwrap();
        let ask = Ask { budget, ..ask(staging.path()) };
        let pulled = pull(&Memory::new(OLD_SPIN, parts), &ask).await;
        pulled.map(|pulled| pulled.files.len()).map_err(|error| error.reason())
    };
    let bytes = || Budget { unpacked: 100, ..Budget::default() };
    assert_eq!(pull_with(23, bytes()).await, Ok(23));
    assert_eq!(pull_with(24, bytes()).await, Err("too-large"));
    let files = || Budget { entries: 24, ..Budget::default() };
    assert_eq!(pull_with(23, files()).await, Ok(23));
    assert_eq!(pull_with(24, files()).await, Err("too-large"));
    let module = |module| Budget { module, ..Budget::default() };
    assert_eq!(pull_with(1, module(8)).await, Ok(1));
    assert_eq!(pull_with(1, module(7)).await, Err("too-large"));
}

#[tokio::test]
async fn a_module_over_its_limit_is_not_even_fetched() {
    let mut source = Memory::new(WASM_TO_OCI, &[("config", b"{}"), ("module", MODULE)]);
    source.lose(digest(MODULE));
    let staging = tempfile::tempdir().unwrap();
    let mut ask = ask(staging.path());
    assert_eq!(pull(&source, &ask).await.unwrap_err().reason(), "not-found");
    ask.budget.module = 7;
    assert_eq!(pull(&source, &ask).await.unwrap_err().reason(), "too-large");
}

#[tokio::test]
async fn indexes_are_followed_and_recorded_but_not_for_ever() {
    let parts: &[(&str, &[u8])] = &[("config", b"{}"), ("module", MODULE)];
    let manifest = fill(WASM_TO_OCI, parts);
    let index = r#"{"schemaVersion":2,"manifests":[
        {"mediaType":"application/vnd.oci.image.manifest.v1+json","@config",
            "platform":{"os":"linux","architecture":"amd64"}},
        {"mediaType":"application/vnd.oci.image.manifest.v1+json","@child",
            "platform":{"os":"wasi","architecture":"wasm"}}]}"#;
    let mut all = parts.to_vec();
    all.push(("child", manifest.as_bytes()));
    let mut source = Memory::new(index, &all);
    let (found, _staging) = pulled(&source).await.unwrap();
    assert_eq!(found.manifest, digest(manifest.as_bytes()));
    assert_eq!(found.index, Some(digest(fill(index, &all).as_bytes())));
    source.pinned = found.index;
    assert_eq!(pulled(&source).await.unwrap().0.manifest, found.manifest);
    source.pinned = Some(found.manifest);
    assert_eq!(refused(&source).await, "wrong-digest");

    let nest = r#"{"schemaVersion":2,"manifests":[
        {"mediaType":"application/vnd.oci.image.index.v1+json","@child"}]}"#;
    let mut nested = vec![fill(WASM_TO_OCI, parts)];
    for depth in 0..6 {
        let below = nested.last().unwrap();
        let nest = if depth == 0 {
            nest.replace("image.index", "image.manifest")
        } else {
            nest.to_owned()
        };
        nested.push(fill(&nest, &[("child", below.as_bytes())]));
    }
    let named: Vec<_> =
        nested.iter().map(|text| ("", text.as_bytes())).chain(parts.to_vec()).collect();
    assert_eq!(refused(&Memory::new(&nested[6], &named)).await, "too-large");
    assert!(pulled(&Memory::new(&nested[4], &named)).await.is_ok());
}

#[tokio::test]
async fn a_source_that_lies_is_found_out() {
    let parts: &[(&str, &[u8])] = &[("config", b"{}"), ("module", MODULE)];
    let mut source = Memory::new(WASM_TO_OCI, parts);
    source.lie(digest(MODULE), b"\0asm\x02\0\0\0");
    assert_eq!(refused(&source).await, "wrong-digest");
    source.lie(digest(MODULE), b"\0asm");
    assert_eq!(refused(&source).await, "wrong-size");
    source.lie(digest(MODULE), b"\0asm\x01\0\0\0 and more");
    assert_eq!(refused(&source).await, "wrong-size");
    let text = Memory::new(WASM_TO_OCI, &[("config", b"{}"), ("module", b"#!/bin/sh")]);
    assert_eq!(refused(&text).await, "not-wasm");
    let huge = fill(WASM_TO_OCI, parts).replace("\"size\":8", "\"size\":99999999999");
    assert_eq!(refused(&Memory::new(&huge, parts)).await, "too-large");
    let helm = WASM_TO_OCI.replace("vnd.wasm.content.layer.v1+wasm", "vnd.cncf.helm.chart");
    assert_eq!(refused(&Memory::new(&helm, parts)).await, "not-wasm");
}
