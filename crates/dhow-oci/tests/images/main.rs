//! Images in every format: manifests written by hand from what the formats' authors published,
//! images written by skopeo, umoci and buildah, and the way from `pack` back. Needs the programs of
//! the packages skopeo, umoci and buildah.

#![allow(clippy::unwrap_used, reason = "a test that can't go on ends there")]

mod golden;
mod memory;
mod real;
mod round;

use std::path::Path;
use std::sync::Arc;

use dhow_oci::image::budget::Budget;
use dhow_oci::image::error::PullError;
use dhow_oci::image::pull::{Ask, pull};
use dhow_oci::image::pulled::{Entry, Pulled, Run};
use dhow_oci::source::Source;

/// The least module.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn ask(staging: &Path) -> Ask {
    Ask {
        staging: staging.to_owned(),
        budget: Budget::default(),
        command: Vec::new(),
        machine: "amd64".to_owned(),
        hear: Arc::new(|_, _| {}),
        hold: Arc::new(()),
    }
}

/// Pulls and says why not by the short name.
async fn refused(source: &dyn Source) -> &'static str {
    let staging = tempfile::tempdir().unwrap();
    pull(source, &ask(staging.path())).await.map(|pulled| pulled.format).unwrap_err().reason()
}

/// Pulls; what is pulled lies in the folder. Nothing but that is left there.
async fn pulled(source: &dyn Source) -> Result<(Pulled, tempfile::TempDir), PullError> {
    let staging = tempfile::tempdir().unwrap();
    let pulled = pull(source, &ask(staging.path())).await?;
    let application = match &pulled.entry {
        Entry::Spin(locked) => Some(locked),
        _ => None,
    };
    let mut needed: Vec<_> = pulled.modules.iter().map(|module| &module.file.path).collect();
    needed.extend(pulled.files.iter().map(|file| &file.file.path));
    needed.extend(application.map(|locked| &locked.path));
    for entry in std::fs::read_dir(staging.path()).unwrap() {
        let path = entry.unwrap().path();
        assert!(needed.contains(&&path), "{} was left behind", path.display());
    }
    Ok((pulled, staging))
}

fn run(pulled: &Pulled) -> &Run {
    match &pulled.entry {
        Entry::Module(run) => run,
        other => panic!("no module runs, but {other:?}"),
    }
}

fn only_module(pulled: &Pulled) -> (&str, Vec<u8>) {
    assert_eq!(pulled.modules.len(), 1);
    let module = &pulled.modules[0];
    (&module.name, std::fs::read(&module.file.path).unwrap())
}
