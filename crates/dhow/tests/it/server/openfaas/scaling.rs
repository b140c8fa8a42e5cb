//! Replicas: set, asked for by alerts, gone to sleep and woken.

use serde_json::{Value, json};

use super::super::rig::wait_for;
use super::Stack;

#[test]
fn replicas_are_set_and_alerted_within_their_bounds_and_outlive_a_kill() {
    let stack = Stack::new(&["hello"]);
    let labels = json!({"com.openfaas.scale.min": "2", "com.openfaas.scale.max": "10",
        "com.openfaas.scale.factor": "25"});
    stack.deployed("hello", json!({"labels": labels}));
    assert_eq!(stack.replicas("hello"), 2);
    let scale = |replicas: u64| {
        let body = json!({"serviceName": "hello", "replicas": replicas});
        let answer = stack.system("POST", "scale-function/hello?namespace=openfaas-fn", &body);
        assert_eq!(answer.status, 202, "{}", answer.text());
        stack.replicas("hello")
    };
    assert_eq!([scale(5), scale(99), scale(1)], [5, 10, 2]);
    let alert = |status: &str, function: &str| {
        let labels = json!({"alertname": "APIHighInvocationRate", "function_name": function});
        let alerts = json!([{"status": status, "labels": labels}]);
        stack.system("POST", "alert", &json!({"status": status, "alerts": alerts})).status
    };
    assert_eq!(alert("firing", "hello.openfaas-fn"), 200);
    assert_eq!(stack.replicas("hello"), 5);
    assert_eq!(alert("resolved", "hello"), 200);
    assert_eq!(stack.replicas("hello"), 2);
    assert_eq!(alert("firing", "nobody"), 500);
    assert_eq!(stack.system("POST", "alert", &json!({"alerts": 1})).status, 400);
    let body = json!({"replicas": 1});
    assert_eq!(stack.system("POST", "scale-function/nobody", &body).status, 404);
    stack.server.deploy_as("native", "hello", &[]);
    assert_eq!(stack.system("POST", "scale-function/native", &body).status, 400);

    assert_eq!(scale(7), 7);
    let Stack { server, registry } = stack;
    let server = super::Server::in_folder(server.kill(), &[]);
    assert_eq!(Stack { server, registry }.replicas("hello"), 7);
}

#[test]
fn a_function_without_replicas_answers_the_next_call() {
    let stack = Stack::new(&["hello"]);
    stack.deployed("hello", json!({}));
    let none = json!({"serviceName": "hello", "replicas": 0});
    assert_eq!(stack.system("POST", "scale-function/hello", &none).status, 202);
    let status = stack.status("hello");
    assert_eq!([&status["replicas"], &status["availableReplicas"]], [&Value::Null; 2]);
    assert_eq!(stack.server.get("/function/hello").status, 200);
    wait_for(|| (stack.replicas("hello") == 1).then_some(()));

    let labels = json!({"com.openfaas.scale.zero": "true",
        "com.openfaas.scale.zero-duration": "1s"});
    stack.deployed("hello", json!({"labels": labels}));
    for _ in 0..2 {
        wait_for(|| (stack.replicas("hello") == 0).then_some(()));
        assert_eq!(stack.server.get("/function/hello").status, 200);
    }
}
