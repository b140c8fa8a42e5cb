//! Code in memory: mapped from the cache on a function's first call, shared by all its calls, and
//! let go when more functions are loaded than the budget allows.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use dhow_core::abi::Abi;
use dhow_core::digest::Digest;
use parking_lot::Mutex;
use wasmtime::component::Component;
use wasmtime::{ExternType, InstancePre, Module};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::compile::cache::Entry;
use crate::config::Config;
use crate::host::{Linkers, State};
use crate::settings::{self, Profile};
use crate::ticker::Ticker;

/// Code ready to be instantiated.
pub(crate) enum Code {
    /// A core module with `_start`.
    Module(InstancePre<State>),
    /// `wasi:cli/run@0.2`.
    Command(CommandPre<State>),
    /// `wasi:http/incoming-handler@0.2`.
    Proxy(ProxyPre<State>),
    /// `wasi:http/handler@0.3`.
    Service(ServicePre<State>),
}

/// The place of one module's code under one ABI. Exists while a revision uses it, loaded or not.
pub(crate) struct Slot {
    pub(crate) digest: Digest,
    pub(crate) abi: Abi,
    code: ArcSwapOption<Code>,
    /// Milliseconds after the loader's start.
    used: AtomicU64,
    /// Held by whoever loads; the others wait for it.
    pub(crate) loading: tokio::sync::Mutex<()>,
    /// The loader's count of slots with code.
    loaded: Arc<AtomicUsize>,
}

/// All slots, and the engines that their code runs on.
pub(crate) struct Loader {
    slots: Mutex<HashMap<(Digest, Abi), Weak<Slot>>>,
    loaded: Arc<AtomicUsize>,
    most: usize,
    origin: Instant,
    plain: Runner,
    /// Made by the first function that needs it: its slots are address space.
    concurrent: OnceLock<Runner>,
    ticker: Arc<Ticker>,
    config: Config,
}

/// An engine with what can be linked on it.
struct Runner {
    engine: wasmtime::Engine,
    linkers: Linkers,
}

impl Slot {
    /// The code, if it is loaded.
    #[inline]
    pub(crate) fn code(&self, origin: Instant, now: Instant) -> Option<Arc<Code>> {
        let code = self.code.load_full()?;
        self.used.store(millis(now.saturating_duration_since(origin)), Relaxed);
        Some(code)
    }

