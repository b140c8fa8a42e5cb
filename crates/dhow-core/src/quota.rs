//! What the functions of one namespace may use together.

use std::collections::BTreeMap;

use crate::name::Label;
use crate::ports::Snapshot;

/// The quota of one namespace; `None` is no bound of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Functions that are deployed.
    pub functions: Option<u32>,
    /// Bytes that the memories and tables of its live instances hold together.
    pub memory: Option<u64>,
    /// Thousandths of a core that its calls may use together, as a rate.
    pub cpu_millis: Option<u32>,
    /// Calls in flight, those that wait for a place included.
    pub calls: Option<u32>,
}

/// Quotas by namespace.
pub type Quotas = BTreeMap<Label, Quota>;

/// What the instances of a namespace use now, as far as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Calls in flight.
    pub calls: u32,
    /// Bytes of memories and tables.
    pub memory: u64,
}

/// A namespace may have no more functions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the namespace `{namespace}` may have {most} functions, and has {present}")]
pub struct TooManyFunctions {
    /// Which namespace.
    pub namespace: Label,
    /// How many it may have.
    pub most: u32,
    /// How many it has.
    pub present: usize,
}

/// Whether `namespace` may have another function.
///
/// # Errors
/// When its quota says no.
pub fn check(snapshot: &Snapshot, namespace: &Label) -> Result<(), TooManyFunctions> {
    let most = snapshot.quotas.get(namespace).and_then(|quota| quota.functions);
    let Some(most) = most else { return Ok(()) };
    let here = snapshot.functions.iter().filter(|function| function.name.namespace == *namespace);
    match here.count() {
        present if present >= most as usize => {
            Err(TooManyFunctions { namespace: namespace.clone(), most, present })
        }
        _ => Ok(()),
    }
}
