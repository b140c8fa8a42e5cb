//! What the client commands mean, from what was typed and what the environment says.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap_complete::engine::ArgValueCompleter;
use dhow_core::name::{DEFAULT_NAMESPACE, FunctionName, Label};
use http::Uri;

use super::complete;
use super::credentials::CredentialsFile;
use super::error::CommandError;
use super::trust::Trust;

/// The variable that names the server.
pub const DHOW_SERVER: &str = "DHOW_SERVER";

/// The path of the setting that it is.
pub const SERVER: &str = "server";

/// The token, or admin secret, to show to the server.
pub const DHOW_TOKEN: &str = "DHOW_TOKEN";
/// A file that holds one.
pub const DHOW_TOKEN_FILE: &str = "DHOW_TOKEN_FILE";
/// Where people's settings are, after the XDG base directory specification.
const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
const HOME: &str = "HOME";

/// Where `dhow up` listens for us, unless told otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:8081";

/// How long to wait until the server takes a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Options of every command that talks to a running dhow.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// The admin address of the dhow to talk to [env: DHOW_SERVER] [default: http://127.0.0.1:8081]
    #[arg(long, global = true, value_name = "URL", help_heading = "Server", value_parser = base_url)]
    pub server: Option<String>,
    /// The namespace of the functions [env: DHOW_NAMESPACE] [default: default]
    #[arg(long, short, global = true, value_name = "NS", help_heading = "Server",
          add = ArgValueCompleter::new(complete::namespaces))]
    pub namespace: Option<Label>,
    /// A file with the token to show to the server [env: DHOW_TOKEN_FILE, or DHOW_TOKEN for the token itself] [default: what `dhow auth login` kept]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Server")]
    pub token_file: Option<PathBuf>,
    /// A file of certificates (PEM) to believe besides the system's [env: DHOW_CA_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Server")]
    pub ca_file: Option<PathBuf>,
}

/// A token or admin secret. It is shown to the server it is for, and to nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// `text` as it is.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The first line of `text`; an empty one, or one with control characters, is none.
    pub fn read(text: &str) -> Option<Self> {
        let line = text.lines().next().unwrap_or_default().trim();
        let is_secret = !line.is_empty() && line.chars().all(|c| c.is_ascii_graphic());
        is_secret.then(|| Self(line.to_owned()))
    }

    /// For the header that carries it, and the file that keeps it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What the options mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The admin address, without a `/` at its end.
    pub server: String,
    /// The namespace that was named.
    pub namespace: Option<Label>,
    /// What to show to the server.
    pub token: Option<Secret>,
    /// Whether that was named for this command, rather than kept from an earlier one.
    pub token_is_given: bool,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Where credentials are kept; `None` without a home folder.
    pub credentials: Option<CredentialsFile>,
}

