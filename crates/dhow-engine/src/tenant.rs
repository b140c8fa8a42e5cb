//! What the functions of one namespace use together, held against its quota.
//!
//! A namespace without a quota is counted nowhere: its calls look at one pointer. A quota that is
//! set, or changed, holds for the calls and instances that begin after it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use dhow_core::name::Label;
use dhow_core::outcome::{Failure, Reason};
use dhow_core::quantity::{print_bytes, print_cpu};
use dhow_core::quota::{Quota, Quotas, Usage};
use parking_lot::Mutex;

use crate::rate::CpuRate;

/// The namespaces that have functions.
#[derive(Default)]
pub(crate) struct Tenants(Mutex<Known>);

#[derive(Default)]
struct Known {
    tenants: HashMap<Label, Arc<Tenant>>,
    quotas: Arc<Quotas>,
}

/// One namespace.
pub(crate) struct Tenant {
    namespace: Label,
    terms: ArcSwapOption<Terms>,
    calls: AtomicU32,
    memory: AtomicU64,
}

/// What is in force for it.
struct Terms {
    quota: Quota,
    rate: Option<Arc<CpuRate>>,
}

/// A namespace with a quota, as one call or instance meets it.
pub(crate) struct Limited {
    pub(crate) tenant: Arc<Tenant>,
    /// Its CPU rate, where it has one.
    pub(crate) rate: Option<Arc<CpuRate>>,
}

/// One of a namespace's calls in flight.
pub(crate) struct Share(Arc<Tenant>);

/// What one instance holds of its namespace's memory.
pub(crate) struct Memory {
    tenant: Arc<Tenant>,
    held: u64,
}

impl Tenants {
    /// The namespace's one tenant.
    pub(crate) fn of(&self, namespace: &Label) -> Arc<Tenant> {
        let mut known = self.0.lock();
        let Known { tenants, quotas } = &mut *known;
        let tenant = tenants.entry(namespace.clone()).or_insert_with(|| {
            let tenant = Tenant {
                namespace: namespace.clone(),
                terms: ArcSwapOption::empty(),
                calls: AtomicU32::new(0),
                memory: AtomicU64::new(0),
            };
            tenant.put(quotas.get(namespace));
            Arc::new(tenant)
        });
        Arc::clone(tenant)
    }

    /// Puts `quotas` in force. Namespaces that nothing uses any more are forgotten.
    pub(crate) fn put(&self, quotas: &Arc<Quotas>) {
        let mut known = self.0.lock();
        known.tenants.retain(|_, tenant| Arc::strong_count(tenant) > 1);
        if known.quotas == *quotas {
            return;
        }
        for (namespace, tenant) in &known.tenants {
            tenant.put(quotas.get(namespace));
        }
        known.quotas = Arc::clone(quotas);
    }

    /// What a namespace uses now; nothing where nothing is counted.
    pub(crate) fn usage(&self, namespace: &Label) -> Usage {
        let known = self.0.lock();
        known.tenants.get(namespace).map_or_else(Usage::default, |tenant| Usage {
            calls: tenant.calls.load(Relaxed),
            memory: tenant.memory.load(Relaxed),
        })
    }
}

impl Tenant {
    /// A rate that stays as it was keeps what was used of it.
    fn put(&self, quota: Option<&Quota>) {
        let before = self.terms.load_full();
        let terms = quota.map(|quota| {
            let same = before.filter(|before| before.quota.cpu_millis == quota.cpu_millis);
            let rate = match same {
                Some(before) => before.rate.clone(),
                None => {
                    quota.cpu_millis.map(|millis| Arc::new(CpuRate::new(millis, Instant::now())))
                }
            };
            Arc::new(Terms { quota: *quota, rate })
        });
        self.terms.store(terms);
    }

    /// Lets a call in, which may take until `deadline`; `None` where none is counted.
    #[inline]
    pub(crate) fn enter(self: &Arc<Self>, deadline: Instant) -> Result<Option<Share>, Failure> {
        match &*self.terms.load() {
            None => Ok(None),
            Some(terms) => self.enter_counted(terms, deadline).map(Some),
        }
    }

    fn enter_counted(self: &Arc<Self>, terms: &Terms, deadline: Instant) -> Result<Share, Failure> {
        let before = self.calls.fetch_add(1, Relaxed);
        let share = Share(Arc::clone(self));
        if let Some(most) = terms.quota.calls.filter(|most| before >= *most) {
            let message = format!(
                "the namespace `{}` may have {most} calls in flight, and has them",
                self.namespace
            );
            return Err(Failure::new(Reason::QuotaCalls, message));
        }
        let now = Instant::now();
        let debt = terms.rate.as_ref().and_then(|rate| rate.charge(Duration::ZERO, now));
        if debt.is_some_and(|debt| now + debt >= deadline) {
            let rate = print_cpu(terms.quota.cpu_millis.unwrap_or_default());
            let message = format!(
                "the namespace `{}` may use {rate} of CPU, and has used so much more that this \
                 call could not begin within its time",
                self.namespace
            );
            return Err(Failure::new(Reason::QuotaCpu, message));
        }
        Ok(share)
    }

