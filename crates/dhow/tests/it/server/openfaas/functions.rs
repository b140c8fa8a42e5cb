//! Functions: deployed, shown, deployed again, deleted.

use dhow_testkit::registry::run;
use serde_json::{Value, json};

use super::super::rig::wait_for;
use super::Stack;

#[test]
fn a_function_is_deployed_shown_deployed_again_and_deleted() {
    let stack = Stack::new(&["env"]);
    assert_eq!(stack.system("GET", "functions", &Value::Null).json(), json!([]));
    let more = json!({
        "envProcess": "env.wasm -a b", "envVars": {"GREETING": "hi"},
        "labels": {"team": "a"}, "annotations": {"note": "mine"},
        "limits": {"memory": "32Mi", "cpu": "500m"}, "requests": {"memory": "1Mi"},
        "constraints": ["zone=a"], "readOnlyRootFilesystem": true,
    });
    let deployment = stack.deployment("env", more.clone());
    // Clients ask for an update first and go by its 404.
    assert_eq!(stack.system("PUT", "functions", &deployment).status, 404);
    let created = stack.system("POST", "functions", &deployment);
    assert_eq!((created.status, created.text()), (202, String::new()));
    assert_eq!(created.headers.get_all("x-dhow-note").iter().count(), 2);
    assert_eq!(stack.system("POST", "functions", &deployment).status, 500);
    assert_eq!(stack.system("PUT", "functions", &deployment).status, 202);

    let list = stack.system("GET", "functions?namespace=openfaas-fn", &Value::Null).json();
    let one = &list[0];
    assert_eq!(*one, stack.status("env"));
    assert_eq!(one["name"], "env");
    assert_eq!(one["image"], stack.image("env"));
    assert_eq!(one["namespace"], "openfaas-fn");
    for (field, value) in more.as_object().unwrap() {
        if field != "envVars" {
            assert_eq!(one[field], *value, "{field}");
        }
    }
    assert_eq!(one["envVars"]["GREETING"], "hi");
    assert_eq!([&one["replicas"], &one["availableReplicas"]], [1, 1]);
    assert!(one["createdAt"].as_str().unwrap().ends_with('Z'));

    let said = stack.server.get("/function/env.openfaas-fn/a/b?x=1").text();
    for line in ["Http_Path=/a/b", "Http_Query=x=1", "GREETING=hi", "argv[1]=-a", "argv[2]=b"] {
        assert!(said.lines().any(|found| found == line), "{line} is not in\n{said}");
    }
    for line in ["Http_X_Call_Id=", "Http_X_Start_Time=", "Http_X_Forwarded_Host="] {
        assert!(said.lines().any(|found| found.starts_with(line)), "{line} is not in\n{said}");
    }
    wait_for(|| (stack.status("env")["invocationCount"] == 1).then_some(()));
    let metric =
        |line: &str| wait_for(|| stack.server.metric(&format!("{line}{{{}}}", labels(line))));
    assert_eq!(metric("gateway_function_invocation_total"), 1.0);
    assert_eq!(metric("gateway_functions_seconds_count"), 1.0);
    assert_eq!(metric("gateway_function_invocation_started"), 1.0);
    assert_eq!(metric("gateway_service_count"), 1.0);

    // It is one of dhow's functions as well.
    assert!(stack.server.ok(&["describe", "env"]).contains("32Mi"));
    let gone = json!({"functionName": "env", "namespace": "openfaas-fn"});
    assert_eq!(stack.system("DELETE", "functions", &json!({"functionName": ""})).status, 400);
    assert_eq!(stack.system("DELETE", "functions", &gone).status, 202);
    assert_eq!(stack.system("DELETE", "functions", &gone).status, 404);
    assert_eq!(stack.system("GET", "function/env", &Value::Null).status, 404);
    assert_eq!(stack.server.get("/function/env").status, 404);
}

