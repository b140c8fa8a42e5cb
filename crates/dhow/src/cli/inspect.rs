//! Showing what a module is, and the image that it came in. Finding it out is the engine's and
//! `dhow-oci`'s.

use dhow_core::abi::Abi;
use dhow_core::ports::Artifact;
use dhow_oci::image::pulled::{Entry, Pulled};
use dhow_oci::reference::Reference;
use serde_json::{Value, json};

use super::error::CommandError;
use super::output::{Format, Output};

/// What was found.
#[derive(Debug, Clone, Copy)]
pub struct Found<'f> {
    /// The module; none where an image has several.
    pub artifact: Option<&'f Artifact>,
    /// The image, and the reference that led to it.
    pub image: Option<(&'f Pulled, Option<&'f Reference>)>,
}

/// Prints what was found.
///
/// # Errors
/// When it can't be written.
pub fn print(found: &Found<'_>, format: Format, output: &mut Output) -> Result<(), CommandError> {
    match format {
        Format::Json | Format::Yaml => output.value(&value(found), format)?,
        Format::Name => {
            let module = found.artifact.map(|artifact| artifact.digest);
            let digest = module.or_else(|| found.image.map(|(image, _)| image.manifest));
            if let Some(digest) = digest {
                output.line(digest)?;
            }
        }
        Format::Table | Format::Wide => {
            let image = found.image.map(|(image, reference)| image_facts(image, reference));
            let facts = found.artifact.map(facts);
            for (title, text) in image.into_iter().chain(facts).flatten() {
                output.foreign_line(&format!("{:<9}{text}", format!("{title}:")))?;
            }
        }
    }
    Ok(())
}

fn value(found: &Found<'_>) -> Value {
    let mut value = match found.artifact {
        Some(artifact) => module_value(artifact),
        None => json!({}),
    };
    if let Some((image, reference)) = found.image {
        value["image"] = image_value(image, reference);
    }
    value
}

fn module_value(artifact: &Artifact) -> Value {
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

fn image_value(image: &Pulled, reference: Option<&Reference>) -> Value {
    let mut value = json!({
        "reference": reference.map(Reference::to_string),
        "manifest": image.manifest.to_string(),
        "format": image.format.name(),
        "modules": image.modules.iter().map(|module| &module.name).collect::<Vec<_>>(),
        "labels": image.labels,
        "warnings": image.warnings,
    });
    if let Entry::Module(run) = &image.entry {
        let variable = |(name, value): &(String, String)| json!({"name": name, "value": value});
        value["args"] = json!([&run.words[..], &run.args].concat());
        value["env"] = run.env.iter().map(variable).collect();
    }
    value
}

fn image_facts(image: &Pulled, reference: Option<&Reference>) -> Vec<(&'static str, String)> {
    let mut facts =
        vec![("Image", image.manifest.to_string()), ("Format", image.format.name().to_owned())];
    facts.extend(reference.map(|reference| ("From", reference.to_string())));
    facts.extend(image.modules.iter().map(|module| ("Module", module.name.clone())));
    if let Entry::Module(run) = &image.entry {
        let args = run.words.iter().chain(&run.args);
        facts.extend(args.map(|arg| ("Argument", arg.clone())));
        facts.extend(run.env.iter().map(|(name, value)| ("Env", format!("{name}={value}"))));
    }
    facts.extend(image.labels.iter().map(|(name, value)| ("Label", format!("{name}={value}"))));
    facts.extend(image.warnings.iter().map(|warning| ("Warning", warning.clone())));
    facts
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
            let found = Found { artifact: Some(&artifact), image: None };
            print(&found, format, &mut output).unwrap();
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
