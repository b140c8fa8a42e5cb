//! Lists the committed guests, so that every one of them can be asked for by name and a test
//! suite can be made to have a test for each.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .join("../../guests")
        .canonicalize()
        .expect("the guests folder is beside crates/");
    let mut guests = Vec::new();
    for language in ["c", "rust"] {
        for folder in list(&root.join(language)) {
            guests.extend(list(&folder).into_iter().filter(|file| has_extension(file, "wasm")));
        }
    }
    guests.extend(list(&root.join("wat")).into_iter().filter(|file| has_extension(file, "wat")));
    guests.sort();

    let mut code = String::from(
        "/// Every committed guest: its name and its bytes.\npub const GUESTS: &[(&str, &[u8])] = &[\n",
    );
    let mut names = String::new();
    for guest in &guests {
        let name = guest.file_stem().and_then(|stem| stem.to_str()).expect("an ASCII name");
        writeln!(code, "    ({name:?}, include_bytes!({guest:?})),").expect("writing to a String");
        writeln!(names, "        $each!({});", name.replace('-', "_")).expect("as above");
    }
    code.push_str("];\n\n/// Calls a macro with the name of every committed guest as an identifier.\n#[macro_export]\nmacro_rules! foreach_guest {\n    ($each:ident) => {\n");
    code.push_str(&names);
    code.push_str("    };\n}\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("guests.rs");
    fs::write(out, code).expect("OUT_DIR can be written");
    println!("cargo:rerun-if-changed={}", root.display());
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.expect("a readable folder").path()).collect()
}

fn has_extension(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|found| found == extension)
}
