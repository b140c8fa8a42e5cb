//! What OpenFaaS says of a function and dhow's own Function has no place for: kept as JSON in an
//! annotation, and shown again.

use serde_json::{Map, Value, json};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extra {
    /// The image as it was named, before it was pinned.
    pub image: String,
    /// `envProcess`, `fprocess` or `handler`.
    pub process: Option<String>,
    /// Names of secrets of the function's namespace.
    pub secrets: Vec<String>,
    /// Where it may run.
    pub constraints: Vec<String>,
    /// The limits as they were written.
    pub limits: Resources,
    /// What a scheduler would set aside.
    pub requests: Resources,
    /// Whether its files shall not change.
    pub read_only: bool,
    /// What somebody set the number of replicas to since it was deployed.
    pub scaled: Option<Scaled>,
}

/// Amounts as they were written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources {
    /// Such as `128Mi`.
    pub memory: Option<String>,
    /// Such as `100m`.
    pub cpu: Option<String>,
}

/// A number of replicas that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scaled {
    /// So many.
    pub replicas: u32,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
}

impl Extra {
    /// The annotation's text.
    pub fn encode(&self) -> String {
        let Self { image, process, secrets, constraints, limits, requests, read_only, scaled } =
            self;
        let mut written = json!({"image": image});
        if let Some(process) = process {
            written["process"] = json!(process);
        }
        for (name, list) in [("secrets", secrets), ("constraints", constraints)] {
            if !list.is_empty() {
                written[name] = json!(list);
            }
        }
        for (name, resources) in [("limits", limits), ("requests", requests)] {
            if let Some(resources) = resources.encode() {
                written[name] = resources;
            }
        }
        if *read_only {
            written["readOnly"] = json!(true);
        }
        if let Some(Scaled { replicas, at_ms }) = scaled {
            written["scaled"] = json!({"replicas": replicas, "atMs": at_ms});
        }
        written.to_string()
    }

    /// Reads what [`Self::encode`] wrote. Text that people put there themselves says nothing.
    pub fn decode(text: &str) -> Self {
        let written: Value = serde_json::from_str(text).unwrap_or_default();
        let list = |name: &str| {
            let list = written[name].as_array().into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let scaled = &written["scaled"];
        let replicas = scaled["replicas"].as_u64().and_then(|number| u32::try_from(number).ok());
        Self {
            image: written["image"].as_str().unwrap_or_default().to_owned(),
            process: written["process"].as_str().map(str::to_owned),
            secrets: list("secrets"),
            constraints: list("constraints"),
            limits: Resources::decode(&written["limits"]),
            requests: Resources::decode(&written["requests"]),
            read_only: written["readOnly"].as_bool().unwrap_or_default(),
            scaled: replicas.map(|replicas| Scaled {
                replicas,
                at_ms: scaled["atMs"].as_u64().unwrap_or_default(),
            }),
        }
    }
}

impl Resources {
    /// As OpenFaaS' JSON has them; `None` when nothing is said.
    pub(super) fn encode(&self) -> Option<Value> {
        let Self { memory, cpu } = self;
        let mut said = Map::new();
        for (name, text) in [("memory", memory), ("cpu", cpu)] {
            if let Some(text) = text {
                said.insert(name.to_owned(), json!(text));
            }
        }
        (!said.is_empty()).then_some(Value::Object(said))
    }

    fn decode(written: &Value) -> Self {
        let text = |name: &str| written[name].as_str().map(str::to_owned);
        Self { memory: text("memory"), cpu: text("cpu") }
    }
}
