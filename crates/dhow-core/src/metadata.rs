//! What people and programs note about a function. It belongs to the function and not to a
//! revision, and a call does not depend on it.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of all labels and annotations of one function together, names and values.
pub const MOST_METADATA: usize = 64 << 10;

/// Labels and annotations, in Kubernetes' sense.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// What a function is chosen by.
    pub labels: BTreeMap<String, String>,
    /// Everything else.
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    /// Whether nothing is noted.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }

    /// To be kept with a function; most have none.
    pub fn shared(self) -> Option<Arc<Self>> {
        (!self.is_empty()).then(|| Arc::new(self))
    }

    /// Bytes of all names and values.
    pub fn size(&self) -> usize {
        let all = self.labels.iter().chain(&self.annotations);
        all.map(|(name, value)| name.len() + value.len()).sum()
    }
}
