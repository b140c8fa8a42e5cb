//! The child: reads a module, looks at it, compiles it, writes the code, reports. It may be
//! killed at any moment by its own limits; nothing it has written counts until it has reported.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dhow_core::digest::Digest;
use dhow_core::ports::Refusal;
use dhow_guest::componentize::componentize;
use dhow_guest::detect::{detect, is_unwrapped_component, wants_concurrency};
use dhow_guest::interfaces::{Interfaces, Kind};
use dhow_guest::needs::unmet;
use rustix::process::{Resource, Rlimit, setpriority_process, setrlimit};
use sha2::{Digest as _, Sha256};

use crate::compile::{Look, Report, report};
use crate::host::{self, Linkers};
use crate::settings::{self, Profile};

/// `argv[0]` of a child that compiles: how the binary knows that it is one.
pub const WORKER_NAME: &str = "dhow-compile";

/// Exit code of a child that could not even report.
const CANNOT_REPORT: u8 = 3;

/// The child's orders, as the parent writes them and it reads them: `CODE DIGEST MODULE MEMORY CPU`.
#[derive(Debug)]
pub(crate) struct Orders {
    /// Where the code goes; it must not exist.
    pub(crate) code: PathBuf,
    /// What the module must be.
    pub(crate) digest: Digest,
    /// The most bytes of the module, which comes on standard input.
    pub(crate) module: u64,
    /// Address space, bytes.
    pub(crate) memory: u64,
    /// CPU seconds.
    pub(crate) cpu: u64,
}

impl Orders {
    pub(crate) fn to_args(&self) -> [std::ffi::OsString; 5] {
        [
            self.code.clone().into(),
            self.digest.to_string().into(),
            self.module.to_string().into(),
            self.memory.to_string().into(),
            self.cpu.to_string().into(),
        ]
    }

    fn from_args(mut args: impl Iterator<Item = std::ffi::OsString>) -> Option<Self> {
        let code = args.next()?.into();
        let digest = args.next()?.to_str()?.parse().ok()?;
        let mut number = || args.next()?.to_str()?.parse().ok();
        Some(Self { code, digest, module: number()?, memory: number()?, cpu: number()? })
    }
}

/// Runs the child. `args` are those after the program's name; the report goes to `out`.
pub fn main(args: impl Iterator<Item = std::ffi::OsString>, mut out: impl Write) -> ExitCode {
    let Some(orders) = Orders::from_args(args) else { return ExitCode::from(CANNOT_REPORT) };
    let report = match limit(&orders).map_err(report::not_kept).and_then(|()| work(&orders)) {
        Ok(look) => Report::Compiled(look),
        Err(refusal) => Report::Refused {
            reason: refusal.reason.to_owned(),
            message: refusal.message,
            hint: refusal.hint,
        },
    };
    let written = serde_json::to_writer(&mut out, &report)
        .map_err(io::Error::from)
        .and_then(|()| out.flush());
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(CANNOT_REPORT) }
}

/// Puts this process on a leash: it only ever handles one module, which is anybody's.
fn limit(orders: &Orders) -> io::Result<()> {
    let both = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
    setrlimit(Resource::As, both(orders.memory))?;
    // At the soft limit the kernel sends SIGXCPU, which kills and can be told from other deaths.
    setrlimit(
        Resource::Cpu,
        Rlimit { current: Some(orders.cpu), maximum: Some(orders.cpu.saturating_add(5)) },
    )?;
    setrlimit(Resource::Core, both(0))?;
    // Compiling may take all the CPU that nobody else wants.
    setpriority_process(None, 19)?;
    Ok(())
}

fn work(orders: &Orders) -> Result<Look, Refusal> {
    let given = read(orders.module)?;
    verify(&given, &orders.digest)?;
    let module = to_binary(&given)?;
    let mut interfaces = look(&module)?;
    let mut binary = module;
    if is_unwrapped_component(&interfaces) {
        binary = componentize(&binary).map_err(invalid)?;
        interfaces = look(&binary)?;
    }
    let abis = detect(&interfaces);
    if abis.is_empty() {
        return Err(nothing_to_call(&interfaces));
    }
    let profile = match wants_concurrency(&interfaces) {
        true => Profile::Concurrent,
        false => Profile::Plain,
    };
    let engine = settings::compiler(profile).map_err(internal)?;
    let linkers = Linkers::new(&engine, profile).map_err(internal)?;
    refuse_unmet(&interfaces, &engine)?;
    let code = match interfaces.kind {
        Kind::Core => engine.precompile_module(&binary),
        Kind::Component => engine.precompile_component(&binary),
    };
    let code = code.map_err(|error| invalid(format!("{error:#}")))?;
    write(&orders.code, &code).map_err(report::not_kept)?;
    link(&interfaces, &engine, &linkers, &orders.code)?;
    Ok(Look {
        kind: interfaces.kind.as_str().to_owned(),
        abis: abis.iter().map(|abi| abi.as_str().to_owned()).collect(),
        imports: interfaces.import_names(),
        exports: interfaces.exports.clone(),
        size: given.len() as u64,
        profile: profile.as_str().to_owned(),
        component: interfaces.kind == Kind::Component,
    })
}

