//! What went wrong, out of what the libraries say.

use std::error::Error;
use std::io;

use dhow_core::outbound::OutboundError;
use dhow_core::plan::outbound::Denied;
use hyper_util::client::legacy::Error as ClientError;

use crate::connect::ConnectError;

/// Why the request for `what` has no answer.
pub(crate) fn of_client(error: &ClientError, what: &str) -> OutboundError {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<OutboundError>() {
            return error.clone();
        }
        if let Some(error) = error.downcast_ref::<ConnectError>() {
            return of_connect(error, what);
        }
        if let Some(error) = of_tls(error) {
            return error;
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return of_hyper(error);
        }
        cause = error.source();
    }
    OutboundError::Broken(error.to_string())
}

/// What TLS says, where it is what failed. It comes wrapped in errors of reading or writing, whose
/// `source` passes over what they wrap.
fn of_tls(mut error: &(dyn Error + 'static)) -> Option<OutboundError> {
    while let Some(wrapped) = error.downcast_ref::<io::Error>() {
        error = wrapped.get_ref()?;
    }
    let error = error.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(_) => OutboundError::Certificate(error.to_string()),
        _ => OutboundError::Tls(error.to_string()),
    })
}

/// Why a connection that there was has no answer.
pub(crate) fn of_hyper(error: &hyper::Error) -> OutboundError {
    let mut cause = error.source();
    while let Some(found) = cause {
        if let Some(found) = found.downcast_ref::<OutboundError>() {
            return found.clone();
        }
        cause = found.source();
    }
    if error.is_parse() || error.is_parse_too_large() {
        OutboundError::Protocol(error.to_string())
    } else {
        OutboundError::Broken(error.to_string())
    }
}

fn of_connect(error: &ConnectError, what: &str) -> OutboundError {
    match error {
        ConnectError::Denied { address, why } => OutboundError::Denied {
            what: what.to_owned(),
            why: format!("{address}: {why}"),
            is_address: matches!(why, Denied::Closed(_)),
        },
        ConnectError::NoHost => OutboundError::Url,
        ConnectError::Name(error) => OutboundError::Name(error.to_string()),
        ConnectError::Io(_, error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            OutboundError::Refused
        }
        ConnectError::Io(..) => OutboundError::Unreachable(error.to_string()),
        ConnectError::Slow => OutboundError::ConnectTimeout,
    }
}