fn labels(metric: &str) -> &'static str {
    match metric {
        "gateway_function_invocation_total" | "gateway_functions_seconds_count" => {
            "code=\"200\",function_name=\"env.openfaas-fn\""
        }
        _ => "function_name=\"env.openfaas-fn\"",
    }
}

#[test]
fn what_can_not_run_here_is_refused_by_name() {
    let stack = Stack::new(&["hello"]);
    let refused = |more: Value, named: &str| {
        let answer = stack.deploy("hello", more);
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains(named), "{named} is not in {}", answer.text());
    };
    refused(json!({"service": "Hello"}), "service");
    refused(json!({"limits": {"memory": "none", "nvidia.com/gpu": "1"}}), "nvidia.com/gpu");
    refused(json!({"labels": {"com.openfaas.scale.type": "rps"}}), "com.openfaas.scale.type");
    refused(json!({"secrets": ["nobody"]}), "nobody");
    assert_eq!(stack.system("POST", "functions", &json!("text")).status, 400);
    assert_eq!(stack.system("PATCH", "functions", &Value::Null).status, 405);
    assert_eq!(stack.system("GET", "nothing", &Value::Null).status, 404);

    // An image of something else.
    let layout = stack.server.path().join("other");
    let layout = layout.to_str().unwrap();
    let image = format!("{layout}:v1");
    std::fs::write(stack.server.path().join("a.txt"), "no module").unwrap();
    let text = stack.server.path().join("a.txt");
    run("umoci", "umoci", &["init", "--layout", layout]);
    run("umoci", "umoci", &["new", "--image", &image]);
    run("umoci", "umoci", &["insert", "--image", &image, text.to_str().unwrap(), "/a.txt"]);
    let reference = format!("docker://{}", stack.image("other"));
    let options = ["copy", "--dest-tls-verify=false", &format!("oci:{image}"), &reference];
    run("skopeo", "skopeo", &options);
    let answer = stack.deploy("other", json!({}));
    assert_eq!((answer.status, answer.reason()), (400, "not-wasm"), "{}", answer.text());
    assert_eq!(stack.system("GET", "functions", &Value::Null).json(), json!([]));
}

#[test]
fn namespaces_are_those_that_something_is_in() {
    let stack = Stack::new(&["hello"]);
    stack.deployed("hello", json!({"namespace": "shop"}));
    assert_eq!(stack.server.get("/function/hello.shop").status, 200);
    assert_eq!(stack.server.get("/function/hello").status, 404);
    assert_eq!(stack.system("GET", "functions", &Value::Null).json(), json!([]));
    let namespaces = stack.system("GET", "namespaces", &Value::Null).json();
    assert_eq!(namespaces, json!(["openfaas-fn", "shop"]));
    let shop = stack.system("GET", "namespace/shop", &Value::Null);
    assert_eq!((shop.status, shop.json()["name"].as_str()), (200, Some("shop")));
    assert_eq!(stack.system("GET", "namespace/none", &Value::Null).status, 404);
    let create = |name: &str| stack.system("POST", "namespace/", &json!({"name": name})).status;
    assert_eq!([create("openfaas-fn"), create("more")], [409, 501]);
    let file = stack.server.path().join("hello.wasm");
    let file = file.to_str().unwrap();
    let said = stack.server.fails(&["deploy", "x", file, "--namespace", "openfaas-fn"]);
    assert!(said.contains("default"), "{said}");

    let info = stack.system("GET", "info", &Value::Null).json();
    for place in ["/provider/provider", "/provider/version/release", "/version/sha", "/arch"] {
        assert!(info.pointer(place).is_some_and(Value::is_string), "{place} is not in {info}");
    }
    assert_eq!(stack.server.get("/healthz").status, 200);
    let health = super::call(&format!("{}/healthz", stack.server.metrics), "GET", &[], b"");
    assert_eq!((health.status, health.text().as_str()), (200, "OK"));
}
