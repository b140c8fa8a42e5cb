//! The server that commands talk to.

use std::time::{Duration, SystemTime};

use super::finding::{Finding, Look};
use super::{Subject, unseen};
use crate::cli::client::Client;
use crate::cli::error::CommandError;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is at the server's address.
pub(super) enum Server {
    /// A dhow.
    There(There),
    /// Nobody, or somebody else.
    Away(CommandError),
}

/// A dhow that answers.
pub(super) struct There {
    pub(super) version: String,
    /// Where functions are called.
    pub(super) gateway: String,
    /// Its clock, and ours at that moment.
    pub(super) date: Option<(SystemTime, SystemTime)>,
}

impl Subject<'_> {
    /// The server, asked once.
    pub(super) fn server(&self) -> &Server {
        self.server.get_or_init(|| match Client::quick(self.settings, PATIENCE).greet() {
            Ok((answer, date)) => Server::There(There {
                version: answer.version,
                gateway: answer.gateway,
                date: date.map(|date| (date, SystemTime::now())),
            }),
            Err(error) => Server::Away(error),
        })
    }
}

/// Whether it answers, where somebody named it.
pub(super) fn away(subject: &Subject<'_>) -> Look {
    let server = &subject.settings.server;
    match subject.server() {
        Server::There(there) => Look::Good(format!("{server} answers, dhow {}", there.version)),
        Server::Away(_) if !subject.server_is_named => {
            unseen(format_args!("no server is named, and none answers at {server}"))
        }
        Server::Away(error) => {
            let advice = match error.hints.is_empty() {
                true => "start it with `dhow up`, or name another with --server".to_owned(),
                false => error.hints.join("; "),
            };
            Look::Wrong(vec![Finding::new(error.message.clone(), advice)])
        }
    }
}

/// Whether it is of this version.
pub(super) fn version(subject: &Subject<'_>) -> Look {
    let own = env!("CARGO_PKG_VERSION");
    let Server::There(there) = subject.server() else { return unseen("no dhow answers") };
    let finding = (there.version != own).then(|| {
        Finding::new(
            format!("the server is dhow {}, and this is {own}", there.version),
            "use one version on both sides: what one knows and the other does not is refused",
        )
    });
    Look::single(finding, || format!("both are {own}"))
}
