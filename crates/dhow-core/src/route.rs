//! Declared ways to a function.

use http::Method;

/// One declared way to a function.
///
/// `path` is literal segments and `{name}` parameters (`/users/{id}`), and may end in `/*`, which
/// takes everything below it and the path itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `None` is any host; `*.example.com` is every name below it.
    pub host: Option<String>,
    /// The path, beginning with `/`.
    pub path: String,
    /// None is every method.
    pub methods: Vec<Method>,
}
