//! The new dhow's side: finds the one that runs and takes over from it, step by step.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::line::Line;
use super::{Message, PROTOCOL};
use crate::cli::error::CommandError;

/// How long the old one may take for an answer that needs no work.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take until no call begins there any more and its queue is closed. It gives its
/// connections and its calls some seconds each.
const RETIREMENT: Duration = Duration::from_secs(120);

/// The dhow that runs.
pub(in super::super) struct Predecessor {
    line: Line,
    version: String,
    listeners: Vec<(String, TcpListener)>,
}

impl Predecessor {
    /// Finds the dhow that has `folder`, if there is one, and is given its listeners.
    pub(in super::super) async fn find(folder: &Path) -> Result<Option<Self>, CommandError> {
        let line = match Line::connect(folder).await {
            Ok(line) => line,
            // Nobody listens there: no folder, no socket, or one that somebody left.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(failed("the dhow that runs can't be reached", &error)),
        };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let hello = Message::Hello { protocol: PROTOCOL, version };
        let asked = async {
            line.send(&hello, &[]).await?;
            line.receive().await
        };
        let answer = timeout(PATIENCE, asked).await;
        let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match answer.map_err(|error| failed("the dhow that runs does not answer", &error))? {
            (Message::Listeners { version, names }, along) if names.len() == along.len() => {
                let listeners = along.into_iter().map(TcpListener::from);
                let listeners = names.into_iter().zip(listeners).collect();
                Ok(Some(Self { line, version, listeners }))
            }
            (Message::Refused { why }, _) => Err(CommandError::failure(why)),
            _ => Err(lost_its_way()),
        }
    }

    /// Its version.
    pub(in super::super) fn version(&self) -> &str {
        &self.version
    }

    /// Its listener of this name, if that listens where this dhow is to; port 0 is any.
    pub(in super::super) fn listener(
        &mut self,
        name: &str,
        wanted: SocketAddr,
    ) -> Option<TcpListener> {
        let index = self.listeners.iter().position(|(known, listener)| {
            let fits = |found: SocketAddr| {
                found.ip() == wanted.ip() && (wanted.port() == 0 || found.port() == wanted.port())
            };
            known == name && listener.local_addr().is_ok_and(fits)
        })?;
        Some(self.listeners.swap_remove(index).1)
    }

    /// Has it let go of the data folder. It first answers what was asked of its admin port.
    pub(in super::super) async fn release(&self) -> Result<(), CommandError> {
        let asked = async {
            self.line.send(&Message::Release, &[]).await?;
            self.line.receive().await
        };
        let unanswered = |error| failed("the dhow that runs did not let go of the folder", &error);
        match asked.await.map_err(unanswered)? {
            (Message::Released, _) => Ok(()),
            (Message::Refused { why }, _) => Err(CommandError::failure(why)),
            _ => Err(lost_its_way()),
        }
    }

    /// Says that this dhow serves, and returns when the old one begins no more calls. If that dies
    /// meanwhile, it is so at once. One that does neither has the queue still.
    pub(in super::super) async fn serving(&self) -> Result<(), CommandError> {
        let asked = async {
            self.line.send(&Message::Serving, &[]).await?;
            self.line.receive().await
        };
        let answer = timeout(RETIREMENT, asked).await.map_err(|_| {
            failed("the dhow that runs does not end its calls", &io::ErrorKind::TimedOut.into())
        })?;
        match answer {
            Ok((Message::Yours, _)) => {}
            // It lets go of the line only with its life.
            Ok((other, _)) => tracing::warn!(?other, "the dhow before this one is confused"),
            Err(error) => tracing::warn!(%error, "the dhow before this one died meanwhile"),
        }
        Ok(())
    }

    /// Says that this dhow has all.
    pub(in super::super) async fn taken(self) {
        if let Err(error) = self.line.send(&Message::Taken, &[]).await {
            tracing::debug!(%error, "the dhow before this one has ended already");
        }
    }
}

fn failed(what: &str, error: &io::Error) -> CommandError {
    CommandError::failure(format!("{what}: {error}"))
        .hint("it goes on serving; stop it and start without --take-over")
}

fn lost_its_way() -> CommandError {
    CommandError::failure("the dhow that runs says what this one does not understand")
        .hint("it goes on serving; stop it and start without --take-over")
}
