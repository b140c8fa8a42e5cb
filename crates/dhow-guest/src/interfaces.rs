//! The outside of a module: its imports and exports, without its code.

use wasmparser::{Encoding, Parser, Payload};

/// The most imports, and the most exports, that are looked at.
pub const MOST_NAMES: usize = 10_000;
/// The most bytes that the names of all imports and exports have together.
///
/// A module can be far smaller than that and still go over: imports in the compact encoding share
/// one module name of up to 100,000 bytes, which stands in the module once.
pub const MOST_NAME_BYTES: usize = 1 << 20;

/// Which kind of binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `\0asm` version 1.
    Core,
    /// The component model's.
    Component,
}

impl Kind {
    /// As a person reads it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Core => "core module",
            Self::Component => "component",
        }
    }
}

/// What a module offers and needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interfaces {
    /// Which kind it is.
    pub kind: Kind,
    /// `(module, name)` of a core module; `(name, "")` of a component.
    pub imports: Vec<(String, String)>,
    /// Names of functions, memories and so on; of a component, of interfaces.
    pub exports: Vec<String>,
    /// Whether a core module carries the type of the component it shall become.
    pub component_type: bool,
}

/// Why bytes are not a module.
#[derive(Debug, thiserror::Error)]
pub enum NotWasm {
    /// Its bytes are wrong.
    #[error("the module is damaged: {0}")]
    Damaged(#[from] wasmparser::BinaryReaderError),
    /// It ends within a module or component that it holds.
    #[error("the module is cut short: what it holds goes on to byte {0}")]
    CutShort(usize),
    /// Its outside alone is absurd.
    #[error("the module has more than {MOST_NAMES} imports or exports")]
    TooMany,
    /// As absurd.
    #[error("the names of the module's imports and exports have more than {MOST_NAME_BYTES} bytes")]
    TooLong,
}

impl Interfaces {
    /// Reads the sections that name imports and exports; skips code and data.
    pub fn read(module: &[u8]) -> Result<Self, NotWasm> {
        let mut found = Self {
            kind: Kind::Core,
            imports: Vec::new(),
            exports: Vec::new(),
            component_type: false,
        };
        let mut names = NameBudget { bytes: MOST_NAME_BYTES };
        let mut depth = 0usize;
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload?;
            match payload {
                Payload::Version { encoding: Encoding::Component, .. } if depth == 0 => {
                    found.kind = Kind::Component;
                }
                // `parse_all` goes into nested modules and components; theirs are not ours. And it
                // takes the end of the bytes for theirs, wherever they should end.
                Payload::ModuleSection { unchecked_range, .. }
                | Payload::ComponentSection { unchecked_range, .. } => {
                    if unchecked_range.end > module.len() {
                        return Err(NotWasm::CutShort(unchecked_range.end));
                    }
                    depth += 1;
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                payload if depth == 0 => found.section(payload, &mut names)?,
                _ => {}
            }
        }
        Ok(found)
    }

    fn section(&mut self, payload: Payload<'_>, names: &mut NameBudget) -> Result<(), NotWasm> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    names.add(self.imports.len(), &[import.module, import.name])?;
                    self.imports.push((import.module.to_owned(), import.name.to_owned()));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let name = export?.name;
                    names.add(self.exports.len(), &[name])?;
                    self.exports.push(name.to_owned());
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let name = import?.name.name;
                    names.add(self.imports.len(), &[name])?;
                    self.imports.push((name.to_owned(), String::new()));
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let name = export?.name.name;
                    names.add(self.exports.len(), &[name])?;
                    self.exports.push(name.to_owned());
                }
            }
            Payload::CustomSection(section) => {
                self.component_type |= section.name().starts_with("component-type");
            }
            _ => {}
        }
        Ok(())
    }

    /// Imports as a person reads them.
    pub fn import_names(&self) -> Vec<String> {
        self.imports
            .iter()
            .map(|(module, name)| match name.as_str() {
                "" => module.clone(),
                name => format!("{module} {name}"),
            })
            .collect()
    }
}

/// What names may still be kept.
struct NameBudget {
    bytes: usize,
}

impl NameBudget {
    /// Takes `names` off, which are to stand beside `already` others of their kind.
    fn add(&mut self, already: usize, names: &[&str]) -> Result<(), NotWasm> {
        if already == MOST_NAMES {
            return Err(NotWasm::TooMany);
        }
        let bytes = names.iter().map(|name| name.len()).sum();
        self.bytes = self.bytes.checked_sub(bytes).ok_or(NotWasm::TooLong)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A core module of one section. Its size is written in four bytes, which LEB128 allows.
    fn module(section: u8, content: &[u8]) -> Vec<u8> {
        let size = leb(content.len());
        [b"\0asm\x01\0\0\0".as_slice(), &[section], &size, content].concat()
    }

    fn leb(number: usize) -> [u8; 4] {
        let septet = |place: u32| u8::try_from(number >> (7 * place) & 0x7f).unwrap();
        [septet(0) | 0x80, septet(1) | 0x80, septet(2) | 0x80, septet(3)]
    }

    fn exports(count: usize) -> Vec<u8> {
        // Each is an empty name and function 0.
        module(7, &[leb(count).as_slice(), &[0, 0, 0].repeat(count)].concat())
    }

    /// Imports in the compact encoding: one module name, then names and types.
    fn compact_imports(from: &str, count: usize) -> Vec<u8> {
        let head = [&leb(1), leb(from.len()).as_slice(), from.as_bytes(), &[0, 0x7f]].concat();
        module(2, &[head, leb(count).to_vec(), [0, 0, 0].repeat(count)].concat())
    }

    #[test]
    fn a_module_has_so_many_names_and_no_more() {
        assert_eq!(Interfaces::read(&exports(MOST_NAMES)).unwrap().exports.len(), MOST_NAMES);
        assert!(matches!(Interfaces::read(&exports(MOST_NAMES + 1)), Err(NotWasm::TooMany)));
    }

    #[test]
    fn a_name_that_many_imports_share_counts_for_each() {
        let name = "x".repeat(1 << 10);
        let fits = Interfaces::read(&compact_imports(&name, 1 << 10)).unwrap();
        assert_eq!(fits.imports.len(), 1 << 10);
        let over = Interfaces::read(&compact_imports(&name, (1 << 10) + 1));
        assert!(matches!(over, Err(NotWasm::TooLong)));
    }

    #[test]
    fn what_is_no_module_is_damaged() {
        for text in ["", "hello", "(module)", "\0asm", "\0asm\u{2}\0\0\0"] {
            let read = Interfaces::read(text.as_bytes());
            assert!(matches!(read, Err(NotWasm::Damaged(_))), "{text:?}");
        }
    }

    #[test]
    fn a_component_cut_within_what_it_holds_is_cut_short() {
        let whole = wat::parse_str("(component (core module (func)))").unwrap();
        assert!(Interfaces::read(&whole).is_ok());
        // The head of the component and of its section, and of the module.
        let cut = Interfaces::read(&whole[..8 + 2 + 8]);
        assert!(matches!(cut, Err(NotWasm::CutShort(end)) if end == whole.len()), "{cut:?}");
    }

    proptest! {
        #[test]
        fn a_module_cut_short_is_damaged(count in 0_usize..50, cut in 0_usize..1000) {
            let whole = exports(count);
            // After its eight bytes of head alone a module is whole again.
            let cut = cut % whole.len();
            prop_assume!(cut != 8);
            prop_assert!(matches!(Interfaces::read(&whole[..cut]), Err(NotWasm::Damaged(_))));
        }
    }
}
