//! The settings of wasmtime, in one place for the process that compiles and the one that runs:
//! code is only taken from the cache when both agree.

use std::hash::{Hash as _, Hasher as _};

use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result};

use crate::config::Config;

/// Which of the two engines code is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Profile {
    /// Everything up to WASI 0.2. Leaves out what only concurrent tasks need.
    Plain,
    /// Components that use the async ABI of WASI 0.3.
    Concurrent,
}

impl Profile {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Concurrent => "concurrent",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Plain, Self::Concurrent].into_iter().find(|profile| profile.as_str() == word)
    }
}

/// Stack of a guest, bytes. Beyond it a call traps.
const GUEST_STACK: usize = 512 << 10;
/// Stack of a guest and of the host functions it calls, bytes.
const CALL_STACK: usize = GUEST_STACK + (512 << 10);
/// Bytes of a used memory slot that are wiped in place rather than given back to the kernel.
const KEEP_RESIDENT: usize = 1 << 20;
/// Tables of components are small shims: always wiped in place.
const KEEP_TABLE: usize = 64 << 10;
/// Freed slots are given back together, so many at a time.
const DECOMMIT_BATCH: usize = 16;

/// An engine that only compiles. Its code runs on [`runner`]'s engine of the same profile.
pub(crate) fn compiler(profile: Profile) -> Result<Engine> {
    Engine::new(&common(profile))
}

/// An engine that runs what [`compiler`] made, with slots reserved up front.
pub(crate) fn runner(profile: Profile, config: &Config) -> Result<Engine> {
    let mut wasmtime = common(profile);
    let slots = config.instances.max(1);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(slots)
        // A component made from one program has three core instances; composed ones have more.
        .total_core_instances(slots.saturating_mul(4))
        .total_memories(slots)
        .total_tables(slots.saturating_mul(2))
        .total_stacks(slots)
        .max_core_instances_per_component(64)
        .max_memories_per_component(16)
        .max_tables_per_component(64)
        .max_memories_per_module(16)
        .max_tables_per_module(16)
        .max_component_instance_size(1 << 20)
        .max_core_instance_size(1 << 20)
        .table_elements(100_000)
        .max_memory_size(usize::try_from(config.slot_memory).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_TABLE)
        .decommit_batch_size(DECOMMIT_BATCH)
        .pagemap_scan(Enabled::Auto);
    wasmtime.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&wasmtime)
}

/// What decides whether compiled code fits: wasmtime's version and settings, and this CPU.
pub(crate) fn fingerprint(engine: &Engine) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// The same of all profiles: part of the name of all code in the cache.
pub(crate) fn fingerprint_of_all() -> Result<String> {
    let of = |profile| Ok::<_, wasmtime::Error>(fingerprint(&compiler(profile)?));
    Ok(format!("{:016x}{:016x}", of(Profile::Plain)?, of(Profile::Concurrent)?))
}

fn common(profile: Profile) -> wasmtime::Config {
    let concurrent = profile == Profile::Concurrent;
    let mut config = wasmtime::Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(CALL_STACK)
        // Dropping a module is then no walk over all registered frames; native debuggers lose
        // the guest's frames, our own traces do not.
        .native_unwind_info(false)
        .wasm_component_model_async(concurrent)
        .concurrency_support(concurrent);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compiles_and_what_runs_agree_on_the_code() {
        let config = Config { instances: 2, ..Config::new("code".into(), "dhow".into()) };
        for profile in [Profile::Plain, Profile::Concurrent] {
            let runner = runner(profile, &config).unwrap();
            assert_eq!(fingerprint(&compiler(profile).unwrap()), fingerprint(&runner));
        }
    }
}
