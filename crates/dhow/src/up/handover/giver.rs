//! The old dhow's side: a door in the data folder, and what it gives to whoever comes.

use std::fs::{self, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

use super::line::{Address, Line};
use super::{Message, PROTOCOL, SOCKET};

/// How long one who came may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause after a failed accept, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Where another dhow comes in.
pub(in super::super) struct Door {
    listener: UnixListener,
}

/// What is given: listeners, by name.
pub(in super::super) struct Given(pub(in super::super) Vec<(&'static str, TcpListener)>);

/// How it went on with one who wanted to take over.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Next {
    /// It serves.
    Serving,
    /// It has ended, or lost its way.
    Gone,
}

impl Door {
    /// Opens the door of the data folder that this process owns, over one that an earlier process
    /// left.
    pub(in super::super) fn open(folder: &Path) -> io::Result<Self> {
        // Under another name until nobody else may come in.
        let hidden = format!(".handover-{}", std::process::id());
        let address = Address::of(folder, &hidden)?;
        let path = folder.join(hidden);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&address.path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        fs::rename(&path, folder.join(SOCKET))?;
        Ok(Self { listener })
    }

    /// Waits for one that has got the listeners and wants the data folder.
    pub(in super::super) async fn visitor(&self, given: &Given) -> Line {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "nobody can take over now");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match timeout(PATIENCE, greet(stream, given)).await {
                Ok(Ok(line)) => return line,
                Ok(Err(error)) => tracing::warn!(%error, "one who came did not take over"),
                Err(_) => tracing::warn!("one who came did not say what it wants"),
            }
        }
    }
}

async fn greet(stream: UnixStream, given: &Given) -> io::Result<Line> {
    let line = Line::new(stream)?;
    let (hello, _) = line.receive().await?;
    match hello {
        Message::Hello { protocol: PROTOCOL, version } => {
            tracing::info!(version, "another dhow comes to take over");
        }
        Message::Hello { protocol, version } => {
            let why = format!(
                "dhow {version} takes over by protocol {protocol}, this one, {}, gives by \
                 {PROTOCOL}: stop this one first",
                env!("CARGO_PKG_VERSION")
            );
            line.send(&Message::Refused { why: why.clone() }, &[]).await?;
            return Err(io::Error::other(why));
        }
        other => return Err(strange(&other)),
    }
    let names = given.0.iter().map(|(name, _)| (*name).to_owned()).collect();
    let along: Vec<BorrowedFd<'_>> = given.0.iter().map(|(_, given)| given.as_fd()).collect();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    line.send(&Message::Listeners { version, names }, &along).await?;
    match line.receive().await? {
        (Message::Release, _) => Ok(line),
        (other, _) => Err(strange(&other)),
    }
}

impl Line {
    /// Says that the data folder is free, and waits until the other one serves or ends.
    pub(in super::super) async fn released(&self) -> Next {
        let answer = async {
            self.send(&Message::Released, &[]).await?;
            self.receive().await
        };
        match answer.await {
            Ok((Message::Serving, _)) => Next::Serving,
            _ => Next::Gone,
        }
    }

    /// Says that no call begins here any more; whether the other one has heard it.
    pub(in super::super) async fn yours(&self) -> Next {
        let answer = async {
            self.send(&Message::Yours, &[]).await?;
            self.receive().await
        };
        match answer.await {
            Ok((Message::Taken, _)) => Next::Serving,
            _ => Next::Gone,
        }
    }

    /// Says why this one goes on.
    pub(in super::super) async fn refuse(&self, why: String) {
        if let Err(error) = self.send(&Message::Refused { why }, &[]).await {
            tracing::debug!(%error, "one who was refused has gone");
        }
    }
}

fn strange(message: &Message) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{message:?} makes no sense now"))
}
