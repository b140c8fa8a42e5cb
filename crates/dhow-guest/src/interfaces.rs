//! The outside of a module: its imports and exports, without its code.

use wasmparser::{Encoding, Parser, Payload};

/// The most imports or exports that are looked at.
const MOST_NAMES: usize = 10_000;

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
    /// Its outside alone is absurd.
    #[error("the module has more than {MOST_NAMES} imports or exports")]
    TooMany,
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
        let mut depth = 0usize;
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload?;
            match payload {
                Payload::Version { encoding: Encoding::Component, .. } if depth == 0 => {
                    found.kind = Kind::Component;
                }
                // `parse_all` goes into nested modules and components; theirs are not ours.
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                payload if depth == 0 => found.section(payload)?,
                _ => {}
            }
            if found.imports.len() > MOST_NAMES || found.exports.len() > MOST_NAMES {
                return Err(NotWasm::TooMany);
            }
        }
        Ok(found)
    }

    fn section(&mut self, payload: Payload<'_>) -> Result<(), NotWasm> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    self.imports.push((import.module.to_owned(), import.name.to_owned()));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    self.exports.push(export?.name.to_owned());
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    self.imports.push((import?.name.name.to_owned(), String::new()));
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    self.exports.push(export?.name.name.to_owned());
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
