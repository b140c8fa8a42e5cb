//! A module as it comes: its outside, how it can be called, what it lacks, and the component that
//! a core module of an old SDK becomes.
#![no_main]

use std::collections::HashSet;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use dhow_core::abi::Abi;
use dhow_guest::componentize::componentize;
use dhow_guest::detect::{detect, is_unwrapped_component, wants_concurrency};
use dhow_guest::interfaces::{Interfaces, Kind, MOST_NAME_BYTES, MOST_NAMES};
use dhow_guest::needs::unmet;
use libfuzzer_sys::fuzz_target;

/// Whether the encoder runs. Its panics are caught, and would end the run if they were reported.
static ENCODING: AtomicBool = AtomicBool::new(false);

fuzz_target!(init: report_all_but_the_encoders_panics(), |data: &[u8]| {
    for cut in [0, 1, 8, data.len() / 2] {
        let _ = read(&data[..data.len().saturating_sub(cut)]);
    }
    let Some(module) = read(data) else { return };
    look(&module);
    if module.kind == Kind::Core && module.component_type {
        become_component(data);
    }
    #[cfg(feature = "planted")]
    planted(&module);
});

fn report_all_but_the_encoders_panics() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !ENCODING.load(Ordering::Relaxed) {
            report(panic);
        }
    }));
}

/// What was read is a module from its first byte to its last, within its limits.
fn read(data: &[u8]) -> Option<Interfaces> {
    let module = Interfaces::read(data).ok()?;
    assert!(is_whole(data), "half a module, or none, was taken for one");
    assert_eq!(Interfaces::read(data).ok().as_ref(), Some(&module));
    assert!(module.imports.len() <= MOST_NAMES && module.exports.len() <= MOST_NAMES);
    let imports = module.imports.iter().map(|(from, name)| from.len() + name.len());
    let exports = module.exports.iter().map(String::len);
    assert!(imports.chain(exports).sum::<usize>() <= MOST_NAME_BYTES);
    Some(module)
}

/// Whether `data` is a header and whole sections: the frame that modules and components share
/// (core specification 5.5).
fn is_whole(data: &[u8]) -> bool {
    let Some(mut rest) = data.strip_prefix(b"\0asm").and_then(|rest| rest.get(4..)) else {
        return false;
    };
    while let [_id, after @ ..] = rest {
        let Some(length) = after.iter().take(5).position(|byte| byte & 0x80 == 0) else {
            return false;
        };
        let size = after[..=length]
            .iter()
            .rev()
            .fold(0_usize, |size, byte| size << 7 | usize::from(byte & 0x7f));
        match after[length + 1..].get(size..) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    true
}

fn look(module: &Interfaces) {
    let abis = detect(module);
    assert_eq!(detect(module), abis);
    match module.kind {
        Kind::Core => {
            assert!(abis.len() <= 1);
            assert!(!abis.contains(&Abi::Http) && !wants_concurrency(module));
        }
        Kind::Component => {
            assert!(abis.iter().all(|abi| !matches!(abi, Abi::Actor | Abi::Server)));
            assert!(!is_unwrapped_component(module));
        }
    }
    let nothing = HashSet::new();
    let lacking = unmet(module, &nothing);
    assert!(lacking.iter().all(|lack| module.import_names().contains(&lack.name)));
    match module.kind {
        Kind::Core => {
            assert_eq!(lacking.len(), module.imports.len());
            assert_eq!(unmet(module, &module.imports.iter().cloned().collect()), []);
        }
        Kind::Component => assert!(lacking.len() <= module.imports.len()),
    }
}

fn become_component(module: &[u8]) {
    ENCODING.store(true, Ordering::Relaxed);
    let component = componentize(module);
    ENCODING.store(false, Ordering::Relaxed);
    if let Ok(component) = component {
        let outside = read(&component).expect("what the encoder made reads");
        assert_eq!(outside.kind, Kind::Component);
        look(&outside);
    }
}

/// Wrongly holds that no module imports a name that begins with a capital letter.
#[cfg(feature = "planted")]
fn planted(module: &Interfaces) {
    let is_capital = |name: &str| name.starts_with(|c: char| c.is_ascii_uppercase());
    assert!(!module.imports.iter().any(|(_, name)| is_capital(name)), "planted");
}
