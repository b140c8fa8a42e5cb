//! What is refused at deploy because no call could ever succeed.

use dhow_core::ports::Intake as _;

use super::rig::Rig;

#[tokio::test]
async fn what_no_call_could_run_is_refused() {
    let rig = Rig::new();
    for (what, text) in [
        ("a _start with parameters", r#"(module (func (export "_start") (param i32)))"#),
        (
            "a _start that is no function",
            r#"(module (global (export "_start") i32 (i32.const 0)))"#,
        ),
        ("more memory than there is", r#"(module (memory i64 1000000) (func (export "_start")))"#),
        (
            "larger tables than there is room for",
            r#"(module (table 9000000 funcref) (func (export "_start")))"#,
        ),
        (
            "a version that is none",
            r#"(component (instance $i) (export "wasi:cli/run@0.9.0" (instance $i)))"#,
        ),
        (
            "an interface without its function",
            r#"(component (instance $i) (export "wasi:cli/run@0.2.3" (instance $i)))"#,
        ),
        (
            "a handler of a version that is none",
            r#"(component (instance $i) (export "wasi:http/handler@0.9.0" (instance $i)))"#,
        ),
    ] {
        let refusal = rig.admit(&wat::parse_str(text).unwrap()).await.expect_err(what);
        assert!(["unsupported", "invalid-module"].contains(&refusal.reason), "{what}: {refusal:?}");
    }
}

#[tokio::test]
async fn code_without_its_module_is_not_deployed() {
    let rig = Rig::new();
    let module = dhow_testkit::guest("hello");
    rig.admit(module).await.unwrap();
    let digest = rig.hold(module);
    rig.forget(&digest);
    let refusal = rig.engine.admit(&digest, &|_| {}).await.unwrap_err();
    assert_eq!(refusal.reason, "not-found");
}

#[tokio::test]
async fn a_module_that_was_damaged_where_it_is_kept_is_not_compiled() {
    let rig = Rig::new();
    let digest = rig.hold(dhow_testkit::guest("hello"));
    rig.damage(&digest, dhow_testkit::guest("echo"));
    let refusal = rig.engine.admit(&digest, &|_| {}).await.unwrap_err();
    assert_eq!(refusal.reason, "damaged", "{refusal:?}");
}
