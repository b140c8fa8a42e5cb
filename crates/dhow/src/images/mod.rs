//! Images, on the side of the server ([`server`]) and of the client ([`fetch`], [`place`], [`unpack`]): what
//! `dhow-oci` reads becomes modules with the words to start them.

pub(crate) mod fetch;
pub(crate) mod place;
mod places;
pub mod server;
mod staging;
pub(crate) mod unpack;

use std::path::PathBuf;

use dhow_core::plan::egress::EgressRule;
use dhow_core::ports::Refusal;
use dhow_oci::credentials::{Keychain, Places};
use dhow_oci::image::error::PullError;
use dhow_oci::image::pulled::{Entry, Module, Pulled, Run};
use dhow_oci::reference::is_host;
use dhow_oci::registry::{Registry, RegistryConfig, RegistryError};

use crate::cli::error::CommandError;

/// How registries are spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct RegistryArgs {
    /// A registry (HOST or HOST:PORT) that may speak plain HTTP, or TLS with any certificate; may
    /// be repeated
    #[arg(long = "insecure-registry", value_name = "HOST", value_parser = host)]
    pub insecure_registries: Vec<String>,
    /// A file of certificates (PEM) that registries are trusted by besides the system's; may be
    /// repeated. Docker's folders of certificates are read, too
    #[arg(long = "registry-ca", value_name = "FILE")]
    pub authorities: Vec<PathBuf>,
}

fn host(text: &str) -> Result<String, String> {
    match is_host(text) {
        true => Ok(text.to_owned()),
        false => Err("write HOST or HOST:PORT".to_owned()),
    }
}

impl RegistryArgs {
    /// A client of registries.
    ///
    /// # Errors
    /// When a file of certificates can't be used.
    pub(crate) fn registry(&self) -> Result<Registry, CommandError> {
        self.registry_within(None)
    }

    /// A client of registries that they send to no address but where `egress` has it.
    ///
    /// # Errors
    /// When a file of certificates can't be used.
    pub(crate) fn registry_within(
        &self,
        egress: Option<EgressRule>,
    ) -> Result<Registry, CommandError> {
        let config = RegistryConfig {
            insecure: self.insecure_registries.iter().cloned().collect(),
            certificates: self.authorities.clone(),
            egress,
            ..RegistryConfig::default()
        };
        Registry::try_new(config).map_err(|error| registry_failure(&error))
    }
}

/// The places of Docker's and podman's files, as this process' environment names them.
pub(crate) fn places() -> Option<Places> {
    Places::from_environment(|name| std::env::var_os(name))
}

/// The credentials that this process' user has.
pub(crate) fn keychain() -> Option<Keychain> {
    places().map(Keychain::new)
}

/// The one module that an image runs, and how. `Err` says in words why there is none.
pub(crate) fn module_of(pulled: &Pulled) -> Result<(&Module, &Run), PullError> {
    let (Entry::Module(run), [module]) = (&pulled.entry, pulled.modules.as_slice()) else {
        return Err(PullError::Unsupported(
            "it is a Spin application, which this version of dhow does not run".to_owned(),
        ));
    };
    match &run.export {
        Some(export) => Err(PullError::Unsupported(format!(
            "it wants the export `{export}` called, and this version of dhow calls what the \
             module's kind says"
        ))),
        None => Ok((module, run)),
    }
}

/// What a user should hear of an image besides what [`Pulled::warnings`] says.
pub(crate) fn warnings(pulled: &Pulled, run: &Run) -> Vec<String> {
    let folder = run.working_dir.as_deref().filter(|folder| !matches!(*folder, "" | "/"));
    let folder = folder.map(|folder| {
        format!("the image's working folder `{folder}` means nothing: guests have no files")
    });
    pulled.warnings.iter().cloned().chain(folder).collect()
}

pub(crate) fn pull_failure(of: &str, error: &PullError) -> CommandError {
    CommandError::failure(format!("{of}: {error}")).hint(error.hint())
}

pub(crate) fn registry_failure(error: &RegistryError) -> CommandError {
    CommandError::failure(error.to_string()).hint(error.hint())
}

pub(crate) fn refusal(of: &str, error: &PullError) -> Refusal {
    Refusal {
        reason: error.reason(),
        message: format!("{of}: {error}"),
        hint: error.hint().into_owned(),
    }
}
