//! Registries: whether they answer, and take the credentials that are kept for them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

use dhow_oci::credentials::{Keychain, Places};
use dhow_oci::reference::Reference;
use dhow_oci::registry::{Registry, RegistryConfig, RegistryError, RegistryLimits};

use super::finding::{Finding, Look};
use super::{Subject, unseen};

/// How long a registry may take for its greeting, with its token.
const PATIENCE: Duration = Duration::from_secs(10);

/// A registry that was tried.
pub(super) struct Tried {
    host: String,
    result: Result<(), Problem>,
}

/// Why not.
struct Problem {
    finding: (String, String),
    is_about_credentials: bool,
}

/// Registries that do not answer as such.
pub(super) fn unreachable(subject: &Subject<'_>) -> Look {
    look(subject, false, "answers")
}

/// Registries that refuse who we are.
pub(super) fn credentials(subject: &Subject<'_>) -> Look {
    look(subject, true, "does not refuse us")
}

fn look(subject: &Subject<'_>, about_credentials: bool, good: &str) -> Look {
    let tried = subject.registries.get_or_init(|| try_all(subject));
    if tried.is_empty() {
        return unseen("no registry is named with --registry, and there are credentials for none");
    }
    let problems = tried.iter().filter_map(|one| one.result.as_ref().err());
    let findings: Vec<_> = problems
        .filter(|problem| problem.is_about_credentials == about_credentials)
        .map(|problem| Finding::new(problem.finding.0.clone(), problem.finding.1.clone()))
        .collect();
    let hosts: Vec<&str> = tried.iter().map(|one| one.host.as_str()).collect();
    Look::of(findings, || format!("{} {good}", hosts.join(", ")))
}

/// Tries those that are named and those that credentials are kept for.
fn try_all(subject: &Subject<'_>) -> Vec<Tried> {
    let places = Places::from_environment(|name| (subject.environment)(name).map(OsString::from));
    let keychain = Keychain::new(places.unwrap_or_default());
    let mut hosts: BTreeSet<String> = subject.args.registries.iter().cloned().collect();
    let kept = keychain.hosts();
    let unreadable = kept.as_ref().err().map(|error| Tried {
        host: "the file of credentials".to_owned(),
        result: Err(Problem {
            finding: (
                format!("credentials can't be read: {error}"),
                "correct or remove the file, then `dhow login REGISTRY`".to_owned(),
            ),
            is_about_credentials: true,
        }),
    });
    hosts.extend(kept.unwrap_or_default());
    let tried = hosts.into_iter().map(|host| {
        let result = attempt(&host, &keychain);
        Tried { host, result }
    });
    tried.chain(unreadable).collect()
}

fn attempt(host: &str, keychain: &Keychain) -> Result<(), Problem> {
    let unusable = |why: String| Problem {
        finding: (why, "name a registry as HOST or HOST:PORT".to_owned()),
        is_about_credentials: false,
    };
    // Any repository: what is asked is the registry's greeting.
    let image: Reference = format!("{host}/dhow")
        .parse()
        .map_err(|error| unusable(format!("`{host}` is no registry: {error}")))?;
    let runtime = crate::run::runtime().map_err(|error| unusable(error.message))?;
    runtime.block_on(async {
        let credential = keychain.credential(&image).await.map_err(|error| Problem {
            finding: (
                format!("the credentials for {host} can't be read: {error}"),
                format!("`dhow login {host}` writes them anew"),
            ),
            is_about_credentials: true,
        })?;
        let limits = RegistryLimits {
            retries: 0,
            connect: PATIENCE,
            stall: PATIENCE,
            total: PATIENCE,
            ..RegistryLimits::default()
        };
        let registry = Registry::try_new(RegistryConfig { limits, ..RegistryConfig::default() });
        let session = registry.and_then(|registry| registry.session(&image, credential));
        let checked = match session {
            Ok(session) => session.check().await,
            Err(error) => Err(error),
        };
        match checked {
            // Asked as nobody: it answers, and says what most registries say to strangers.
            Ok(()) | Err(RegistryError::LoginRequired { known: false, .. }) => Ok(()),
            Err(error) => Err(Problem {
                is_about_credentials: matches!(
                    error,
                    RegistryError::LoginRequired { .. } | RegistryError::Denied { .. }
                ),
                finding: (error.to_string(), error.hint().into_owned()),
            }),
        }
    })
}
