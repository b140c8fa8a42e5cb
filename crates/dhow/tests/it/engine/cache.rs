//! Taking modules in, compiling them, keeping the code, loading it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use dhow_core::abi::Abi;
use dhow_core::outcome::Reason;

use super::rig::Rig;

/// The one file of code in a rig's cache.
fn code(rig: &Rig) -> PathBuf {
    let files = fs::read_dir(rig.folder.path().join("code")).unwrap();
    let mut code = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cwasm"));
    let path = code.next().expect("compiled code");
    assert!(code.next().is_none(), "more than one module was compiled");
    path
}

#[tokio::test]
async fn damaged_truncated_and_foreign_code_is_compiled_anew() {
    let mut rig = Rig::new();
    let hello = dhow_testkit::guest("hello");
    rig.get(&rig.target("hello", |_| ()), "/").await.unwrap();
    let path = code(&rig);
    let sound = fs::read(&path).unwrap();
    let mut damaged = sound.clone();
    damaged[sound.len() / 2] ^= 1;
    let foreign = fs::read("/proc/self/exe").unwrap();
    for wrong in [damaged, sound[..sound.len() - 1].to_vec(), Vec::new(), foreign] {
        fs::write(&path, wrong).unwrap();
        // A new engine over the same folder: nothing is loaded.
        let folder = std::mem::replace(&mut rig.folder, tempfile::tempdir().unwrap());
        rig = Rig::in_folder(folder, |_| ());
        let target = rig.target_of(hello, Abi::Command, |_| ());
        assert_eq!(rig.get(&target, "/").await.unwrap().text(), "Hello, world!\n");
        assert_eq!(rig.engine.stats().cache_damaged, 1);
        assert_eq!(fs::read(&path).unwrap().len(), sound.len());
    }
}

#[tokio::test]
async fn code_is_found_again_by_a_new_process() {
    let mut rig = Rig::new();
    rig.get(&rig.target("hello", |_| ()), "/").await.unwrap();
    assert_eq!(rig.engine.stats().cache_misses, 1);
    let folder = std::mem::replace(&mut rig.folder, tempfile::tempdir().unwrap());
    let rig = Rig::in_folder(folder, |_| ());
    rig.get(&rig.target("hello", |_| ()), "/").await.unwrap();
    let stats = rig.engine.stats();
    assert_eq!((stats.cache_hits, stats.cache_misses), (1, 0));
}

#[tokio::test]
async fn a_crowd_on_a_cold_function_costs_one_load() {
    let rig = Rig::new();
    let target = rig.target("http-std", |_| ());
    let crowd = (0..50).map(|_| rig.get(&target, "/"));
    for answer in futures_util::future::join_all(crowd).await {
        assert_eq!(answer.unwrap().status, 200);
    }
    let stats = rig.engine.stats();
    assert_eq!((stats.cache_hits + stats.cache_misses, stats.loaded), (1, 1));
}

#[tokio::test]
async fn a_compilation_outlives_the_call_that_needed_it() {
    let rig = Rig::new();
    let short = rig.target("http-kit", |t| t.limits.timeout = Duration::from_millis(1));
    assert_eq!(rig.get(&short, "/").await.unwrap_err().reason, Reason::WallTime);
    let target = rig.target("http-kit", |_| ());
    assert_eq!(rig.get(&target, "/").await.unwrap().status, 200);
    let stats = rig.engine.stats();
    assert_eq!((stats.cache_misses, stats.loaded), (1, 1), "it was compiled twice");
}

