//! What modules are built with. Each is needed only by who writes in that language.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::finding::{Finding, Look};
use super::{Subject, program};

/// Debian's folder of the WASI C library, and wasi-sdk's own.
const WASI_LIBC: [&str; 2] = ["/usr/include/wasm32-wasi", "/opt/wasi-sdk/share/wasi-sysroot"];
const WASI_SDK: &str = "WASI_SDK_PATH";
/// The first Go that compiles for WASI, and the first Node that the component tools take.
const LEAST_GO: (u32, u32) = (1, 21);
const LEAST_NODE: (u32, u32) = (18, 0);
const RUST_TARGET: &str = "wasm32-wasip2";

/// C: clang for WebAssembly, its linker, and the WASI C library.
pub(super) fn c(subject: &Subject<'_>) -> Look {
    let advice = "`apt install clang lld wasi-libc libclang-rt-dev-wasm32`, or wasi-sdk with \
                  WASI_SDK_PATH naming its folder";
    let sdk = (subject.environment)(WASI_SDK).map(PathBuf::from);
    if let Some(sdk) = sdk.filter(|sdk| sdk.join("bin/clang").is_file()) {
        return Look::Good(format!("wasi-sdk in {}", sdk.display()));
    }
    let wrong =
        if !said(subject, "clang", &["--print-targets"]).is_some_and(|it| it.contains("wasm32")) {
            Some("there is no clang for WebAssembly")
        } else if program(subject, "wasm-ld").is_none() {
            Some("there is no wasm-ld, the linker for WebAssembly")
        } else if !WASI_LIBC.iter().any(|folder| Path::new(folder).is_dir()) {
            Some("there is no C library for WASI")
        } else {
            None
        };
    Look::single(wrong.map(|wrong| Finding::new(wrong, advice)), || {
        "clang, wasm-ld and the C library for WASI".to_owned()
    })
}

/// Go.
pub(super) fn go(subject: &Subject<'_>) -> Look {
    let text = said(subject, "go", &["version"]);
    versioned("Go", text.as_deref(), "go1.", LEAST_GO, "install Go from https://go.dev/dl/")
}

/// Rust with the target of components.
pub(super) fn rust(subject: &Subject<'_>) -> Look {
    let folder = ["--print", "target-libdir", "--target", RUST_TARGET];
    let finding = match said(subject, "rustc", &folder) {
        _ if program(subject, "cargo").is_none() => {
            Some(Finding::new("there is no cargo", "install Rust from https://rustup.rs"))
        }
        Some(folder) if Path::new(folder.trim()).is_dir() => None,
        _ => Some(Finding::new(
            format!("Rust has no standard library for {RUST_TARGET}"),
            format!("`rustup target add {RUST_TARGET}`"),
        )),
    };
    Look::single(finding, || format!("cargo with {RUST_TARGET}"))
}

/// JavaScript: node and npm.
pub(super) fn js(subject: &Subject<'_>) -> Look {
    let advice = "install Node from https://nodejs.org, or `apt install nodejs npm`";
    let text = said(subject, "node", &["--version"]);
    if text.is_some() && program(subject, "npm").is_none() {
        return Look::Wrong(vec![Finding::new("there is no npm", "`apt install npm`")]);
    }
    versioned("Node", text.as_deref(), "v", LEAST_NODE, advice)
}

/// Python with its environments.
pub(super) fn python(subject: &Subject<'_>) -> Look {
    let finding = if program(subject, "python3").is_none() {
        Some(Finding::new("there is no python3", "`apt install python3 python3-venv`"))
    } else if said(subject, "python3", &["-c", "import ensurepip, venv"]).is_none() {
        Some(Finding::new("python3 can't make environments", "`apt install python3-venv`"))
    } else {
        None
    };
    Look::single(finding, || "python3 with venv".to_owned())
}

/// A program that tells its version after `mark`.
fn versioned(name: &str, text: Option<&str>, mark: &str, least: (u32, u32), advice: &str) -> Look {
    let found = text.map(|text| version(text, mark));
    let (major, minor) = least;
    let finding = match found {
        None => Some(Finding::new(format!("there is no {name}"), advice)),
        Some(None) => Some(Finding::new(format!("{name} does not tell its version"), advice)),
        Some(Some(found)) if found < least => Some(Finding::new(
            format!("{name} is {}.{}, and {major}.{minor} is needed", found.0, found.1),
            advice,
        )),
        Some(Some(_)) => None,
    };
    Look::single(finding, || text.unwrap_or_default().trim().to_owned())
}

/// The first two numbers of the version that stands after `mark`.
fn version(text: &str, mark: &str) -> Option<(u32, u32)> {
    let start = text.find(mark)? + mark.trim_end_matches("1.").len();
    let mut numbers = text[start..].split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What a program says; none when it is not there or fails.
fn said(subject: &Subject<'_>, name: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program(subject, name)?)
        .args(args)
        // Outside of any project, whose files might ask for another version, and without
        // installing one: who looks changes nothing.
        .current_dir("/")
        .env("RUSTUP_AUTO_INSTALL", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_where_its_program_tells_it() {
        assert_eq!(version("go version go1.24.3 linux/amd64\n", "go1."), Some((1, 24)));
        assert_eq!(version("v20.19.2\n", "v"), Some((20, 19)));
        assert_eq!(version("something else", "go1."), None);
        assert_eq!(version("v\n", "v"), None);
    }

    #[test]
    fn an_old_or_silent_program_is_no_good() {
        let look = |text| versioned("Go", text, "go1.", LEAST_GO, "install it");
        let wrong = |text| match look(text) {
            Look::Wrong(findings) => findings[0].what.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(wrong(None), "there is no Go");
        assert_eq!(wrong(Some("go version go1.20.1 x")), "Go is 1.20, and 1.21 is needed");
        assert_eq!(wrong(Some("go")), "Go does not tell its version");
        assert!(matches!(look(Some("go version go1.21 x")), Look::Good(_)));
    }
}