    /// What holds for a call or an instance that begins now.
    #[inline]
    pub(crate) fn limited(self: &Arc<Self>) -> Option<Limited> {
        let terms = self.terms.load();
        let rate = terms.as_ref()?.rate.clone();
        Some(Limited { tenant: Arc::clone(self), rate })
    }

    /// The account of a new instance; `None` where none is kept.
    pub(crate) fn memory(self: &Arc<Self>) -> Option<Memory> {
        let counted = self.terms.load().as_ref().is_some_and(|terms| terms.quota.memory.is_some());
        counted.then(|| Memory { tenant: Arc::clone(self), held: 0 })
    }

    fn most_memory(&self) -> u64 {
        self.terms.load().as_ref().and_then(|terms| terms.quota.memory).unwrap_or(u64::MAX)
    }

    /// Why an instance was refused memory.
    pub(crate) fn memory_refused(&self) -> Failure {
        let most = print_bytes(self.most_memory());
        let message = format!(
            "the namespace `{}` may hold {most} of memory in its instances, and this call needed \
             more than is left",
            self.namespace
        );
        Failure::new(Reason::QuotaMemory, message)
    }
}

impl Memory {
    /// Makes it `bytes` in all; whether there is room for that.
    pub(crate) fn hold(&mut self, bytes: u64) -> bool {
        let Some(more) = bytes.checked_sub(self.held) else {
            self.tenant.memory.fetch_sub(self.held - bytes, Relaxed);
            self.held = bytes;
            return true;
        };
        let most = self.tenant.most_memory();
        let taken = self.tenant.memory.fetch_update(Relaxed, Relaxed, |held| {
            held.checked_add(more).filter(|held| *held <= most)
        });
        if taken.is_ok() {
            self.held = bytes;
        }
        taken.is_ok()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.tenant.memory.fetch_sub(self.held, Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(quota: Quota) -> (Tenants, Arc<Tenant>) {
        let (tenants, shop) = (Tenants::default(), "shop".parse::<Label>().unwrap());
        tenants.put(&Arc::new(Quotas::from([(shop.clone(), quota)])));
        let tenant = tenants.of(&shop);
        (tenants, tenant)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[test]
    fn calls_are_counted_until_they_end() {
        let (_, tenant) = tenant(Quota { calls: Some(2), ..Quota::default() });
        let first = tenant.enter(soon()).unwrap();
        let _second = tenant.enter(soon()).unwrap();
        assert_eq!(tenant.enter(soon()).err().unwrap().reason, Reason::QuotaCalls);
        drop(first);
        assert!(tenant.enter(soon()).is_ok());
    }

    #[test]
    fn memory_is_a_sum_over_instances_and_comes_back() {
        let (tenants, tenant) = tenant(Quota { memory: Some(100), ..Quota::default() });
        let (mut one, mut other) = (tenant.memory().unwrap(), tenant.memory().unwrap());
        assert!(one.hold(60) && other.hold(40));
        assert!(!other.hold(41));
        assert!(one.hold(50));
        assert!(other.hold(50));
        assert_eq!(tenants.usage(&tenant.namespace).memory, 100);
        drop(one);
        assert!(other.hold(100) && !other.hold(101));
        drop(other);
        assert_eq!(tenants.usage(&tenant.namespace).memory, 0);
    }

    #[test]
    fn without_a_quota_nothing_is_counted() {
        let tenants = Tenants::default();
        let tenant = tenants.of(&"free".parse().unwrap());
        assert!(tenant.enter(soon()).unwrap().is_none());
        assert!(tenant.memory().is_none() && tenant.limited().is_none());
    }

    #[test]
    fn a_quota_can_be_changed_and_taken_away_while_calls_run() {
        let (tenants, tenant) =
            tenant(Quota { calls: Some(1), cpu_millis: Some(100), ..Quota::default() });
        let (running, rate) =
            (tenant.enter(soon()).unwrap(), tenant.limited().unwrap().rate.unwrap());
        let more = Quota { calls: Some(2), cpu_millis: Some(100), ..Quota::default() };
        tenants.put(&Arc::new(Quotas::from([(tenant.namespace.clone(), more)])));
        assert!(tenant.enter(soon()).is_ok());
        assert!(
            Arc::ptr_eq(&rate, &tenant.limited().unwrap().rate.unwrap()),
            "what was used is forgotten"
        );
        tenants.put(&Arc::default());
        assert!(tenant.enter(soon()).unwrap().is_none());
        drop(running);
        assert_eq!(tenant.calls.load(Relaxed), 0);
    }

    #[test]
    fn who_owes_more_cpu_than_a_call_has_time_is_refused() {
        let (_, tenant) = tenant(Quota { cpu_millis: Some(100), ..Quota::default() });
        let now = Instant::now();
        assert!(
            tenant.limited().unwrap().rate.unwrap().charge(Duration::from_secs(1), now).is_some()
        );
        let refused = tenant.enter(now + Duration::from_secs(5)).err().unwrap();
        assert_eq!(refused.reason, Reason::QuotaCpu);
        assert!(tenant.enter(now + Duration::from_secs(60)).is_ok());
    }
}
