//! Showing what a module is. Finding it out is the engine's.

use dhow_core::abi::Abi;
use dhow_core::ports::Artifact;
use serde_json::{Value, json};

use super::error::CommandError;
use super::output::{Format, Output};

/// Prints what a module is.
///
/// # Errors
/// When it can't be written.
pub fn print(artifact: &Artifact, format: Format, output: &mut Output) -> Result<(), CommandError> {
    match format {
        Format::Json | Format::Yaml => output.value(&value(artifact), format)?,
        Format::Name => output.line(artifact.digest)?,
        Format::Table | Format::Wide => {
            for (title, text) in facts(artifact) {
                output.line(format_args!("{:<9}{text}", format!("{title}:")))?;
            }
        }
    }
    Ok(())
}

fn value(artifact: &Artifact) -> Value {
    let Artifact { digest, size, kind, abis, imports, exports } = artifact;
    json!({
        "digest": digest.to_string(),
        "size": size,
        "kind": kind,
        "abi": artifact.abi().as_str(),
        "abis": abis.iter().map(|abi| abi.as_str()).collect::<Vec<_>>(),
        "imports": imports,
        "exports": exports,
    })
}

fn facts(artifact: &Artifact) -> Vec<(&'static str, String)> {
    let Artifact { digest, size, kind, abis, imports, exports } = artifact;
    let abis = match abis.as_slice() {
        [first, others @ ..] if !others.is_empty() => {
            let others: Vec<_> = others.iter().map(|abi| abi.as_str()).collect();
            format!("{first}; with --abi also {}", others.join(", "))
        }
        abis => abis.first().map(Abi::to_string).unwrap_or_default(),
    };
    let mut facts = vec![
        ("Digest", digest.to_string()),
        ("Size", format!("{size} bytes")),
        ("Kind", (*kind).to_owned()),
        ("ABI", abis),
    ];
    facts.extend(imports.iter().map(|import| ("Import", import.clone())));
    facts.extend(exports.iter().map(|export| ("Export", export.clone())));
    facts
}

#[cfg(test)]
mod tests {
    use dhow_core::digest::Digest;

    use super::*;
    use crate::cli::output::tests::kept;

    #[test]
    fn an_artifact_is_shown_whole_in_every_format() {
        let artifact = Artifact {
            digest: Digest::from_bytes([0; 32]),
            size: 7,
            kind: "component",
            abis: vec![Abi::Http, Abi::Command],
            imports: vec!["wasi:io/streams@0.2.3".to_owned()],
            exports: vec!["wasi:http/incoming-handler@0.2.3".to_owned()],
        };
        let printed = |format| {
            let (mut output, data, _) = kept(false);
            print(&artifact, format, &mut output).unwrap();
            data.text()
        };
        assert_eq!(
            printed(Format::Table),
            format!(
                "Digest:  sha256:{}\nSize:    7 bytes\nKind:    component\n\
                 ABI:     http; with --abi also command\nImport:  wasi:io/streams@0.2.3\n\
                 Export:  wasi:http/incoming-handler@0.2.3\n",
                "0".repeat(64)
            )
        );
        let json: Value = serde_json::from_str(&printed(Format::Json)).unwrap();
        assert_eq!(json["abis"], json!(["http", "command"]));
        assert_eq!(json["imports"][0], "wasi:io/streams@0.2.3");
        assert!(printed(Format::Yaml).contains("kind: component\n"));
        assert_eq!(printed(Format::Name), format!("sha256:{}\n", "0".repeat(64)));
    }
}
