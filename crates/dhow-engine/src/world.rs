//! What lies outside of the engine and may be granted to guests. What is absent is denied.

use std::path::PathBuf;
use std::sync::Arc;

use dhow_core::ports::{Outbound, Secrets};

/// The seams through which grants are met.
#[derive(Clone, Default)]
pub struct World {
    /// Who asks the network.
    pub outbound: Option<Arc<dyn Outbound>>,
    /// Who keeps secrets.
    pub secrets: Option<SecretsIn>,
}

/// Secrets, and where instances have them as files.
#[derive(Clone)]
pub struct SecretsIn {
    /// Who keeps them.
    pub secrets: Arc<dyn Secrets>,
    /// A folder of the engine's own, emptied when it starts.
    pub folder: PathBuf,
}
