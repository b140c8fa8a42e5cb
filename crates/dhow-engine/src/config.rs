//! What an engine is told at start. Plain data; nothing here reads the environment.

use std::path::PathBuf;
use std::time::Duration;

/// The settings of one engine.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder for compiled code. It is made with mode 0700.
    pub code: PathBuf,
    /// The program that compiles in a child process: dhow itself.
    pub compiler: PathBuf,
    /// What a compilation may cost.
    pub compile: CompileBudget,
    /// Instances alive at once, over all functions. One more call is `overloaded`.
    pub instances: u32,
    /// The most memory that a function may be given, bytes: a slot's reserved size.
    pub slot_memory: u64,
    /// Functions whose code is kept mapped; the least recently used go first.
    pub loaded: usize,
    /// Threads of low priority for guests that burn CPU.
    pub background_threads: usize,
}

/// What one compilation may cost before it is refused.
#[derive(Debug, Clone)]
pub struct CompileBudget {
    /// Bytes of the module.
    pub module: u64,
    /// Address space of the child, bytes.
    pub memory: u64,
    /// CPU time of the child over all its threads.
    pub cpu: Duration,
    /// Wall time of the child.
    pub wall: Duration,
    /// Children at once.
    pub parallel: usize,
}

impl Default for CompileBudget {
    /// Sized for the largest guests people have: componentized JavaScript and Python, 13 to
    /// 18 MB, need some 60 s of CPU.
    fn default() -> Self {
        Self {
            module: 64 << 20,
            memory: 4 << 30,
            cpu: Duration::from_secs(300),
            wall: Duration::from_secs(300),
            parallel: 1,
        }
    }
}

impl Config {
    /// Defaults, for code kept in `code` and compiled by `compiler`.
    pub fn new(code: PathBuf, compiler: PathBuf) -> Self {
        Self {
            code,
            compiler,
            compile: CompileBudget::default(),
            instances: 1000,
            slot_memory: 4 << 30,
            loaded: 4000,
            background_threads: std::thread::available_parallelism().map_or(2, usize::from),
        }
    }
}