fn read(limit: u64) -> Result<Vec<u8>, Refusal> {
    let mut module = Vec::new();
    io::stdin()
        .lock()
        .take(limit.saturating_add(1))
        .read_to_end(&mut module)
        .map_err(report::not_kept)?;
    if module.len() as u64 > limit {
        return Err(Refusal {
            reason: "too-large",
            message: format!("the module is larger than {limit} bytes"),
            hint: "strip debug information, or optimise for size".to_owned(),
        });
    }
    Ok(module)
}

/// What was kept under a digest may have been changed since.
fn verify(given: &[u8], digest: &Digest) -> Result<(), Refusal> {
    let found = Digest::from_bytes(Sha256::digest(given).into());
    if found == *digest {
        return Ok(());
    }
    Err(Refusal {
        reason: "damaged",
        message: format!("the module kept as {digest} is damaged: its bytes are {found}"),
        hint: "deploy its file again; and look after the disk".to_owned(),
    })
}

/// The binary form: WebAssembly text is accepted as it is.
fn to_binary(given: &[u8]) -> Result<Vec<u8>, Refusal> {
    if given.starts_with(b"\0asm") {
        return Ok(given.to_vec());
    }
    let looks_like_text = std::str::from_utf8(given).is_ok_and(|text| {
        text.trim_start().starts_with('(') || text.trim_start().starts_with(";;")
    });
    if !looks_like_text {
        return Err(Refusal {
            reason: "not-wasm",
            message: match given.len() {
                0 => "the file is empty".to_owned(),
                _ => "this is no WebAssembly: it begins neither with `\\0asm` nor with `(`"
                    .to_owned(),
            },
            hint: "give a .wasm module or component, or a .wat text".to_owned(),
        });
    }
    wat::parse_bytes(given).map(std::borrow::Cow::into_owned).map_err(|error| Refusal {
        reason: "invalid-module",
        message: format!("the WebAssembly text is wrong: {error}"),
        hint: "the error names the line".to_owned(),
    })
}

fn look(module: &[u8]) -> Result<Interfaces, Refusal> {
    Interfaces::read(module).map_err(|error| invalid(error.to_string()))
}

fn nothing_to_call(module: &Interfaces) -> Refusal {
    let exports = match module.exports.as_slice() {
        [] => "nothing".to_owned(),
        exports => exports.iter().take(20).cloned().collect::<Vec<_>>().join(", "),
    };
    Refusal {
        reason: "unsupported",
        message: format!("the {} can't be called: it exports {exports}", module.kind.as_str()),
        hint: "a function exports wasi:http/incoming-handler@0.2, wasi:http/handler@0.3, \
               wasi:cli/run@0.2 or `_start`"
            .to_owned(),
    }
}

fn refuse_unmet(module: &Interfaces, engine: &wasmtime::Engine) -> Result<(), Refusal> {
    let core = host::core_imports(engine).map_err(internal)?;
    let missing = unmet(module, &core);
    let Some(first) = missing.first() else { return Ok(()) };
    let names: Vec<_> =
        missing.iter().map(|unmet| format!("`{}` ({})", unmet.name, unmet.hint)).collect();
    Err(Refusal {
        reason: "unknown-imports",
        message: format!("nobody provides what the module imports: {}", names.join("; ")),
        hint: first.hint.to_owned(),
    })
}

/// Links without running: types that do not match what the host provides show here.
fn link(
    module: &Interfaces,
    engine: &wasmtime::Engine,
    linkers: &Linkers,
    code: &Path,
) -> Result<(), Refusal> {
    let linked = match module.kind {
        Kind::Core => crate::load::module(engine, code)
            .and_then(|module| linkers.core.instantiate_pre(&module).map(drop)),
        Kind::Component => crate::load::component(engine, code)
            .and_then(|component| linkers.component.instantiate_pre(&component).map(drop)),
    };
    linked.map_err(|error| Refusal {
        reason: "unsupported",
        message: format!("the module does not fit this host: {error:#}"),
        hint: "rebuild it with a toolchain for WASI 0.2 or 0.3".to_owned(),
    })
}

fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(code)?;
    file.sync_all()
}

fn invalid(message: String) -> Refusal {
    Refusal {
        reason: "invalid-module",
        message: format!("the module is not valid: {message}"),
        hint: "the file is cut short, damaged, or made for proposals that this dhow does not run; \
               build or copy it again"
            .to_owned(),
    }
}

fn internal(error: wasmtime::Error) -> Refusal {
    Refusal {
        reason: "internal",
        message: format!("the compiler can't start: {error:#}"),
        hint: "this is a defect of dhow or of its installation".to_owned(),
    }
}
