//! Who answers. Clients read every field without asking whether it is there.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::System;

pub(super) async fn show(State(system): State<System>) -> Json<Value> {
    let release = system.admin.version;
    // Released builds are known by their version alone.
    let version = json!({"release": release, "sha": release, "commit_message": ""});
    Json(json!({
        "provider": {"provider": "dhow", "version": version, "orchestration": "dhow"},
        "version": version,
        "arch": std::env::consts::ARCH,
    }))
}
