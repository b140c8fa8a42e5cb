//! TLS of the ports: one certificate, for the data port and for those that other machines reach.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use dhow_http::tls::{Certificates, Files, H1, H2_AND_H1, Tls};
use tokio_util::sync::CancellationToken;

use super::{Addresses, failure};
use crate::cli::error::CommandError;

/// Where the certificate is.
#[derive(Debug, Default, clap::Args)]
pub(super) struct TlsArgs {
    /// Speak TLS on the data port, and on the others where they are not on loopback, with the certificates in this file (PEM); read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// How each port speaks.
pub(super) struct Spoken {
    pub(super) gateway: Option<Tls>,
    pub(super) admin: Option<Tls>,
    pub(super) metrics: Option<Tls>,
}

impl Spoken {
    /// Reads the certificate and looks after it until `stop`.
    pub(super) fn open(
        args: &TlsArgs,
        addresses: &Addresses,
        stop: &CancellationToken,
    ) -> Result<Self, CommandError> {
        let (Some(certificate), Some(key)) = (args.tls_cert.clone(), args.tls_key.clone()) else {
            return Ok(Self { gateway: None, admin: None, metrics: None });
        };
        let certificates = Certificates::open(Files { certificate, key }).map_err(|error| {
            failure(error).hint("--tls-cert and --tls-key name files in PEM that belong together")
        })?;
        tokio::spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&certificates).follow()));
        let speak = |protocols| Tls::new(Arc::clone(&certificates), protocols).map_err(failure);
        // Nobody listens in on loopback, and those who speak to it would have to trust somebody.
        let of = |address: SocketAddr| match address.ip().is_loopback() {
            true => Ok(None),
            false => speak(H1).map(Some),
        };
        Ok(Self {
            gateway: Some(speak(H2_AND_H1)?),
            admin: of(addresses.admin)?,
            metrics: of(addresses.metrics)?,
        })
    }
}

/// How the address of a port that speaks so begins.
pub(super) fn scheme(tls: Option<&Tls>) -> &'static str {
    if tls.is_some() { "https" } else { "http" }
}