impl Settings {
    /// What `args` mean, with the token that they, the `environment` or an earlier login name.
    ///
    /// # Errors
    /// When a token was named and can't be read.
    pub fn resolve(
        args: &Args,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, CommandError> {
        let server = args.server.clone().unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        let namespace = args.namespace.clone();
        let credentials =
            settings_folder(&environment).map(|folder| CredentialsFile::in_folder(&folder));
        let given = given_token(args, &environment)?;
        let token_is_given = given.is_some();
        let token = match given {
            Some(token) => Some(token),
            None => credentials.as_ref().map(|file| file.get(&server)).transpose()?.flatten(),
        };
        let trust = match &args.ca_file {
            Some(file) => Trust::also(file, "--ca-file")?,
            None => Trust::System,
        };
        Ok(Self { server, namespace, token, token_is_given, trust, credentials })
    }

    /// The same server, shown another token.
    #[must_use]
    pub fn with_token(&self, token: Secret) -> Self {
        Self { token: Some(token), ..self.clone() }
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

/// A token that was named for this command; the nearest wins: option, variable, variable's file.
fn given_token(
    args: &Args,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<Option<Secret>, CommandError> {
    let set = |name| environment(name).filter(|value| !value.is_empty());
    if let Some(file) = &args.token_file {
        return read_token(file, "--token-file").map(Some);
    }
    if let Some(text) = set(DHOW_TOKEN) {
        return match Secret::read(&text) {
            Some(token) => Ok(Some(token)),
            None => Err(CommandError::usage(format!("{DHOW_TOKEN} is no token"))),
        };
    }
    set(DHOW_TOKEN_FILE).map(|file| read_token(Path::new(&file), DHOW_TOKEN_FILE)).transpose()
}

fn read_token(file: &Path, source: &str) -> Result<Secret, CommandError> {
    let what = format!("{source}: the token");
    let text = std::fs::read_to_string(file)
        .map_err(|error| CommandError::file(&what, file.display(), &error))?;
    Secret::read(&text).ok_or_else(|| {
        CommandError::usage(format!("{source}: `{}` holds no token", file.display()))
    })
}

/// Where people's settings are.
fn settings_folder(environment: &impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(XDG_CONFIG_HOME).or_else(|| set(HOME).map(|home| home.join(".config")))
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
        Some("http" | "https") if uri.path() == "/" && uri.query().is_none() => {
            Ok(address.trim_end_matches('/').to_owned())
        }
        Some("http" | "https") => Err("has a path"),
        _ => Err("does not begin with http:// or https://"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_token_wins_and_none_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (one, empty) = (write("one", "in-file\nmore\n"), write("empty", "\n"));
        let home = folder.path().to_str().unwrap().to_owned();
        let file = CredentialsFile::in_folder(folder.path());
        file.put(DEFAULT_SERVER, &Secret::read("kept").unwrap()).unwrap();
        let token = |option: Option<&str>, env: &[(&str, &str)]| {
            let args = Args { token_file: option.map(PathBuf::from), ..Args::default() };
            let env = [env, &[(XDG_CONFIG_HOME, home.as_str())]].concat();
            Settings::resolve(&args, |name| {
                env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
            .map(|settings| settings.token.unwrap().expose().to_owned())
        };
        assert_eq!(token(None, &[]).unwrap(), "kept");
        let set = [(DHOW_TOKEN, "set"), (DHOW_TOKEN_FILE, one.as_str())];
        assert_eq!(token(None, &set[1..]).unwrap(), "in-file");
        assert_eq!(token(None, &set).unwrap(), "set");
        assert_eq!(token(Some(&one), &set).unwrap(), "in-file");
        assert!(token(Some(&empty), &[]).is_err());
        assert!(token(Some("/nowhere"), &[]).is_err());
        assert_eq!(format!("{:?}", Secret::read("hidden").unwrap()), "Secret(…)");
        let args = Args { server: Some("http://other:1".to_owned()), ..Args::default() };
        let other =
            Settings::resolve(&args, |name| (name == XDG_CONFIG_HOME).then(|| home.clone()));
        let other = other.unwrap();
        assert_eq!(other.token, None);
    }

    fn in_namespace(namespace: Option<&str>) -> Settings {
        let namespace = namespace.map(|namespace| namespace.parse().unwrap());
        Settings::resolve(&Args { namespace, ..Args::default() }, |_| None).unwrap()
    }

    #[test]
    fn an_address_has_a_scheme_and_a_host_and_nothing_more() {
        for wrong in ["localhost:8081", "https://a/b", "http://a/b", "http://a/?b", "", "ftp://a"] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
        assert_eq!(base_url("http://a:1/").unwrap(), "http://a:1");
        assert_eq!(base_url("https://a").unwrap(), "https://a");
    }

    #[test]
    fn a_function_is_in_its_own_namespace_or_in_the_one_that_is_set() {
        let plain = in_namespace(None);
        let shop = in_namespace(Some("shop"));
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
