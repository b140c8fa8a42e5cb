//! `dhow login`: a credential for a registry, tried and then kept where Docker and podman keep
//! theirs.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use dhow_oci::credentials::{Credential, SecretString, Stored, login};
use dhow_oci::reference::{DOCKER_HUB, Reference, canonical_host};

use crate::cli::error::CommandError;
use crate::cli::output::Output;
use crate::images::{RegistryArgs, places, registry_failure};

/// The most bytes of a password.
const MOST_PASSWORD: u64 = 64 << 10;

/// Where to, and as whom.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The registry: HOST or HOST:PORT
    #[arg(default_value = DOCKER_HUB)]
    registry: String,
    /// The user's name
    #[arg(long, short)]
    username: Option<String>,
    /// Read the password from stdin
    #[arg(long, requires = "username")]
    password_stdin: bool,
    #[command(flatten)]
    options: RegistryArgs,
}

/// Tries the credential and keeps it.
///
/// # Errors
/// When the registry does not accept it, or it can't be kept; nothing is kept then.
pub fn run(args: &Args, output: &mut Output) -> Result<(), CommandError> {
    let host = canonical_host(&args.registry);
    // Of a repository that need not be there: only the greeting is asked for.
    let image: Reference = format!("{host}/dhow").parse().map_err(|error| {
        CommandError::usage(format!("`{}` is no registry: {error}", args.registry))
            .hint("write HOST or HOST:PORT")
    })?;
    let places = places().ok_or_else(|| {
        CommandError::failure("there is no home folder to keep credentials in")
            .hint("set HOME or DOCKER_CONFIG")
    })?;
    let (username, password) = ask(args)?;
    crate::run::runtime()?.block_on(async {
        let registry = args.options.registry()?;
        let credential =
            Credential::Basic { username: username.clone(), password: password.clone() };
        let session = registry.session(&image, Some(credential));
        let session = session.map_err(|error| registry_failure(&error))?;
        session.check().await.map_err(|error| registry_failure(&error))?;
        let stored = login(&places, &host, &username, &password).await.map_err(|error| {
            CommandError::failure(format!("the credential for {host} is not kept: {error}"))
        })?;
        output.note(match stored {
            Stored::File(file) => format!("{host}: kept in {}", file.display()),
            Stored::Helper(name) => format!("{host}: kept by docker-credential-{name}"),
        });
        Ok(())
    })
}

fn ask(args: &Args) -> Result<(String, SecretString), CommandError> {
    let unreadable = |error: io::Error| CommandError::file("the password", "stdin", &error);
    if let (true, Some(username)) = (args.password_stdin, &args.username) {
        let mut text = String::new();
        io::stdin().take(MOST_PASSWORD).read_to_string(&mut text).map_err(unreadable)?;
        let password = SecretString::from(text.trim_end_matches(['\r', '\n']));
        zeroize::Zeroize::zeroize(&mut text);
        return Ok((username.clone(), password));
    }
    if !io::stdin().is_terminal() {
        return Err(CommandError::usage("there is no terminal to ask for a password on")
            .hint("write --username NAME --password-stdin"));
    }
    let username = match &args.username {
        Some(username) => username.clone(),
        None => {
            let mut terminal = io::stderr();
            terminal
                .write_all(b"Username: ")
                .and_then(|()| terminal.flush())
                .map_err(unreadable)?;
            let mut line = String::new();
            io::stdin().read_line(&mut line).map_err(unreadable)?;
            line.trim().to_owned()
        }
    };
    let password = rpassword::prompt_password("Password: ").map_err(unreadable)?;
    Ok((username, SecretString::from(password)))
}
