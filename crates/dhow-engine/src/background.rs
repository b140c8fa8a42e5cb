//! Where guests go that burn CPU: threads of the lowest priority, so that a quick call on the
//! ordinary threads is never behind them.

use std::future::Future;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// The lowest priority that every user may choose (`setpriority(2)`).
const NICE: i32 = 19;

/// A runtime of its own on low-priority threads.
pub(crate) struct Background {
    runtime: Option<Runtime>,
}

impl Background {
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("dhow-background")
            .on_thread_start(|| {
                // On Linux the call is per thread. Raising one's own nice value can't be refused.
                if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                    tracing::warn!(%error, "background threads run at ordinary priority");
                }
            })
            .enable_all()
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("the runtime is taken only by drop").handle()
    }

    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle().spawn(future)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // May be dropped from async code, where waiting is not allowed; calls in flight end.
            runtime.shutdown_background();
        }
    }
}
