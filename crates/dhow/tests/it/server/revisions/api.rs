//! A client of the admin API that stays connected, and modules that cost next to nothing.

use std::time::Duration;

use serde_json::{Value, json};

/// A command, as text, that answers `says` and a newline.
pub(super) fn module(says: &str) -> String {
    let length = says.len() + 1;
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write"
                (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\08\00\00\00\{length:02x}\00\00\00{says}\n")
            (func (export "_start")
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 100)))))"#
    )
}

/// Speaks to one server over connections that it keeps.
pub(super) struct Api {
    agent: ureq::Agent,
    admin: String,
}

impl Api {
    pub(super) fn new(admin: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)))
            .build()
            .into();
        Self { agent, admin: admin.to_owned() }
    }

    /// The answer's status and JSON; an answer of which only the head came has none.
    ///
    /// # Errors
    /// When no head of an answer came.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<(u16, Value), ureq::Error> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send_bytes(method, path, body.into_bytes())
    }

    fn send_bytes(
        &self,
        method: &str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(u16, Value), ureq::Error> {
        let url = format!("{}/api/v1/{path}", self.admin);
        let request = ureq::http::Request::builder().method(method).uri(url);
        let mut answer = match body.is_empty() {
            true => self.agent.run(request.body(()).unwrap())?,
            false => self.agent.run(request.body(body).unwrap())?,
        };
        let status = answer.status().as_u16();
        let bytes = answer.body_mut().with_config().limit(1 << 30).read_to_vec();
        // Uploads answer a line per step; the last one says what became of it.
        let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let last = text.as_deref().unwrap_or_default().trim().lines().last().unwrap_or_default();
        Ok((status, serde_json::from_str(last).unwrap_or_default()))
    }

    /// The same, which has to succeed.
    pub(super) fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.send(method, path, body).unwrap();
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Sends a module; its digest.
    pub(super) fn upload(&self, module: &[u8]) -> String {
        let (_, event) = self.send_bytes("POST", "artifacts", module.to_vec()).unwrap();
        event["artifact"]["digest"].as_str().unwrap_or_else(|| panic!("{event}")).to_owned()
    }
}

/// Where a function of the default namespace is.
pub(super) fn path(name: &str, below: &str) -> String {
    format!("namespaces/default/functions/{name}{below}")
}

/// A manifest of a function whose environment is marked.
pub(super) fn manifest(name: &str, digest: &str, mark: u64, routes: &[&str]) -> Value {
    let routes: Vec<_> = routes.iter().map(|path| json!({"path": path})).collect();
    json!({
        "apiVersion": "dhow.dev/v1alpha1",
        "kind": "Function",
        "metadata": {"name": name},
        "spec": {
            "source": {"blob": digest},
            "env": [{"name": "MARK", "value": mark.to_string()}],
            "routes": routes,
        },
    })
}

/// The body that spreads calls so.
pub(super) fn weights<'a>(shares: impl IntoIterator<Item = (&'a u64, &'a u32)>) -> Value {
    let share = |(revision, weight)| json!({"revision": revision, "weight": weight});
    json!({"weights": shares.into_iter().map(share).collect::<Vec<_>>()})
}
