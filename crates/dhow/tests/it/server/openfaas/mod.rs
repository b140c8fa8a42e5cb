//! OpenFaaS' API on the data port, as its clients speak to it: the same requests in the same order,
//! with functions out of a real registry.

mod access;
mod calls;
mod functions;
mod manifests;
mod scaling;
mod secrets;

use dhow_testkit::registry::Daemon;
use serde_json::{Value, json};

use super::rig::{Answer, Server, call};

/// A server beside a registry that holds `guests`, each as an image under its own name.
struct Stack {
    server: Server,
    registry: Daemon,
}

impl Stack {
    fn with(options: &[&str], guests: &[&str]) -> Self {
        let (server, registry) = (Server::with(options), Daemon::plain());
        for guest in guests {
            let file = server.guest(guest);
            let reference = format!("{}/{guest}:v1", registry.host());
            let file = file.to_str().expect("UTF-8");
            server.ok(&["push", file, &reference, "--format", "image"]);
        }
        Self { server, registry }
    }

    fn new(guests: &[&str]) -> Self {
        Self::with(&[], guests)
    }

    fn image(&self, guest: &str) -> String {
        format!("{}/{guest}:v1", self.registry.host())
    }

    fn system(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { vec![] } else { body.to_string().into_bytes() };
        call(&format!("{}/system/{path}", self.server.gateway), method, &[], &body)
    }

    /// A deployment of `guest` under its own name, with more fields.
    fn deployment(&self, guest: &str, more: Value) -> Value {
        let mut deployment = json!({"service": guest, "image": self.image(guest), "labels": {},
            "annotations": {}});
        let Value::Object(more) = more else { panic!("fields are a mapping") };
        deployment.as_object_mut().expect("a mapping").extend(more);
        deployment
    }

    /// Deploys as clients do: as if it were there, and then anew.
    fn deploy(&self, guest: &str, more: Value) -> Answer {
        let deployment = self.deployment(guest, more);
        let answer = self.system("PUT", "functions", &deployment);
        if answer.status != 404 {
            return answer;
        }
        self.system("POST", "functions", &deployment)
    }

    fn deployed(&self, guest: &str, more: Value) {
        let answer = self.deploy(guest, more);
        assert_eq!(answer.status, 202, "{}", answer.text());
    }

    fn status(&self, name: &str) -> Value {
        let answer = self.system("GET", &format!("function/{name}?usage=1"), &Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    fn replicas(&self, name: &str) -> u64 {
        self.status(name)["availableReplicas"].as_u64().unwrap_or(0)
    }
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
}
