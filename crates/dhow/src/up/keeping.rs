//! The stores of the data folder. They are let go of together, for another dhow to have, and taken
//! again together where that one has ended.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use dhow_store::catalog::EmbeddedCatalog;
use dhow_store::folder::DataFolder;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::spawn_blocking;

/// How often it is tried to take the stores again, and how often it is said that this fails.
const AGAIN: Duration = Duration::from_millis(100);
const COMPLAINT: u32 = 600;

/// What is kept.
#[derive(Clone)]
pub(super) struct Keeping {
    folder: Arc<DataFolder>,
    catalog: Arc<EmbeddedCatalog>,
    /// Held by whoever tidies up in the folder.
    tidying: Arc<Mutex<()>>,
}

/// What has been let go of.
pub(super) struct LetGo {
    keeping: Keeping,
    _nobody_tidies: OwnedMutexGuard<()>,
}

impl Keeping {
    pub(super) fn new(folder: Arc<DataFolder>, catalog: Arc<EmbeddedCatalog>) -> Self {
        Self { folder, catalog, tidying: Arc::default() }
    }

    /// The right to tidy up in the folder; there is none while another dhow may have it.
    pub(super) async fn tidying(&self) -> OwnedMutexGuard<()> {
        self.tidying.clone().lock_owned().await
    }

    /// Closes the stores and lets another dhow own the folder. Nobody changes anything any more when
    /// this is called. Calls go on: they need what is in memory, modules and compiled code, which
    /// stay.
    ///
    /// # Errors
    /// When the system refuses; then all is as it was.
    pub(super) async fn let_go(&self) -> io::Result<LetGo> {
        let let_go = LetGo { keeping: self.clone(), _nobody_tidies: self.tidying().await };
        let (folder, catalog) = (self.folder.clone(), self.catalog.clone());
        let gone = spawn_blocking(move || {
            catalog.let_go();
            folder.let_go()
        });
        match gone.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => Ok(let_go),
            Err(error) => {
                let_go.take_again().await;
                Err(error)
            }
        }
    }
}

impl LetGo {
    /// Owns the folder and opens the stores again. Whoever has the folder must have ended, or be
    /// about to.
    pub(super) async fn take_again(self) {
        let mut tries = 0;
        loop {
            let (folder, catalog) = (self.keeping.folder.clone(), self.keeping.catalog.clone());
            let taken = spawn_blocking(move || {
                folder.take_again()?;
                catalog.take_again()
            });
            let error = match taken.await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            // The other one may take a moment to end.
            if tries % COMPLAINT == COMPLAINT / 60 {
                tracing::error!(
                    error,
                    "the data folder can't be taken again: calls go on, nothing can be deployed"
                );
            }
            tries += 1;
            tokio::time::sleep(AGAIN).await;
        }
    }
}