#[tokio::test]
async fn loaded_functions_are_kept_within_their_budget() {
    let rig = Rig::with(|config| config.loaded = 16);
    let targets: Vec<_> = (0..40)
        .map(|n| {
            let wat = format!(r#"(module (memory (export "memory") 1) (func (export "_start")) (global i32 (i32.const {n})))"#);
            rig.target_of(wat.as_bytes(), Abi::Command, |_| ())
        })
        .collect();
    for target in &targets {
        rig.get(target, "/").await.unwrap();
        assert!(rig.engine.stats().loaded <= 16);
    }
    // Who was let go is loaded again; who was used last was not.
    rig.get(&targets[0], "/").await.unwrap();
    assert!(rig.outcome().await.cold);
    rig.get(&targets[39], "/").await.unwrap();
    assert!(!rig.outcome().await.cold);
}

#[tokio::test]
async fn code_that_nobody_uses_is_let_go_and_loaded_again() {
    let rig = Rig::new();
    let target = rig.target_of(dhow_testkit::guest("hello"), Abi::Command, |_| ());
    rig.get(&target, "/").await.unwrap();
    rig.engine.let_go_idle(Duration::from_secs(3600));
    assert_eq!(rig.engine.stats().loaded, 1);
    rig.engine.let_go_idle(Duration::ZERO);
    assert_eq!(rig.engine.stats().loaded, 0);
    rig.get(&target, "/").await.unwrap();
    assert!(rig.outcome().await.cold);
}

#[tokio::test]
async fn what_is_no_module_is_refused_by_name() {
    let rig = Rig::new();
    let hello = dhow_testkit::guest("hello");
    let component = dhow_testkit::guest("http-std");
    for (module, reason, says) in [
        (&b""[..], "not-wasm", "empty"),
        (b"just some text", "not-wasm", "no WebAssembly"),
        (b"(module (func", "invalid-module", "text"),
        (&hello[..hello.len() / 2], "invalid-module", ""),
        (&component[..component.len() / 2], "invalid-module", ""),
        (b"\0asm\x01\0\0\0", "unsupported", "exports nothing"),
        (b"\0asm\x63\0\0\0", "invalid-module", ""),
        (
            br#"(component (import "wasi:http/types@0.9.0" (instance))
             (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#,
            "unknown-imports",
            "wasi:http/types@0.9.0",
        ),
    ] {
        let refusal = rig.admit(module).await.unwrap_err();
        assert_eq!(refusal.reason, reason, "{refusal:?}");
        assert!(refusal.message.contains(says), "{refusal:?}");
        assert!(!refusal.hint.is_empty());
    }
}

#[tokio::test]
async fn every_unknown_import_is_named_with_what_would_provide_it() {
    let rig = Rig::new();
    let wat = br#"(module
        (import "env" "puts" (func (param i32)))
        (import "wasi_snapshot_preview1" "sock_open" (func))
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (func (export "_start")))"#;
    let refusal = rig.admit(wat).await.unwrap_err();
    assert_eq!(refusal.reason, "unknown-imports");
    for says in ["env puts", "link it in", "sock_open", "server"] {
        assert!(refusal.message.contains(says), "{says}: {}", refusal.message);
    }
    assert!(!refusal.message.contains("fd_write"));
    // The right name with the wrong type is found by linking.
    let wat = br#"(module (import "wasi_snapshot_preview1" "fd_write" (func))
        (func (export "_start")))"#;
    assert_eq!(rig.admit(wat).await.unwrap_err().reason, "unsupported");
}

#[tokio::test]
async fn a_module_that_costs_too_much_is_refused_and_the_engine_lives() {
    // One function of four million instructions.
    let mut body = b"(module (func (export \"_start\") ".to_vec();
    body.extend(b"(drop (i32.mul (i32.const 7) (i32.const 8)))".repeat(400_000));
    body.extend(b"))");
    let large = wat::parse_bytes(&body).unwrap();

    let rig = Rig::with(|config| config.compile.memory = 200 << 20);
    let refusal = rig.admit(&large).await.unwrap_err();
    assert_eq!(refusal.reason, "compile-limit", "{refusal:?}");
    assert!(refusal.message.contains("memory"), "{refusal:?}");
    rig.get(&rig.target("burn", |t| t.limits.cpu_time = Duration::from_millis(10)), "/")
        .await
        .unwrap_err();

    let rig = Rig::with(|config| config.compile.wall = Duration::from_millis(100));
    let refusal = rig.admit(&large).await.unwrap_err();
    assert_eq!(refusal.reason, "compile-limit", "{refusal:?}");

    let rig = Rig::with(|config| config.compile.module = 1 << 20);
    assert_eq!(rig.admit(&large).await.unwrap_err().reason, "too-large");
}

#[tokio::test]
async fn detection_finds_what_a_guest_is() {
    let rig = Rig::new();
    for (guest, kind, abi) in [
        ("hello", "core module", Abi::Command),
        ("p2-command", "component", Abi::Command),
        ("http-lean", "component", Abi::Http),
        ("http-lean-p3", "component", Abi::Http),
        ("old-sdk", "component", Abi::Http),
    ] {
        let artifact = rig.admit(dhow_testkit::guest(guest)).await.unwrap();
        assert_eq!((artifact.kind, artifact.abi()), (kind, abi), "{guest}");
        assert!(!artifact.exports.is_empty());
    }
}

#[tokio::test]
async fn a_call_whose_module_is_gone_is_not_ready() {
    let rig = Rig::new();
    let missing = rig.engine_target_of_nothing();
    let failure = rig.get(&missing, "/").await.unwrap_err();
    assert_eq!(failure.reason, Reason::NotReady, "{failure:?}");
}
