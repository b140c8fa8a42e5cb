//! What the client commands mean, from what was typed and what the environment says.

use std::time::Duration;

use dhow_core::name::{DEFAULT_NAMESPACE, FunctionName, Label};
use http::Uri;

use super::error::CommandError;

/// The admin address of the dhow to talk to.
pub const DHOW_SERVER: &str = "DHOW_SERVER";
/// The namespace of functions whose namespace is not said.
pub const DHOW_NAMESPACE: &str = "DHOW_NAMESPACE";

/// Where `dhow up` listens for us, unless told otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:8081";

/// How long to wait until the server takes a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Options of every command that talks to a running dhow.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// The admin address of the dhow to talk to [env: DHOW_SERVER] [default: http://127.0.0.1:8081]
    #[arg(long, global = true, value_name = "URL", help_heading = "Server")]
    pub server: Option<String>,
    /// The namespace of the functions [env: DHOW_NAMESPACE] [default: default]
    #[arg(long, short, global = true, value_name = "NS", help_heading = "Server")]
    pub namespace: Option<String>,
}

/// What the options mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The admin address, without a `/` at its end.
    pub server: String,
    /// The namespace that was named, by an option or the environment.
    pub namespace: Option<Label>,
}

impl Settings {
    /// Puts `args` and the `environment`'s variables together; options win.
    ///
    /// # Errors
    /// When a value is no address or no namespace.
    pub fn resolve(
        args: &Args,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, CommandError> {
        let said = |option: &Option<String>, flag: &'static str, variable: &'static str| {
            let option = option.clone().map(|value| (flag, value));
            option.or_else(|| {
                let value = environment(variable).filter(|value| !value.is_empty());
                value.map(|value| (variable, value))
            })
        };
        let server = match said(&args.server, "--server", DHOW_SERVER) {
            None => DEFAULT_SERVER.to_owned(),
            Some((source, address)) => base_url(&address).map_err(|why| {
                CommandError::usage(format!("{source} is `{address}`, which {why}"))
                    .hint(format!("write an address such as {DEFAULT_SERVER}"))
            })?,
        };
        let namespace = match said(&args.namespace, "--namespace", DHOW_NAMESPACE) {
            None => None,
            Some((source, name)) => Some(name.parse().map_err(|why| {
                CommandError::usage(format!("{source} is `{name}`, which is no namespace: {why}"))
            })?),
        };
        Ok(Self { server, namespace })
    }

    /// The namespace to use where one must be.
    pub fn namespace(&self) -> Label {
        self.namespace.clone().unwrap_or_else(Label::default_namespace)
    }

    /// The function that `NAME` or `NAME.NAMESPACE` means.
    ///
    /// # Errors
    /// When it is not such a name, or contradicts `--namespace`.
    pub fn function(&self, text: &str) -> Result<FunctionName, CommandError> {
        let name = FunctionName::parse(text).map_err(|why| {
            CommandError::usage(format!("`{text}` is not the name of a function: {why}"))
        })?;
        match (&self.namespace, text.contains('.')) {
            (Some(namespace), true) if *namespace != name.namespace => {
                Err(CommandError::usage(format!(
                    "`{text}` is in the namespace `{}`, and the namespace that is set is \
                     `{namespace}`",
                    name.namespace
                )))
            }
            (_, true) => Ok(name),
            (_, false) => Ok(FunctionName { namespace: self.namespace(), ..name }),
        }
    }
}

/// A function's name as short as it can be read.
pub fn short_name(name: &FunctionName) -> String {
    if name.namespace.as_str() == DEFAULT_NAMESPACE {
        name.name.to_string()
    } else {
        name.to_string()
    }
}

/// A variable of this process' environment; one that is not Unicode is none.
#[expect(clippy::disallowed_methods, reason = "this is where the command line reads it")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The address without a `/` at its end.
pub(super) fn base_url(address: &str) -> Result<String, &'static str> {
    let uri: Uri = address.parse().map_err(|_| "is not an address")?;
    match uri.scheme_str() {
        Some("http") if uri.path() == "/" && uri.query().is_none() => {
            Ok(address.trim_end_matches('/').to_owned())
        }
        Some("http") => Err("has a path"),
        Some("https") => Err("is https; this version of dhow speaks plain http to a server"),
        _ => Err("does not begin with http://"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(server: Option<&str>, env: &[(&str, &str)]) -> Result<Settings, CommandError> {
        let args = Args { server: server.map(str::to_owned), namespace: None };
        Settings::resolve(&args, |name| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_option_wins_over_the_environment_and_both_over_the_default() {
        let env = [(DHOW_SERVER, "http://a:1/"), (DHOW_NAMESPACE, "shop")];
        assert_eq!(resolve(None, &[]).unwrap().server, DEFAULT_SERVER);
        assert_eq!(resolve(None, &[(DHOW_SERVER, "")]).unwrap().server, DEFAULT_SERVER);
        let settings = resolve(None, &env).unwrap();
        assert_eq!(
            (settings.server.as_str(), settings.namespace().as_str()),
            ("http://a:1", "shop")
        );
        assert_eq!(resolve(Some("http://b:2"), &env).unwrap().server, "http://b:2");
    }

    #[test]
    fn a_wrong_address_or_namespace_is_a_wrong_usage_that_names_its_source() {
        for wrong in ["localhost:8081", "https://a", "http://a/b", "http://a/?b", "", "ftp://a"] {
            let error = resolve(Some(wrong), &[]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.message.starts_with("--server is"), "{error}");
        }
        let error = resolve(None, &[(DHOW_NAMESPACE, "A")]).unwrap_err();
        assert!(error.message.starts_with("DHOW_NAMESPACE is `A`"), "{error}");
    }

    #[test]
    fn a_function_is_in_its_own_namespace_or_in_the_one_that_is_set() {
        let plain = resolve(None, &[]).unwrap();
        let shop = resolve(None, &[(DHOW_NAMESPACE, "shop")]).unwrap();
        assert_eq!(plain.function("a").unwrap().to_string(), "a.default");
        assert_eq!(plain.function("a.b").unwrap().to_string(), "a.b");
        assert_eq!(shop.function("a").unwrap().to_string(), "a.shop");
        assert_eq!(shop.function("a.shop").unwrap().to_string(), "a.shop");
        assert_eq!(shop.function("a.b").unwrap_err().exit_code(), 2);
        assert_eq!(plain.function("A").unwrap_err().exit_code(), 2);
        assert_eq!(short_name(&plain.function("a").unwrap()), "a");
        assert_eq!(short_name(&shop.function("a").unwrap()), "a.shop");
    }
}
