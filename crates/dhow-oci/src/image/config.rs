//! The configuration of an image: what it starts and with what (OCI image specification 1.1,
//! `config.md`; Docker's is the same in these fields).

use std::collections::BTreeMap;

use dhow_core::digest::Digest;
use serde::{Deserialize, Serialize};

use super::error::PullError;
use super::manifest::json;

/// An image's configuration, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// As in `wasm`, `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// As in `wasi`, `linux`.
    #[serde(default)]
    pub os: String,
    /// What is started.
    #[serde(default)]
    config: Option<Start>,
    /// What the layers are, unpacked.
    #[serde(default)]
    rootfs: Option<Rootfs>,
}

/// What an image starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Start {
    /// The program and its first arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Further arguments, or the program where there is no entry point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// `NAME=VALUE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    /// The folder that relative paths start from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Free notes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Rootfs {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    diff_ids: Vec<String>,
}

impl ImageConfig {
    /// The configuration of an image of one layer.
    pub(super) fn of_one_layer(os: &str, start: Start, unpacked: Digest) -> Self {
        Self {
            architecture: "wasm".to_owned(),
            os: os.to_owned(),
            config: Some(start),
            rootfs: Some(Rootfs {
                kind: "layers".to_owned(),
                diff_ids: vec![unpacked.to_string()],
            }),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`PullError::BadManifest`].
    pub fn read(bytes: &[u8]) -> Result<Self, PullError> {
        json("the image's configuration", bytes)
    }

    /// What is started; nothing where nothing is said.
    pub fn start(&self) -> Start {
        self.config.clone().unwrap_or_default()
    }

    /// The digests of the layers, unpacked; empty where the configuration has none.
    ///
    /// # Errors
    /// [`PullError::BadManifest`] when they are not those of `layers` layers.
    pub fn unpacked(&self, layers: usize) -> Result<Vec<Digest>, PullError> {
        let what = "the image's configuration";
        let ids = self.rootfs.as_ref().map_or(&[][..], |rootfs| &rootfs.diff_ids[..]);
        if !ids.is_empty() && ids.len() != layers {
            let why = format!("it names {} layers, the manifest {layers}", ids.len());
            return Err(PullError::manifest(what, why));
        }
        ids.iter().map(|id| id.parse().map_err(|error| PullError::manifest(what, error))).collect()
    }
}

impl Start {
    /// The environment as names and values; a later one of the same name wins. What has no name is
    /// left out.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut variables: Vec<(String, String)> = Vec::new();
        for variable in self.env.iter().flatten() {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            if name.is_empty() {
                continue;
            }
            match variables.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = value.to_owned(),
                None => variables.push((name.to_owned(), value.to_owned())),
            }
        }
        variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_missing_parts_are_nothing_said() {
        for text in
            ["{}", r#"{"config":null,"rootfs":null}"#, r#"{"config":{"Cmd":null,"Env":null}}"#]
        {
            let config = ImageConfig::read(text.as_bytes()).unwrap();
            assert_eq!(config.start(), Start::default());
            assert_eq!(config.unpacked(3).unwrap(), []);
        }
        let wrong = ImageConfig::read(br#"{"rootfs":{"type":"layers","diff_ids":["sha256:0"]}}"#);
        assert_eq!(wrong.as_ref().unwrap().unpacked(2).unwrap_err().reason(), "bad-manifest");
        assert_eq!(wrong.unwrap().unpacked(1).unwrap_err().reason(), "bad-manifest");
    }

    #[test]
    fn the_last_variable_of_a_name_wins() {
        let config = br#"{"config":{"Env":["A=1","B","=x","A=2=3"]}}"#;
        let env = ImageConfig::read(config).unwrap().start().environment();
        assert_eq!(env, [("A".into(), "2=3".into()), ("B".into(), String::new())]);
    }
}
