//! A look at every module that is kept, once after the start: one that is missing or damaged is
//! told of while there is a backup of it.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::thread;

use dhow_core::digest::Digest;
use dhow_core::ports::Catalog;
use dhow_store::blobs::BlobStore;

/// The lowest priority that every user may choose (`setpriority(2)`).
const NICE: i32 = 19;

/// Reads the modules in `needed`, on a thread of its own that ends with that, and complains of
/// those that are not what they were. Their functions answer meanwhile, with the code that was
/// compiled of them.
///
/// # Errors
/// When the thread can't be started.
pub(crate) fn check(
    needed: HashSet<Digest>,
    blobs: Arc<BlobStore>,
    catalog: Arc<dyn Catalog>,
) -> io::Result<()> {
    let thread = thread::Builder::new().name("dhow-modules".to_owned());
    thread.spawn(move || {
        // On Linux the call is per thread. Raising one's own nice value can't be refused.
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::warn!(%error, "modules are read at ordinary priority");
        }
        for digest in needed {
            if let Some(flaw) = blobs.flaw(&digest) {
                let module = blobs.place(&digest);
                tracing::error!(
                    module = %module.display(),
                    functions = functions(&*catalog, &digest),
                    "a module {flaw}: deploy the functions that it belongs to again, or restore \
                     the data folder from a backup"
                );
            }
        }
    })?;
    Ok(())
}

/// The functions that answer by the module, for a person.
fn functions(catalog: &dyn Catalog, digest: &Digest) -> String {
    let snapshot = catalog.snapshot();
    let of = snapshot.functions.iter().filter(|function| function.revision.digest == *digest);
    let names: Vec<_> = of.map(|function| function.name.to_string()).collect();
    match names.is_empty() {
        true => "none now, an older revision".to_owned(),
        false => names.join(" "),
    }
}
