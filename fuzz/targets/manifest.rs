//! A manifest or an index, a configuration and a locked Spin application, as strangers write them.
#![no_main]

use std::path::{Component, Path};

use dhow_oci::image::classify::{Parts, classify};
use dhow_oci::image::command::run_layer;
use dhow_oci::image::config::ImageConfig;
use dhow_oci::image::manifest::{Document, Index, Manifest, read};
use dhow_oci::image::{media, platform, spin};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (document, config, locked) = (part(), part(), part());
    match read(document, None) {
        Ok(Document::Manifest(manifest)) => look(&manifest, config),
        Ok(Document::Index(index)) => choose(&index),
        Err(error) => assert!(!error.reason().is_empty() && !error.to_string().is_empty()),
    }
    start(config);
    application(locked);
});

fn look(manifest: &Manifest, config: &[u8]) {
    let written = serde_json::to_vec(manifest).expect("a manifest is JSON");
    assert_eq!(read(&written, None).ok(), Some(Document::Manifest(manifest.clone())));
    let Ok(classified) = classify(manifest, config) else { return };
    match classified.parts {
        Parts::Module { layer, .. } => {
            assert!(manifest.layers.contains(layer) && media::is_module(&layer.media_type));
        }
        Parts::Rootfs { layers, config } => {
            assert!(!layers.is_empty() && layers == manifest.layers);
            assert!(layers.iter().all(|layer| media::is_rootfs(&layer.media_type)));
            if let Ok(unpacked) = config.unpacked(layers.len()) {
                assert!(unpacked.is_empty() || unpacked.len() == layers.len());
            }
        }
        Parts::Spin { application: Some(layer) } => {
            assert_eq!(layer.media_type, media::SPIN_APPLICATION);
        }
        Parts::Spin { application: None } => assert!(spin::is_locked_application(config)),
    }
}

fn choose(index: &Index) {
    let written = serde_json::to_vec(index).expect("an index is JSON");
    assert_eq!(read(&written, None).ok(), Some(Document::Index(index.clone())));
    let Ok(entry) = platform::choose(index, "amd64") else { return };
    assert!(index.manifests.contains(entry));
}

/// What an image starts has variables of different names, and nothing out of nowhere.
fn start(config: &[u8]) {
    let Ok(config) = ImageConfig::read(config) else { return };
    #[cfg(feature = "planted")]
    planted(&config);
    let start = config.start();
    let run = run_layer(&start, &[]);
    let names: std::collections::HashSet<_> = run.env.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), run.env.len());
    let words = start.entrypoint.iter().chain(&start.cmd).flatten().count();
    assert!(run.words.len() + run.args.len() <= words);
}

fn application(locked: &[u8]) {
    let Ok(application) = spin::read(locked) else { return };
    assert!(spin::is_locked_application(locked) && !application.modules.is_empty());
    for (_, path, _) in &application.files {
        let mut names = Path::new(path).components();
        assert!(!path.is_empty() && names.all(|name| matches!(name, Component::Normal(_))));
    }
}

/// Wrongly holds that no image's system has a digit in its name.
#[cfg(feature = "planted")]
fn planted(config: &ImageConfig) {
    assert!(!config.os.contains(|c: char| c.is_ascii_digit()), "planted");
}
