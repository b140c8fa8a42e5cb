//! What a guest's error means. The one place where it is decided.

use dhow_core::outcome::{Failure, Reason};
use wasmtime::{Error, PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::meter::{Meter, Stop};

/// Frames of a trap's trace that a message names, innermost first.
const FRAMES: usize = 4;

/// The failure behind `error`, with which an instance ended.
pub(super) fn failure_of(error: &Error, meter: &Meter) -> Failure {
    if let Some(Stop(failure)) = error.downcast_ref::<Stop>() {
        return failure.clone();
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Failure::new(Reason::Overloaded, "no room for another instance");
    }
    if let Some(failure) = meter.quota_failure() {
        // An error that the guest's code did not come to has no trace of it.
        let has_no_instance = error.downcast_ref::<WasmBacktrace>().is_none();
        return Failure { has_no_instance, ..failure };
    }
    let what = describe(error);
    if meter.was_refused_memory() {
        let message = format!("the guest was refused more memory and failed: {what}");
        return Failure::new(Reason::Memory, message);
    }
    match error.downcast_ref::<I32Exit>() {
        Some(I32Exit(code)) => {
            Failure::new(Reason::GuestExit, format!("the guest ended with code {code}"))
        }
        None => Failure::new(Reason::Trap, format!("the guest failed: {what}")),
    }
}

/// The trap in words, with the functions it came from.
fn describe(error: &Error) -> String {
    let mut what = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    let names: Vec<_> = error
        .downcast_ref::<WasmBacktrace>()
        .map(|trace| trace.frames().iter().take(FRAMES))
        .into_iter()
        .flatten()
        .filter_map(|frame| frame.func_name())
        .collect();
    if !names.is_empty() {
        what.push_str(" in ");
        what.push_str(&names.join(" < "));
    }
    what
}

/// The failure of a command that ended with `code`.
pub(super) fn exit(code: i32, meter: &Meter) -> Failure {
    if let Some(failure) = meter.quota_failure() {
        return Failure { exit: Some(code), ..failure };
    }
    let (reason, message) = match meter.was_refused_memory() {
        true => {
            (Reason::Memory, format!("the guest was refused memory and ended with code {code}"))
        }
        false => (Reason::GuestExit, format!("the guest ended with code {code}")),
    };
    Failure { exit: Some(code), ..Failure::new(reason, message) }
}
