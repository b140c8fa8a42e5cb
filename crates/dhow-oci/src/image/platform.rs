//! Which entry of an index is for us.

use super::descriptor::{Descriptor, Platform};
use super::error::PullError;
use super::manifest::Index;

/// Platforms of WebAssembly as `os/architecture`, best first.
const WASM: [(&str, &str); 5] = [
    ("wasi", "wasm"),
    ("wasip2", "wasm"),
    ("wasip1", "wasm"),
    ("linux", "wasm"),
    ("wasi", "wasm32"),
];

/// This machine's architecture in OCI's words, which are Go's.
pub fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Chooses an entry: WebAssembly first, then Linux on `machine`, then the only one that names no
/// platform. Of several that fit equally the first is taken, as other tools do; but entries that
/// name no platform leave no choice.
///
/// # Errors
/// [`PullError::NoPlatform`].
pub fn choose<'a>(index: &'a Index, machine: &str) -> Result<&'a Descriptor, PullError> {
    let linux = ("linux", machine);
    for (os, architecture) in WASM.into_iter().chain([linux]) {
        let fits = |platform: &Platform| {
            platform.os.eq_ignore_ascii_case(os)
                && platform.architecture.eq_ignore_ascii_case(architecture)
        };
        let found = index.manifests.iter().find(|entry| entry.platform.as_ref().is_some_and(fits));
        if let Some(entry) = found {
            return Ok(entry);
        }
    }
    let bare: Vec<_> = index.manifests.iter().filter(|entry| entry.platform.is_none()).collect();
    match bare[..] {
        [only] => Ok(only),
        [] => Err(PullError::NoPlatform(format!("it has {}", platforms(index)))),
        _ => Err(PullError::NoPlatform(format!(
            "{} entries name no platform, so nothing tells them apart",
            bare.len()
        ))),
    }
}

/// The platforms on offer, for people. Cut, since a stranger wrote them.
fn platforms(index: &Index) -> String {
    let names: Vec<String> = index
        .manifests
        .iter()
        .filter_map(|entry| entry.platform.as_ref())
        .take(20)
        .map(|platform| {
            platform.to_string().chars().take(60).flat_map(char::escape_debug).collect()
        })
        .collect();
    if names.is_empty() { "no entries".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use dhow_core::digest::Digest;

    use super::*;

    fn index(platforms: &[&str]) -> Index {
        let manifests = platforms.iter().enumerate().map(|(at, text)| Descriptor {
            media_type: String::new(),
            digest: Digest::from_bytes([at as u8; 32]),
            size: 0,
            platform: text.split_once('/').map(|(os, architecture)| Platform {
                os: os.to_owned(),
                architecture: architecture.to_owned(),
            }),
            annotations: None,
        });
        Index { schema_version: 2, media_type: None, manifests: manifests.collect() }
    }

    #[test]
    fn wasm_comes_before_linux_and_linux_before_nothing() {
        let chosen = |platforms: &[&str]| {
            let index = index(platforms);
            choose(&index, "amd64")
                .map(|entry| usize::from(entry.digest.hex().as_bytes()[1] - b'0'))
        };
        assert_eq!(chosen(&["linux/amd64", "linux/wasm", "wasi/wasm"]).unwrap(), 2);
        assert_eq!(chosen(&["linux/amd64", "wasi/wasm32", "Wasip1/wasm"]).unwrap(), 2);
        assert_eq!(chosen(&["linux/arm64", "linux/amd64", "unknown/unknown"]).unwrap(), 1);
        assert_eq!(chosen(&["linux/arm64", ""]).unwrap(), 1);
        assert_eq!(chosen(&["linux/arm64"]).unwrap_err().reason(), "no-platform");
        assert_eq!(chosen(&["", ""]).unwrap_err().reason(), "no-platform");
        assert_eq!(chosen(&[]).unwrap_err().reason(), "no-platform");
    }
}
