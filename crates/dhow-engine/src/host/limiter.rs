//! `limits.memory`: the sum over all memories and tables of an instance.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::meter::Meter;
use crate::tenant::Memory;

/// Bytes that one table element takes in the host.
const ELEMENT: usize = size_of::<usize>();

/// Counts what the instance holds and refuses what goes beyond. A refused growth is -1 to the
/// guest; the meter remembers it, to name the cause of what may follow.
pub(crate) struct Limiter {
    limit: u64,
    held: u64,
    meter: Arc<Meter>,
    /// Of the namespace, where it has a quota.
    account: Option<Memory>,
}

impl Limiter {
    pub(crate) fn new(limit: u64, meter: Arc<Meter>) -> Self {
        let account = meter.limited().and_then(|limited| limited.tenant.memory());
        Self { limit, held: 0, meter, account }
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let held = (self.held + desired as u64).saturating_sub(current as u64);
        if held > self.limit {
            self.meter.refused_memory();
            return false;
        }
        if let Some(account) = &mut self.account
            && !account.hold(held)
        {
            self.meter.refused_by_quota();
            return false;
        }
        self.held = held;
        self.meter.saw_memory(held);
        true
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // A growth over the guest's own maximum fails without our doing.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(current, desired))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(current.saturating_mul(ELEMENT), desired.saturating_mul(ELEMENT)))
    }
}
