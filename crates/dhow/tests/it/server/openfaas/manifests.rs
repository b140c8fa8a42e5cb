//! `stack.yml` and the documents that `faas-cli generate` writes, by `dhow apply`.

use serde_json::json;

use super::super::rig::{client_with, text};
use super::Stack;

const STACK: &str = r#"
version: 1.0
provider: {name: openfaas, gateway: "${OPENFAAS_URL:-http://127.0.0.1:8080}"}
functions:
  env:
    lang: dockerfile
    handler: ./env
    skip_build: true
    image: ${REGISTRY}/env:${TAG:-v1}
    fprocess: env.wasm -a
    environment: {GREETING: none, exec_timeout: 5s}
    environment_file: [env.yml]
    labels: {com.openfaas.scale.max: 2}
    annotations: {com.openfaas.profile: wascc}
    limits: {memory: 32Mi}
"#;

const GENERATED: &str = "---\napiVersion: openfaas.com/v1\nkind: Function\nmetadata:\n  \
    name: hello\n  namespace: openfaas-fn\nspec:\n  name: hello\n  image: REGISTRY/hello:v1\n";

#[test]
fn a_stack_is_applied_compared_and_deleted() {
    let stack = Stack::new(&["env", "hello"]);
    let path = |name: &str| stack.server.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("stack.yml"), STACK).unwrap();
    std::fs::write(path("env.yml"), "environment:\n  GREETING: hi\n").unwrap();
    let host = stack.registry.host();
    let env = [("REGISTRY", host.as_str())];
    let dhow = |args: &[&str]| {
        let output = client_with(&stack.server.admin, args, &env);
        let said = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "dhow {args:?}\n{}{}", said.0, said.1);
        said
    };
    let (_, warned) = dhow(&["apply", "-f", &path("stack.yml")]);
    assert!(warned.contains("com.openfaas.profile"), "{warned}");
    let said = stack.server.get("/function/env").text();
    for line in ["GREETING=hi", "argv[1]=-a"] {
        assert!(said.lines().any(|found| found == line), "{line} is not in\n{said}");
    }
    let status = stack.status("env");
    assert_eq!(status["envProcess"], "env.wasm -a");
    assert_eq!(status["labels"], json!({"com.openfaas.scale.max": "2"}));
    let manifest = stack.server.admin("GET", "/api/v1/namespaces/default/functions/env", b"");
    let limits = &manifest.json()["limits"];
    assert_eq!([&limits["memory"], &limits["timeout"]], ["32Mi", "5s"]);
    assert_eq!(limits["concurrency"], 10);
    assert_eq!(dhow(&["apply", "--dry-run", "-f", &path("stack.yml")]).0.lines().count(), 1);

    std::fs::write(path("hello.yml"), GENERATED.replace("REGISTRY", &host)).unwrap();
    dhow(&["apply", "-f", &path("hello.yml")]);
    assert_eq!(stack.server.get("/function/hello").status, 200);
    assert_eq!(stack.replicas("hello"), 1);
    dhow(&["delete", "-f", &path("stack.yml"), "-f", &path("hello.yml")]);
    assert_eq!(stack.server.get("/function/env").status, 404);

    // Everything wrong is named, and nothing is applied.
    std::fs::write(path("env.yml"), "environment: {A: [1]}").unwrap();
    let wrong = STACK.replace("lang:", "oops: 1\n    lang:");
    std::fs::write(path("stack.yml"), wrong).unwrap();
    let said = stack.server.fails(&["apply", "-f", &path("stack.yml")]);
    for named in ["functions.env.oops", "functions.env.environment_file[0]"] {
        assert!(said.contains(named), "{named} is not in {said}");
    }
    assert_eq!(stack.server.get("/function/env").status, 404);
}
