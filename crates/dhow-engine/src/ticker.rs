//! The clock that interrupts guests: moves the engines' epochs while calls run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

/// Between two looks at a guest that runs without a pause.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// Ticks without a guest after which the thread sleeps until the next one.
const IDLE_TICKS: u32 = 1000;
/// The longest such sleep. It bounds what a wake-up lost to a race can cost.
const IDLE_SLEEP: Duration = Duration::from_millis(20);

/// Ticks while guests run; an idle process is woken fifty times a second and does nothing.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    engines: Mutex<Vec<wasmtime::EngineWeak>>,
    /// Set by every tick, cleared by every guest: a tick that finds it set saw none.
    quiet: AtomicBool,
    stop: AtomicBool,
}

impl Ticker {
    pub(crate) fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new().name("dhow-ticker".to_owned()).spawn({
            let shared = shared.clone();
            move || shared.run()
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(crate) fn add(&self, engine: &wasmtime::Engine) {
        self.shared.engines.lock().push(engine.weak());
    }

    /// A guest is on a CPU, or about to be. Writes at most once a tick, so that the threads do
    /// not pull the line from each other.
    #[inline]
    pub(crate) fn notice(&self) {
        if self.shared.quiet.load(Relaxed) {
            self.shared.quiet.store(false, Relaxed);
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut idle = 0;
        while !self.stop.load(Relaxed) {
            thread::sleep(if idle < IDLE_TICKS { TICK } else { IDLE_SLEEP });
            for engine in &*self.engines.lock() {
                if let Some(engine) = engine.upgrade() {
                    engine.increment_epoch();
                }
            }
            idle = if self.quiet.swap(true, Relaxed) { idle.saturating_add(1) } else { 0 };
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // The thread only ends; it has nothing to report.
            drop(thread.join());
        }
    }
}
