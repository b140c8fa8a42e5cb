//! Applications of several components behind one name, as Spin has them: what they are made of.
//! Which component answers is decided in [`crate::plan::components`].

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;

/// The most components of an application.
pub const MOST_COMPONENTS: usize = 256;
/// The most files of an application, over all its components.
pub const MOST_FILES: usize = 10_000;

/// An application. `S` is where bytes are, `F` the files of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application<S = Digest, F = Vec<File>> {
    /// As its author named it.
    pub name: String,
    /// As its author numbered it.
    pub version: Option<String>,
    /// What stands before every route; `/` is nothing.
    pub base: String,
    /// What whoever runs it may set, by name.
    pub variables: BTreeMap<String, Variable>,
    /// What it is made of; ids are unique.
    pub components: Vec<Component<S, F>>,
    /// Which requests lead to which component, in the order of the manifest: of two with the same
    /// route the later one holds.
    pub triggers: Vec<Trigger>,
}

/// One component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component<S = Digest, F = Vec<File>> {
    /// Its name in the application.
    pub id: String,
    /// Its module.
    pub source: S,
    /// The files that it sees.
    pub files: F,
    /// Variables of its environment.
    pub env: BTreeMap<String, String>,
    /// Its own variables: texts in which `{{ name }}` stands for the application's.
    pub variables: BTreeMap<String, String>,
    /// What it may ask for, as Spin writes it; variables stand in it too.
    pub outbound: Vec<String>,
    /// The key-value stores that it may open.
    pub stores: Vec<String>,
    /// How it is called.
    pub executor: Executor,
}

/// One file of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File<S = Digest> {
    /// Names with `/` between them, none of them `..`; seen below `/`.
    pub path: String,
    /// Its bytes.
    pub content: S,
}

/// Something that whoever runs the application may set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variable {
    /// What holds unless it is set; without one it must be.
    pub default: Option<String>,
    /// Whether it is kept from listings.
    pub secret: bool,
}

/// Requests that lead to a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// An index of the application's components.
    pub component: usize,
    /// As the manifest has it, such as `/users/:id/...`; `None` is private: only other components
    /// reach it.
    pub route: Option<String>,
}

/// How a component is called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Executor {
    /// By the HTTP interface that it exports.
    #[default]
    Http,
    /// As a program, by CGI.
    Wagi {
        /// Its arguments, with single blanks between; `${SCRIPT_NAME}` and `${ARGS}` stand for the
        /// route and for the query's words.
        argv: String,
    },
}

/// The arguments of a WAGI program whose manifest says nothing of them.
pub const WAGI_ARGV: &str = "${SCRIPT_NAME} ${ARGS}";

impl<S, F> Application<S, F> {
    /// The same application with other contents: what `content` says of each component.
    ///
    /// # Errors
    /// The first that `content` has.
    pub fn with_contents<T, G, E>(
        &self,
        mut content: impl FnMut(&Component<S, F>) -> Result<(T, G), E>,
    ) -> Result<Application<T, G>, E> {
        let mut components = Vec::with_capacity(self.components.len());
        for component in &self.components {
            let (source, files) = content(component)?;
            components.push(Component {
                id: component.id.clone(),
                source,
                files,
                env: component.env.clone(),
                variables: component.variables.clone(),
                outbound: component.outbound.clone(),
                stores: component.stores.clone(),
                executor: component.executor.clone(),
            });
        }
        Ok(Application {
            name: self.name.clone(),
            version: self.version.clone(),
            base: self.base.clone(),
            variables: self.variables.clone(),
            components,
            triggers: self.triggers.clone(),
        })
    }

    /// The index of a component.
    pub fn component(&self, id: &str) -> Option<usize> {
        self.components.iter().position(|component| component.id == id)
    }
}

impl Application {
    /// Every blob that it is made of.
    pub fn blobs(&self) -> BTreeSet<Digest> {
        let of = |component: &Component| {
            let files = component.files.iter().map(|file| file.content);
            std::iter::once(component.source).chain(files).collect::<Vec<_>>()
        };
        self.components.iter().flat_map(of).collect()
    }

    /// A component that came alone, as an application that leads every request to it.
    pub fn of_one(source: Digest) -> Self {
        let component = Component {
            id: "component".to_owned(),
            source,
            files: vec![],
            env: BTreeMap::new(),
            variables: BTreeMap::new(),
            outbound: vec![],
            stores: vec![],
            executor: Executor::Http,
        };
        Self {
            name: component.id.clone(),
            version: None,
            base: "/".to_owned(),
            variables: BTreeMap::new(),
            components: vec![component],
            triggers: vec![Trigger { component: 0, route: Some("/...".to_owned()) }],
        }
    }

    /// The variables that have to be set.
    pub fn required(&self) -> Vec<String> {
        let unset = self.variables.iter().filter(|(_, variable)| variable.default.is_none());
        unset.map(|(name, _)| name.clone()).collect()
    }
}

/// The value that the environment `env` gives a variable: `SPIN_VARIABLE_NAME`, else `NAME`, as the
/// containers of SpinKube are told.
pub fn set_in<'e>(env: &'e [(String, String)], variable: &str) -> Option<&'e str> {
    let plain = variable.to_ascii_uppercase();
    let full = format!("SPIN_VARIABLE_{plain}");
    let find = |wanted: &str| env.iter().find(|(name, _)| name == wanted);
    find(&full).or_else(|| find(&plain)).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_set_by_its_full_name_before_its_short_one() {
        let env = |names: &[&str]| -> Vec<(String, String)> {
            names.iter().map(|name| ((*name).to_owned(), format!("of {name}"))).collect()
        };
        let both = env(&["PASS_WORD", "SPIN_VARIABLE_PASS_WORD"]);
        assert_eq!(set_in(&both, "pass_word"), Some("of SPIN_VARIABLE_PASS_WORD"));
        assert_eq!(set_in(&env(&["PASS_WORD"]), "pass_word"), Some("of PASS_WORD"));
        assert_eq!(set_in(&env(&["pass_word"]), "pass_word"), None);
    }
}
