//! The functions in force, ready to be called: replaced as a whole, read without a lock.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use dhow_core::name::DEFAULT_NAMESPACE;
use dhow_core::plan::routes::{Match, RouteTable};
use dhow_core::ports::{Invoke, Snapshot};
use dhow_dialects::openfaas::{self, OPENFAAS_NAMESPACE};
use http::Method;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::backend::Backend;
use crate::guard::{self, Guards};

/// A function, ready to be called.
pub struct Entry<I: Invoke> {
    /// Who answers its calls.
    pub backend: Backend<I>,
    /// What stands before it, whoever answers; `None` is nothing.
    pub guard: Option<Arc<guard::Guard>>,
    /// Whether it was deployed as one of OpenFaaS', see [`crate::openfaas::visit`].
    pub is_openfaas: bool,
}

/// What a request is for.
pub enum Lookup<I: Invoke> {
    /// A function, by a declared route; the base is the route without its `/*`.
    Found(Entry<I>, String),
    /// A route for these methods only.
    MethodNotAllowed(Vec<Method>),
    /// Nothing.
    None,
}

/// The functions in force.
pub struct Table<I: Invoke> {
    current: ArcSwap<Current<I>>,
    guards: Guards,
    /// Held while a snapshot is applied.
    applying: Mutex<()>,
    applied: watch::Sender<u64>,
}

struct Current<I: Invoke> {
    /// By `NAME` for the default namespace and by `NAME.NAMESPACE` for every one.
    by_name: HashMap<String, Entry<I>>,
    routes: RouteTable<Entry<I>>,
    version: u64,
}

impl<I: Invoke> Table<I> {
    /// A table without functions, whose guards are made by `guards`.
    pub fn new(guards: Guards) -> Self {
        let routes = RouteTable::new(std::iter::empty());
        let current = Current { by_name: HashMap::new(), routes, version: 0 };
        Self {
            current: ArcSwap::from_pointee(current),
            guards,
            applying: Mutex::default(),
            applied: watch::Sender::new(0),
        }
    }

    /// Puts a snapshot in force. A revision that was in force stays the same target: its calls in
    /// flight, its places and its loaded code go on.
    pub fn apply(&self, invoke: &I, snapshot: &Snapshot) {
        let _applying = self.applying.lock();
        let before = self.current.load();
        if snapshot.version < before.version {
            return;
        }
        invoke.put_quotas(&snapshot.quotas);
        let mut by_name = HashMap::with_capacity(snapshot.functions.len() * 2);
        let mut routes = Vec::with_capacity(snapshot.functions.len());
        for function in &snapshot.functions {
            let full = function.name.to_string();
            let old = before.by_name.get(&full);
            let entry = Entry {
                backend: Backend::new(invoke, function, old.map(|old| &old.backend)),
                guard: self.guards.guard(function, old.and_then(|old| old.guard.as_ref())),
                is_openfaas: openfaas::is_marked(function.metadata.as_deref()),
            };
            routes.push((&function.routes[..], entry.clone()));
            if function.name.namespace.as_str() == DEFAULT_NAMESPACE {
                by_name.insert(function.name.name.as_str().to_owned(), entry.clone());
            }
            by_name.insert(full, entry);
        }
        let routes = RouteTable::new(routes.into_iter());
        self.current.store(Arc::new(Current { by_name, routes, version: snapshot.version }));
        self.applied.send_replace(snapshot.version);
    }

    /// Waits until a snapshot of at least this version is in force.
    pub async fn applied(&self, version: u64) {
        let mut applied = self.applied.subscribe();
        // An error means that the table is gone, and with it whoever waits.
        drop(applied.wait_for(|now| *now >= version).await);
    }

    /// The function called `NAME` or `NAME.NAMESPACE`, where the default namespace has also the
    /// name that OpenFaaS' clients give it.
    pub fn by_name(&self, name: &str) -> Option<Entry<I>> {
        let current: Guard<_> = self.current.load();
        if let Some(entry) = current.by_name.get(name) {
            return Some(entry.clone());
        }
        let (name, namespace) = name.split_once('.')?;
        let entry = current.by_name.get(name).filter(|_| namespace == OPENFAAS_NAMESPACE);
        entry.cloned()
    }

    /// The function that a declared route leads to.
    pub fn by_route(&self, host: Option<&str>, method: &Method, path: &str) -> Lookup<I> {
        match self.current.load().routes.find(host, method, path) {
            Match::Found { target, base } => Lookup::Found(target.clone(), base.to_owned()),
            Match::MethodNotAllowed(methods) => Lookup::MethodNotAllowed(methods),
            Match::None => Lookup::None,
        }
    }
}

impl<I: Invoke> Clone for Entry<I> {
    fn clone(&self) -> Self {
        Self {
            backend: self.backend.clone(),
            guard: self.guard.clone(),
            is_openfaas: self.is_openfaas,
        }
    }
}
