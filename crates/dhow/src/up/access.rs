//! Who may speak to the admin port, the metrics port and the API of the data port: whether they
//! are asked, and with what.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use dhow_core::ports::Tokens;
use dhow_gateway::admin::{self, Admin, Credentials, Own};
use dhow_gateway::openfaas::System;
use dhow_store::folder::DataFolder;
use dhow_store::secret;

use super::tls::{Spoken, scheme};
use super::{Addresses, Args, failure};
use crate::cli::error::CommandError;
use crate::cli::output::Output;
use crate::cli::settings::Secret;

/// The credentials of all ports.
pub(super) struct Access {
    pub(super) admin: Credentials,
    pub(super) metrics: Credentials,
    gateway: Credentials,
    /// What this process itself shows when it applies manifests.
    pub(super) secret: Secret,
    secret_file: PathBuf,
}

impl Access {
    /// Reads the admin secret of the data folder, or makes it.
    pub(super) fn open(
        args: &Args,
        addresses: &Addresses,
        folder: &DataFolder,
        tokens: Arc<dyn Tokens>,
    ) -> Result<Self, CommandError> {
        let secret = secret::admin_secret(folder, admin::fresh_secret).map_err(failure)?;
        let demanded = |listen: SocketAddr| admin::are_demanded(listen, args.auth, args.insecure);
        let admin = Credentials::new(tokens, &secret.text, demanded(addresses.admin));
        Ok(Self {
            metrics: admin.demanding(demanded(addresses.metrics)),
            gateway: admin.demanding(demanded(addresses.gateway)),
            admin,
            secret: Secret::new(secret.text),
            secret_file: secret.path,
        })
    }

    /// OpenFaaS' API, as the data port asks for credentials.
    pub(super) fn system(&self, admin: Admin, addresses: &Addresses, spoken: &Spoken) -> System {
        let credentials = self.gateway.clone();
        let own = Own {
            listen: addresses.gateway,
            tls: spoken.gateway.is_some(),
            asks: credentials.demanded(),
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        System { admin, credentials, own, started_ms }
    }

    /// How the admin port is reached.
    pub(super) fn own_admin(&self, addresses: &Addresses, spoken: &Spoken) -> Own {
        let tls = spoken.admin.is_some();
        Own { listen: addresses.admin, tls, asks: self.admin.demanded() }
    }

    /// How the metrics port is reached.
    pub(super) fn own_metrics(&self, addresses: &Addresses, spoken: &Spoken) -> Own {
        let tls = spoken.metrics.is_some();
        Own { listen: addresses.metrics, tls, asks: self.metrics.demanded() }
    }

    /// Says how a person comes by credentials, where some are asked for.
    pub(super) fn tell(&self, addresses: &Addresses, spoken: &Spoken, output: &mut Output) {
        if !self.admin.demanded() {
            return;
        }
        let (file, admin) = (self.secret_file.display(), addresses.admin);
        let scheme = scheme(spoken.admin.as_ref());
        output.note(format_args!(
            "the admin port asks for credentials; the admin secret is in {file}:\n  \
             dhow auth login --server {scheme}://{admin} --token-file {file}"
        ));
        if spoken.admin.is_none() && !admin.ip().is_loopback() {
            tracing::warn!(
                %admin,
                "credentials cross the network in the clear; --tls-cert and --tls-key hide them"
            );
        }
    }
}