    fn let_go(&self) {
        if self.code.swap(None).is_some() {
            self.loaded.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Loader {
    pub(crate) fn new(config: Config, ticker: Arc<Ticker>) -> wasmtime::Result<Self> {
        let plain = Runner::new(Profile::Plain, &config, &ticker)?;
        Ok(Self {
            slots: Mutex::default(),
            loaded: Arc::default(),
            most: config.loaded.max(1),
            origin: Instant::now(),
            plain,
            concurrent: OnceLock::new(),
            ticker,
            config,
        })
    }

    pub(crate) fn origin(&self) -> Instant {
        self.origin
    }

    /// Functions whose code is mapped.
    pub(crate) fn loaded(&self) -> usize {
        self.loaded.load(Relaxed)
    }

    /// The slot for a module under an ABI.
    pub(crate) fn slot(&self, digest: Digest, abi: Abi) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(&(digest, abi)).and_then(Weak::upgrade) {
            return slot;
        }
        if slots.len() == slots.capacity() {
            // Before it would grow for the sake of functions that are no more.
            slots.retain(|_, slot| slot.strong_count() > 0);
        }
        let slot = Arc::new(Slot {
            digest,
            abi,
            code: ArcSwapOption::empty(),
            used: AtomicU64::new(0),
            loading: tokio::sync::Mutex::new(()),
            loaded: self.loaded.clone(),
        });
        slots.insert((digest, abi), Arc::downgrade(&slot));
        slot
    }

    /// Whether `entry` can be called as `abi`: it offers what calls need, and the engine has room
    /// for the memories, tables and instances that it declares.
    pub(crate) fn fits(&self, abi: Abi, entry: &Entry) -> wasmtime::Result<()> {
        let profile = entry.look.profile().unwrap_or(Profile::Plain);
        match self.runner(profile)?.prepare(abi, entry)? {
            Code::Module(pre) if !is_start(pre.module().get_export("_start")) => {
                Err(wasmtime::Error::msg(
                    "its `_start` is not a function without parameters and results",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Maps `entry` into `slot`. The caller holds `slot.loading`.
    pub(crate) fn load(&self, slot: &Slot, entry: &Entry) -> wasmtime::Result<Arc<Code>> {
        let profile = entry.look.profile().unwrap_or(Profile::Plain);
        let runner = self.runner(profile)?;
        let code = Arc::new(runner.prepare(slot.abi, entry)?);
        slot.used.store(millis(self.origin.elapsed()), Relaxed);
        if slot.code.swap(Some(code.clone())).is_none() {
            self.loaded.fetch_add(1, Relaxed);
        }
        if self.loaded() > self.most {
            self.evict();
        }
        Ok(code)
    }

    fn runner(&self, profile: Profile) -> wasmtime::Result<&Runner> {
        match profile {
            Profile::Plain => Ok(&self.plain),
            Profile::Concurrent => match self.concurrent.get() {
                Some(runner) => Ok(runner),
                None => {
                    let runner = Runner::new(profile, &self.config, &self.ticker)?;
                    Ok(self.concurrent.get_or_init(|| runner))
                }
            },
        }
    }

    /// Lets go of the least recently used sixteenth: rarely, and then of many, because it looks
    /// at every slot. Calls in flight keep their code until they end.
    fn evict(&self) {
        let mut slots = self.slots.lock();
        slots.retain(|_, slot| slot.strong_count() > 0);
        let mut loaded: Vec<_> = slots
            .values()
            .filter_map(Weak::upgrade)
            .filter(|slot| slot.code.load().is_some())
            .map(|slot| (slot.used.load(Relaxed), slot))
            .collect();
        let over = loaded.len().saturating_sub(self.most - self.most / 16);
        loaded.sort_unstable_by_key(|(used, _)| *used);
        for (_, slot) in loaded.iter().take(over) {
            slot.let_go();
        }
    }

    /// Lets go of code that no call has used for so long.
    pub(crate) fn let_go_idle(&self, idle: Duration) {
        let now = millis(self.origin.elapsed());
        let idle = millis(idle);
        let slots = self.slots.lock();
        for slot in slots.values().filter_map(Weak::upgrade) {
            if now.saturating_sub(slot.used.load(Relaxed)) >= idle {
                slot.let_go();
            }
        }
    }
}

impl Runner {
    fn new(profile: Profile, config: &Config, ticker: &Ticker) -> wasmtime::Result<Self> {
        let engine = settings::runner(profile, config)?;
        ticker.add(&engine);
        let linkers = Linkers::new(&engine, profile)?;
        Ok(Self { engine, linkers })
    }

    fn prepare(&self, abi: Abi, entry: &Entry) -> wasmtime::Result<Code> {
        if !entry.look.component {
            let module = module(&self.engine, &entry.path)?;
            return Ok(Code::Module(self.linkers.core.instantiate_pre(&module)?));
        }
        let component = component(&self.engine, &entry.path)?;
        let instance = self.linkers.component.instantiate_pre(&component)?;
        Ok(match abi {
            Abi::Http if entry.look.profile() == Some(Profile::Concurrent) => {
                // A component may import WASI 0.3 and still export the handler of 0.2.
                match ServicePre::new(instance.clone()) {
                    Ok(service) => Code::Service(service),
                    Err(_) => Code::Proxy(ProxyPre::new(instance)?),
                }
            }
            Abi::Http => Code::Proxy(ProxyPre::new(instance)?),
            _ => Code::Command(CommandPre::new(instance)?),
        })
    }
}

impl Code {
    pub(crate) fn engine(&self) -> &wasmtime::Engine {
        match self {
            Self::Module(pre) => pre.module().engine(),
            Self::Command(pre) => pre.engine(),
            Self::Proxy(pre) => pre.engine(),
            Self::Service(pre) => pre.engine(),
        }
    }
}

/// Maps the code of a core module.
#[expect(unsafe_code, reason = "wasmtime can't check machine code; the cache vouches for it")]
pub(crate) fn module(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Module> {
    // SAFETY: the file is in the cache's folder, which only this user may write to; it was written
    // by this program's compiler and checked against its seal; it is replaced by renaming and
    // never written to again, so the mapping does not change.
    unsafe { Module::deserialize_file(engine, path) }
}

/// Maps the code of a component.
#[expect(unsafe_code, reason = "wasmtime can't check machine code; the cache vouches for it")]
pub(crate) fn component(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: as in `module`.
    unsafe { Component::deserialize_file(engine, path) }
}

fn is_start(export: Option<ExternType>) -> bool {
    let Some(ExternType::Func(start)) = export else { return false };
    start.params().len() == 0 && start.results().len() == 0
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
