//! The configuration of an image: what it starts and with what (OCI image specification 1.1,
//! `config.md`; Docker's is the same in these fields).

use std::collections::{BTreeMap, HashMap};

use dhow_core::digest::Digest;
use dhow_core::limits::ARGS_AND_ENV;
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
    /// [`PullError::BadManifest`]; [`PullError::TooLarge`] when it starts a program with more words
    /// and variables than a function may have.
    pub fn read(bytes: &[u8]) -> Result<Self, PullError> {
        let config: Self = json("the image's configuration", bytes)?;
        if config.config.as_ref().is_some_and(|start| start.bytes() > ARGS_AND_ENV) {
            return Err(PullError::TooLarge {
                what: "what the image's configuration says to start".to_owned(),
                most: format!("{ARGS_AND_ENV} bytes of arguments and variables"),
            });
        }
        Ok(config)
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
    /// Bytes of what it says, each part with one more, so that empty ones are not for nothing.
    fn bytes(&self) -> usize {
        let lists = [&self.entrypoint, &self.cmd, &self.env];
        let words = lists.into_iter().flatten().flatten().chain(&self.working_dir);
        words.map(|word| word.len() + 1).sum()
    }

    /// The environment as names and values; a later one of the same name wins. What has no name is
    /// left out.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut variables: Vec<(String, String)> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        for variable in self.env.iter().flatten() {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            if name.is_empty() {
                continue;
            }
            let at = *known.entry(name).or_insert(variables.len());
            match variables.get_mut(at) {
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
    fn more_words_than_a_function_may_have_are_refused_at_once() {
        let config = |key: &str, words: usize| {
            let words: Vec<String> = (0..words).map(|at| format!("V{at:06}=")).collect();
            ImageConfig::read(serde_json::json!({"config": {key: words}}).to_string().as_bytes())
        };
        for key in ["Entrypoint", "Cmd", "Env"] {
            assert_eq!(config(key, 10_000).unwrap_err().reason(), "too-large", "{key}");
        }
        assert_eq!(config("Env", 7_000).unwrap().start().environment().len(), 7_000);
        let folder = serde_json::json!({"config": {"WorkingDir": "x".repeat(ARGS_AND_ENV)}});
        let folder = ImageConfig::read(folder.to_string().as_bytes());
        assert_eq!(folder.unwrap_err().reason(), "too-large");
    }

    #[test]
    fn the_last_variable_of_a_name_wins() {
        let config = br#"{"config":{"Env":["A=1","B","=x","A=2=3"]}}"#;
        let env = ImageConfig::read(config).unwrap().start().environment();
        assert_eq!(env, [("A".into(), "2=3".into()), ("B".into(), String::new())]);
    }
}
